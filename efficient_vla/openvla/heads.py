# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans of OpenVLA -> actions from -1 to 1: the head of OFT, and tokens that name bins."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.action.decoding import Decoded, Line
from efficient_vla.action.heads import Generator, Given, Made
from efficient_vla.action.settings import ActorSettings
from efficient_vla.reasoning.continuation import Continuation, LanguagePrefix
from efficient_vla.types import InvalidRecordError

BLOCKS = 2


class ResidualBlock(nn.Module):
    """A linear layer behind a norm, beside what enters it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., width] to [..., width]."""
        return x + self.ffn(x)


class Residuals(nn.Module):
    """Hidden states of the slots of a row [..., A x D] -> the row [..., A]."""

    def __init__(self, inputs: int, width: int, actions: int) -> None:
        super().__init__()
        self.layer_norm1, self.fc1 = nn.LayerNorm(inputs), nn.Linear(inputs, width)
        self.mlp_resnet_blocks = nn.ModuleList(ResidualBlock(width) for _ in range(BLOCKS))
        self.layer_norm2, self.fc2 = nn.LayerNorm(width), nn.Linear(width, actions)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rows."""
        x = F.relu(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        return self.fc2(self.layer_norm2(x))


class ChunkRegression(Generator):
    """The head of OpenVLA-OFT, trained by L1 regression (arXiv 2502.19645)."""

    def __init__(self, width: int, actions: int) -> None:
        """Make the layers for hidden states of ``width``."""
        super().__init__()
        self.model = Residuals(actions * width, width, actions)
        self.actions = actions

    def make(self, given: Given) -> Made:
        """Return the chunk of latents [1, H x A, D], one for each number."""
        slots = given.latents[0].unflatten(0, (-1, self.actions)).flatten(1)  # [H, A x D]
        return Made(self.model(slots.to(self.model.fc1.weight)).float(), 1)


class Bins:
    """Tokens at the end of the vocabulary <-> numbers from -1 to 1, the last token the lowest."""

    def __init__(self, edges: int, last: int) -> None:
        """Take ``edges`` of the bins and the token ``last`` behind all that have a name."""
        borders = np.linspace(-1, 1, edges)
        self.last = last
        self.centres = torch.from_numpy((borders[:-1] + borders[1:]) / 2).float()

    def numbers(self, tokens: torch.Tensor) -> tuple[torch.Tensor, str]:
        """Return the number of each token; others count as the nearest bin, which a note says."""
        bins = self.last - 1 - tokens.cpu()
        inside = bins.clamp(0, len(self.centres) - 1)
        # The last edge has a token too, which means the bin before it.
        odd = int(((bins < 0) | (bins > len(self.centres))).sum())
        note = f'{odd} of {bins.numel()} tokens name no bin' if odd else ''
        return self.centres[inside], note


class ActionTokens(Generator):
    """Numbers as tokens of the language model's own vocabulary (arXiv 2406.09246)."""

    def __init__(self, width: int, vocabulary: int, actions: int, bins: Bins) -> None:
        """Make the output layer of the language model."""
        super().__init__()
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.actions, self.bins = actions, bins
        self._said: list[int] = []
        self._settings = ActorSettings()

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on."""
        self._settings = settings

    def reset(self) -> None:
        """Forget the tokens of the chunk before."""
        self._said = []

    def make(self, given: Given) -> Made:
        """Return the chunk that the plan's slots name, or the decoding of its prefix."""
        found = self._slots(given) if given.cache is None else self._decode(given)
        tokens = found.tokens[0]
        self._said = tokens.tolist()
        numbers, note = self.bins.numbers(tokens)
        notes = [note, '' if found.settled else f'not settled after {found.passes} passes']
        chunk = numbers.unflatten(0, (-1, self.actions))
        return Made(chunk, found.passes, note='; '.join(filter(None, notes)))

    def _slots(self, given: Given) -> Decoded:
        """Return the likeliest token of each slot (the parallel decoding of OFT)."""
        if self._settings.head == 'tokens' and self._settings.decoding.method != 'parallel':
            raise InvalidRecordError(
                f'decoding.method is {self._settings.decoding.method} with a plan of slots, each '
                'of which names its token in one pass; expected parallel. Set it, or '
                'openvla.chunk of the reasoner to 0.'
            )
        return Decoded(self._logits(given.latents).argmax(-1), 1)

    def _decode(self, given: Given) -> Decoded:
        """Return the tokens of one action, decoded as the settings say."""
        method = self._method()
        if method == 'parallel':
            raise InvalidRecordError(
                'decoding.method is parallel with a plan that has no slots; expected '
                'autoregressive, jacobi, speculative or consistency. Set one of them, or '
                'openvla.chunk of the reasoner for a policy that was fine-tuned by OpenVLA-OFT.'
            )
        assert isinstance(given.cache, LanguagePrefix)
        decoder: Any = Continuation(
            given.cache.decoder,
            given.cache,
            given.latents[0, -1],
            self._logits,
            self.actions,
            self.bins.last - 1 - len(self.bins.centres) // 2,
        )
        settings = self._settings.decoding
        features, draft = given.latents[:, -1], list(self._said)
        line = Line(decoder, features, None, lambda: draft, settings.accept, settings.max_steps)
        decode: Callable[[Line], Decoded] = import_module(
            f'efficient_vla.action.decoding.{method}'
        ).decode
        return decode(line)

    def _method(self) -> str:
        """Return the decoding that the settings name; of the policy's own head, token by token."""
        settings = self._settings
        return settings.decoding.method if settings.head == 'tokens' else 'autoregressive'

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.lm_head(hidden.to(self.lm_head.weight)).float()
