# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the words of a prompt stand among the visual tokens, and which positions both have.

A prompt has words before, between and behind its images. Positions are those of a whole frame: a
token that perception left out keeps its place, so that the others keep theirs.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.reasoning.words import Words
from efficient_vla.types import VisualTokens


@dataclass(frozen=True)
class Layout:
    """Places and positions of L words among V visual tokens."""

    ahead: torch.Tensor
    """Visual tokens before each word, int64 [L], never decreasing."""
    positions: torch.Tensor
    """Position id of each word, int64 [L]."""
    end: int
    """Position id after the last word."""
    images: torch.Tensor
    """Of which image each visual token is, int64 [V]."""
    words: torch.Tensor
    """Which of the L are the instruction, int64; relevance is read from them."""

    @cached_property
    def text(self) -> torch.Tensor:
        """Place of each word in the sequence, int64 [L]."""
        return self.ahead + torch.arange(len(self.ahead), device=self.ahead.device)

    @cached_property
    def visual(self) -> torch.Tensor:
        """Place of each visual token, int64 [V]."""
        own = torch.arange(len(self.images), device=self.ahead.device)
        return own + torch.searchsorted(self.ahead, own, right=True)

    @cached_property
    def order(self) -> torch.Tensor:
        """Index that puts visual tokens, then words, in the order of the sequence, [V + L]."""
        return torch.cat([self.visual, self.text]).argsort()


def behind(start: int, length: int, images: torch.Tensor) -> Layout:
    """Return the layout of words that all follow the visual tokens, from position ``start`` on.

    ``images`` [V] says of which image each visual token is.
    """
    words = torch.arange(length, device=images.device)
    return Layout(torch.full_like(words, len(images)), start + words, start + length, images, words)


def arranged(
    parts: Decoder, tokens: VisualTokens, full: int, words: Words
) -> tuple[torch.Tensor, Layout]:
    """Return the position ids of visual tokens, [1, V] or [3, 1, V], and where the words are.

    ``full`` is the count of tokens of a whole frame. On the device of the decoder.
    """
    device, length = parts.device, len(words.ids)
    positions = parts.visual_positions(tokens).to(device)
    if words.after is None:
        start = parts.text_start(tokens, full)
        camera = torch.from_numpy(tokens.camera).long().to(device)
        return positions, behind(start, length, camera)
    after = words.after.to(device)
    count = int(after[-1])
    # An image takes up so many positions; with three axes, its longer side.
    step = max(tokens.grid) if parts.three_axes else full // count
    own = tokens.camera if parts.three_axes else tokens.position // step
    image = torch.from_numpy(own).long().to(device)
    before = torch.searchsorted(after, image, right=True)
    layout = Layout(
        torch.searchsorted(image, after),
        torch.arange(length, device=device) + after * step,
        length + count * step,
        image,
        words.sentence.to(device),
    )
    return positions + before, layout
