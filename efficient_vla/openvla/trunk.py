# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The language model of OpenVLA over one frame, for one action or for the slots of a chunk.

The sequence is the first word, patches, the robot's state where OFT has it, the other words, and
for OFT a row of zeros for each number of the chunk and the end token. There, all rows see all; the
hidden state of a slot is that of the row before it, as next tokens were learned (OpenVLA-OFT,
arXiv 2502.19645, and its code). Without slots the mask is causal, and the keys and values are kept
for what follows.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.reasoning import runner
from efficient_vla.reasoning.continuation import LanguagePrefix
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.reasoning.layout import Layout
from efficient_vla.reasoning.trunk import Trunk

END = 2
"""Token that ends a sentence of Llama 2."""


class ProprioProjector(nn.Module):
    """Normalised state of the robot [S] -> a token [D]."""

    def __init__(self, states: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(states, width), nn.Linear(width, width)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """Return the token."""
        return self.fc2(F.gelu(self.fc1(state.to(self.fc1.weight))))


class OpenVlaTrunk(Trunk):
    """A Llama 2 that reads a frame as OpenVLA does."""

    def __init__(
        self, decoder: Any, slots: int = 0, proprio: ProprioProjector | None = None
    ) -> None:
        """Leave room for ``slots`` numbers of a chunk; 0 keeps the prefix for decoding."""
        super().__init__(decoder, 0)
        self.slots, self.proprio = slots, proprio
        self.state: torch.Tensor | None = None
        """Normalised state of the robot, [S], for the next pass."""

    def replace(self, decoder: Any) -> None:
        """Put another module in the decoder's place, such as its quantized form."""
        self.decoder = decoder
        self.parts = Decoder(decoder, True, self.numbers, self.depth)

    def rows_beside(self, camera: np.ndarray) -> int:
        """Return the rows beside visual tokens, of the cameras ``camera`` [V], and words."""
        return (self.slots + 1 if self.slots else 0) + (self.proprio is not None)

    def forward(
        self,
        visual: torch.Tensor,
        visual_positions: torch.Tensor,
        text: torch.Tensor,
        text_mask: torch.Tensor,
        start: int | Layout,
        selection: runner.Chooser | None = None,
        reuse: runner.Reuse | None = None,
        observe: frozenset[int] = frozenset(),
    ) -> tuple[torch.Tensor, runner.PassResult]:
        """Return latents [1, Q, D], of all slots or of the last word, and what the pass told.

        ``visual`` [1, V, D] with position ids ``visual_positions`` [1, V], ``text`` token ids
        [1, L] of which the first stands before the image, as ``start``, a layout, says.
        """
        assert isinstance(start, Layout)
        device, count, length = visual.device, visual.shape[1], text.shape[1]
        words = self.parts.embed(text).to(visual.dtype)
        state = self._state_row(visual)
        rows = [words[:, :1], visual, *state, words[:, 1:], *self._tail(visual)]
        embeddings = torch.cat(rows, 1)  # [1, N, D]
        total, beside = embeddings.shape[1], len(state)
        # What perception left out keeps its place, so that all others keep theirs.
        after = int(start.positions[1]) + torch.arange(total - 1 - count, device=device)
        first = start.positions[:1]
        positions = torch.cat([first, visual_positions[0], after])[None]
        if self.slots:
            mask = torch.ones(1, 1, total, total, dtype=torch.bool, device=device)
        else:
            mask = runner.causal_mask(torch.ones(1, total, dtype=torch.bool, device=device))
        place = torch.arange(total, device=device)
        places = torch.cat([place[:1], place[1 + count + beside :][: length - 1]])
        sequence = runner.Sequence(
            embeddings, positions, mask, place[1 : 1 + count], places[start.words]
        )
        if self.slots:
            result = runner.run(self.parts, sequence, selection, reuse, observe)
            return result.hidden[:, -self.slots - 2 : -2], result
        slots, result = runner.run_keeping(self.parts, sequence, selection, reuse, observe)
        self.prefix = LanguagePrefix.of(self.parts, slots, result, positions)
        return result.hidden[:, -1:], result

    def _state_row(self, like: torch.Tensor) -> list[torch.Tensor]:
        if self.proprio is None:
            return []
        assert self.state is not None
        return [self.proprio(self.state).to(like)[None, None]]

    def _tail(self, like: torch.Tensor) -> list[torch.Tensor]:
        """Return the slots of a chunk and the end token."""
        if not self.slots:
            return []
        end = self.parts.embed(torch.tensor([[END]], device=like.device))
        return [like.new_zeros(1, self.slots, like.shape[-1]), end.to(like)]
