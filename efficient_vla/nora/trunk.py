# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The language model of NORA over the prompt of one frame, kept for what it says next."""

from typing import Any

import torch

from efficient_vla.reasoning import runner
from efficient_vla.reasoning.continuation import LanguagePrefix
from efficient_vla.reasoning.layout import Layout
from efficient_vla.reasoning.trunk import Trunk


class NoraTrunk(Trunk):
    """A Qwen2.5 without queries, whose keys and values a plan hands on."""

    def __init__(self, decoder: Any, marker: int) -> None:
        """Take the decoder and the token that stands for an image in the prompt."""
        super().__init__(decoder, 0)
        self.marker = marker

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
        """Return the last hidden state of the prompt [1, 1, D], and what the pass told."""
        assert isinstance(start, Layout)
        sequence = self.sequence(visual, visual_positions, text, text_mask, start)
        slots, result = runner.run_keeping(self.parts, sequence, selection, reuse, observe)
        words = torch.cat([text[0], text.new_tensor([self.marker])])
        self.prefix = LanguagePrefix.of(self.parts, slots, result, sequence.positions, words)
        return result.hidden[:, -1:], result
