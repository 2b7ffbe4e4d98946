# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A perceiver resampler: learned latents read all visual tokens into a fixed number (Flamingo).

arXiv 2204.14198, section 3.1.1: latents attend to the concatenation of visual features and
latents, with a feed-forward layer after each attention. Flamingo has six layers and adds a time
embedding; here there are one or two layers, and the place of each token is added as fixed sines.
"""

import torch
from torch import Tensor, nn

from efficient_vla.reasoning.resampling.layers import CrossLayer, sincos


class Perceiver(nn.Module):
    """V visual tokens -> ``tokens`` tokens, the same for every instruction."""

    def __init__(self, width: int, tokens: int = 32, layers: int = 2, heads: int = 6) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(tokens, width) * 0.5)
        self.layers = nn.ModuleList([CrossLayer(width, heads, 2 * width) for _ in range(layers)])
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, visual: Tensor, places: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Return tokens [B, M, D] for visual tokens [B, V, D] at places [V, 3].

        Instruction embeddings [B, L, D] and their mask bool [B, L] are not looked at.
        """
        del text, text_mask
        context = visual + sincos(places, visual.shape[-1]).to(visual.dtype)
        latents = self.latents.to(visual.dtype).expand(len(visual), -1, -1)
        for layer in self.layers:
            latents = layer(latents, torch.cat([context, latents], 1))
        return self.output(latents)
