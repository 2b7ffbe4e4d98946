# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Say what a plan is about in a few words, and where the gripper goes next.

ECoT (arXiv 2407.08693) lets a 7 B model write some 350 tokens before every action. Here a small
recurrent decoder reads the plan's latents and writes one phrase for the subtask and one for the
movement, word by word; both in one batch, as Fast ECoT (arXiv 2506.07639) generates its parts. The
subgoal is a position in place of CoT-VLA's image (arXiv 2503.22020). Heads read the same latents,
not the words: on tasks as short as these, published reasoning shows no gain in success.
"""

import torch
from torch import nn

PARTS = ('subtask', 'movement')
END = ''
"""The word that begins and ends a phrase; the first of the vocabulary."""
MAX_WORDS = 10


class Thinker(nn.Module):
    """Plan latents -> phrases and a position."""

    def __init__(self, queries: int, width: int, words: list[str], hidden: int = 160) -> None:
        """Make the layers; ``words`` is the vocabulary, ``low`` and ``high`` [3] are fitted."""
        super().__init__()
        self.words = [END, *words]
        self.enter = nn.Sequential(
            nn.LayerNorm(queries * width), nn.Linear(queries * width, hidden), nn.GELU()
        )
        self.part = nn.Embedding(len(PARTS), hidden)
        self.embed = nn.Embedding(len(self.words), hidden // 2)
        self.cell = nn.GRUCell(hidden // 2, hidden)
        self.speak = nn.Linear(hidden, len(self.words))
        self.goal = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 3))
        self.low: torch.Tensor
        self.high: torch.Tensor
        self.register_buffer('low', torch.zeros(3))
        self.register_buffer('high', torch.ones(3))

    def ids(self, phrase: str) -> list[int]:
        """Return the word numbers of a phrase, closed by the end word."""
        return [self.words.index(word) for word in phrase.split()] + [0]

    def logits(
        self, latents: torch.Tensor, parts: torch.Tensor, phrases: torch.Tensor
    ) -> torch.Tensor:
        """Return what is said of each word that follows, [B, L, words].

        ``latents`` [B, Q, D], ``parts`` int64 [B], ``phrases`` int64 [B, L] of the words to say.
        """
        state = self._begin(latents, parts)
        before = torch.zeros_like(phrases[:, 0])
        found = []
        for word in phrases.unbind(1):
            state = self.cell(self.embed(before), state)
            found.append(self.speak(state))
            before = word
        return torch.stack(found, 1)

    def say(self, latents: torch.Tensor, parts: list[str]) -> list[str]:
        """Return the likeliest phrase of each of ``parts`` for one plan [Q, D], word by word."""
        chosen = torch.tensor([PARTS.index(part) for part in parts], device=latents.device)
        state = self._begin(latents.expand(len(parts), -1, -1), chosen)
        before = torch.zeros_like(chosen)
        said: list[torch.Tensor] = []
        for _ in range(MAX_WORDS):
            state = self.cell(self.embed(before), state)
            # A phrase that has ended stays ended.
            after = self.speak(state).argmax(-1)
            before = torch.where((before == 0) & bool(said), 0, after)
            said.append(before)
            if not before.any():
                break
        return [
            ' '.join(self.words[number] for number in row if number)
            for row in torch.stack(said, 1).tolist()
        ]

    def subgoal(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the position [B, 3] in metres where the gripper goes next."""
        share = self.goal(self.enter(latents.flatten(1)))
        return self.low + share * (self.high - self.low)

    def _begin(self, latents: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
        return self.enter(latents.flatten(1)) + self.part(parts)
