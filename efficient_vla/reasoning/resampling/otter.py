# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""OTTER: text tokens pool the visual tokens that match them, to a fixed length (arXiv 2503.03734).

Released code: cosine similarity of each of the first 15 text tokens with all patches, softmax over
patches with a learned temperature (0.07 at first), and the pooled patches with fixed sines of their
places added: one vector a text token. Learned readouts attend to those, in 2 layers of 8 heads.

What differs: CLIP's aligned text and image spaces are replaced by learned projections of the
policy's own, and CLIP's text tower by one layer over the decoder's embeddings. Similarity has four
heads, each with a temperature of its own, since an untrained space has no single alignment. The
readouts enter the pretrained decoder in place of the visual tokens, instead of one token per time
step of a new policy; state joins in the head, as in the dense policy. There is one frame.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from efficient_vla.reasoning.resampling.layers import CrossLayer, sincos

TEXT_TOKENS = 15
"""Tokens of the instruction that pool; the rest is cut, as in the released code."""
TEMPERATURE = 0.07
LAYERS = 2


class Otter(nn.Module):
    """V visual tokens and an instruction -> ``tokens`` tokens."""

    def __init__(
        self, width: int, tokens: int = 16, heads: int = 8, similarity_heads: int = 4
    ) -> None:
        super().__init__()
        self.split = similarity_heads
        self.context = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.text = nn.Linear(width, width, bias=False)
        self.patch = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.temperature = nn.Parameter(torch.full((similarity_heads,), math.log(TEMPERATURE)))
        self.readouts = nn.Parameter(torch.randn(tokens, width) * 0.5)
        self.layers = nn.ModuleList([CrossLayer(width, heads, 2 * width) for _ in range(LAYERS)])
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, visual: Tensor, places: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Return tokens [B, M, D] for visual tokens [B, V, D] at places [V, 3].

        ``text`` holds instruction embeddings [B, L, D], ``text_mask`` bool [B, L] which are real.
        """
        text, text_mask = text[:, :TEXT_TOKENS], text_mask[:, :TEXT_TOKENS]
        pooled = self.pool(visual, places, text, text_mask)
        readouts = self.readouts.to(visual.dtype).expand(len(visual), -1, -1)
        for layer in self.layers:
            readouts = layer(readouts, pooled, text_mask)
        return self.output(readouts)

    def pool(self, visual: Tensor, places: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Return one pooled vector a text token, [B, L, D]."""
        width = visual.shape[-1]
        order = torch.arange(text.shape[1], device=text.device)[:, None] / TEXT_TOKENS
        text = text + sincos(order, width).to(text.dtype)
        text = self.context(text, src_key_padding_mask=~text_mask)
        heads = (self.split, -1)
        t = functional.normalize(self.text(text).unflatten(-1, heads), dim=-1)
        p = functional.normalize(self.patch(visual).unflatten(-1, heads), dim=-1)
        similarity = torch.einsum('blhd,bvhd->bhlv', t, p).float()
        attention = (similarity / self.temperature.exp()[:, None, None]).softmax(-1)
        value = self.value(visual) + sincos(places, width).to(visual.dtype)
        value = value.unflatten(-1, heads)
        return torch.einsum('bhlv,bvhd->blhd', attention.to(value.dtype), value).flatten(2)
