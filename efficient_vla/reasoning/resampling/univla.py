# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Visual tokens as discrete codes of one vocabulary with text and actions (UniVLA, 2506.19850).

Not to be confused with the latent-action UniVLA (2505.06111). The decoder sees no continuous
features: each visual token is replaced by the row of the vocabulary that its code names, so that
equal patches give equal inputs and a token is two bytes instead of a vector.

What differs: the paper tokenizes pixels with Emu3's VQ model and trains an 8.5B decoder on codes
first. Here the policy's own tower stays, a codebook is fitted to its tokens after the mean of each
place is taken off, and that mean is the place's embedding. Vocabulary rows of codes start as the
codebook, so that the decoder starts out near the one it is.
"""

import torch
from torch import Tensor, nn


class UniVla(nn.Module):
    """V visual tokens -> as many rows of a vocabulary of ``codes``."""

    def __init__(self, width: int, places: int, codes: int = 1024) -> None:
        """Make an empty codebook for V = ``places`` tokens a frame."""
        super().__init__()
        self.codebook: torch.Tensor
        self.means: torch.Tensor
        self.register_buffer('codebook', torch.zeros(codes, width))
        self.register_buffer('means', torch.zeros(places, width))
        self.vocabulary = nn.Parameter(torch.zeros(codes, width))
        self.place = nn.Parameter(torch.zeros(places, width))

    def codes(self, visual: torch.Tensor) -> torch.Tensor:
        """Return the nearest code of each visual token [B, V, D], int64 [B, V]."""
        rest = visual.float() - self.means
        distance = self.codebook.square().sum(1) - 2 * rest @ self.codebook.T
        return distance.argmin(-1)

    def embed(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the decoder's input for codes [B, V], [B, V, D]."""
        return self.vocabulary[codes] + self.place

    def forward(self, visual: Tensor, places: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Return tokens [B, V, D] for a full frame of visual tokens [B, V, D].

        Places and the instruction are not looked at.
        """
        del places, text, text_mask
        return self.embed(self.codes(visual)).to(visual.dtype)
