# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans of NORA -> chunks: its language model goes on behind the prompt, in tokens of FAST."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn

from efficient_vla.action.decoding import Decoded, Line
from efficient_vla.action.heads import Generator, Given, Made
from efficient_vla.action.settings import ActorSettings
from efficient_vla.nora.fast import PublishedFast
from efficient_vla.nora.folder import NoraFolder
from efficient_vla.reasoning.continuation import Continuation, LanguagePrefix
from efficient_vla.settings import InvalidSettingError

BYTES = 2
"""Most bytes of a letter, and so most tokens of a coefficient."""
EXACT = ('autoregressive', 'jacobi', 'speculative')
"""Decodings that end with the line that the model itself says."""


class Answer(Continuation):
    """A continuation as the folder's generation_config.json says.

    Logits are lowered for tokens that were there before; a pass over several slots knows what
    stands before each of them, so that they are those of one token after the other. Of the tokens
    that end an answer the first stands for all.
    """

    def __init__(self, folder: NoraFolder, *given: Any) -> None:
        """Take penalty and ends of ``folder``; the rest is as for ``Continuation``."""
        super().__init__(*given)
        self._penalty, self._ends, self._start = folder.repetition_penalty, folder.ends, 0
        self._before: list[int] = []

    def hidden(
        self,
        before: torch.Tensor,
        condition: torch.Tensor,
        start: int = 0,
        store: Any = None,
    ) -> torch.Tensor:
        """Return the last hidden states of slots, and remember what stands before them."""
        self._start = start
        self._before = [*self._before[:start], *before[0].tolist()]
        return super().hidden(before, condition, start, store)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits [1, T, vocabulary] of the slots of the last pass."""
        scores = super().logits(hidden)
        if self._penalty != 1:
            scores = self._lowered(scores)
        first, *others = self._ends
        scores[..., first] = scores[..., self._ends].amax(-1)
        scores[..., others] = -torch.inf
        return scores

    def _lowered(self, scores: torch.Tensor) -> torch.Tensor:
        seen = torch.zeros_like(scores[0], dtype=torch.bool)
        seen[:, self.cache.words] = True  # type: ignore[attr-defined]
        # Before slot 0 is the end of the prompt, whose tokens count already.
        for slot, token in enumerate(self._before[1:], 1):
            seen[max(slot - self._start, 0) :, token] = True
        lowered = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
        return torch.where(seen, lowered, scores)


class NoraTokens(Generator):
    """Tokens of FAST, named by the language model itself."""

    needs_cache = True

    def __init__(self, folder: NoraFolder, fast: PublishedFast, output: nn.Linear | None) -> None:
        """Use the ``output`` layer of the model; ``None``: its embedding."""
        super().__init__()
        self.output = output
        self._fast, self._folder = fast, folder
        self._numbers = {token: number for number, token in enumerate(folder.actions)}
        self._said: list[int] = []
        self._settings = ActorSettings()

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on.

        Raises ``InvalidSettingError`` for a decoding that the model was not trained for.
        """
        method, accept = settings.decoding.method, settings.decoding.accept
        if settings.head == 'tokens' and method not in EXACT:
            raise InvalidSettingError(
                f'decoding.method is {method}, for which no NORA was trained; expected one of '
                f'{", ".join(EXACT)}. Set it to one of them.'
            )
        if settings.head == 'tokens' and method == 'speculative' and accept:
            raise InvalidSettingError(
                f'decoding.accept is {accept} with a NORA; expected 0, since neighbouring tokens '
                'of FAST mean nothing alike. Set it to 0.'
            )
        self._settings = settings

    def reset(self) -> None:
        """Forget the tokens of the chunk before."""
        self._said = []

    def make(self, given: Given) -> Made:
        """Return the chunk, from -1 to 1, that the model names behind the prompt of a plan."""
        found = self._decode(given)
        tokens = found.tokens[0].tolist()
        end = self._folder.ends[0]
        ended = end in tokens
        said = tokens[: tokens.index(end)] if ended else tokens
        self._said = tokens[: len(said) + ended]
        named = [self._numbers[token] for token in said if token in self._numbers]
        chunk, note = self._fast.decode(named)
        odd = len(said) - len(named)
        notes = [note, f'{odd} of {len(said)} tokens name no action: left out' if odd else '']
        notes.append('' if ended else 'the end was missing')
        return Made(chunk, found.passes, note='; '.join(filter(None, notes)))

    def _decode(self, given: Given) -> Decoded:
        """Return the tokens behind the prompt, the end included."""
        cache = given.cache
        assert isinstance(cache, LanguagePrefix)
        rows, actions = self._fast.shape
        last = given.latents[0, -1].to(cache.decoder.device)
        decoder: Any = Answer(
            self._folder,
            cache.decoder,
            cache,
            last,
            self._logits_of(cache),
            BYTES * rows * actions + 1,
            self._folder.actions[0],
        )
        settings = self._settings
        own = settings.head != 'tokens'
        method = EXACT[0] if own else settings.decoding.method
        draft = list(self._said)
        line = Line(decoder, last[None], self._folder.ends[0], lambda: draft, 0, 0)
        decode: Callable[[Line], Decoded] = import_module(
            f'efficient_vla.action.decoding.{method}'
        ).decode
        return decode(line)

    def _logits_of(self, cache: LanguagePrefix) -> Callable[[torch.Tensor], torch.Tensor]:
        weight = cache.decoder.model.get_input_embeddings().weight
        weight = weight if self.output is None else self.output.weight

        def logits(hidden: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(hidden.to(weight), weight).float()

        return logits
