# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What resamplers are made of: places before and after, and learned readouts that attend."""

import torch
from torch import nn
from torch.nn import functional

from efficient_vla.reasoning.pruning.view import token_map
from efficient_vla.types import VisualTokens

SLOWEST = 1.0
FASTEST = 64.0
"""Angular frequencies [rad per grid side] of the first and the last pair of sine and cosine."""


def places(
    camera: torch.Tensor, row: torch.Tensor, column: torch.Tensor, grid: tuple[int, int]
) -> torch.Tensor:
    """Return the place of each token as (camera, row, column), float32 [V, 3], image side 1."""
    rows, columns = grid
    return torch.stack([camera.float(), (row + 0.5) / rows, (column + 0.5) / columns], -1)


def places_of(tokens: VisualTokens, device: torch.device) -> torch.Tensor:
    """Return the places of visual tokens, float32 [V, 3]."""
    return places(**token_map(tokens, device), grid=tokens.grid)


def output_positions(count: int, text_start: int) -> torch.Tensor:
    """Return position ids int64 [count], spread over the ``text_start`` that are replaced.

    As many tokens as were there before keep their ids.
    """
    return (torch.arange(count) * text_start + text_start // 2) // count


def sincos(values: torch.Tensor, width: int) -> torch.Tensor:
    """Return fixed sines and cosines of values [..., K], float32 [..., width].

    Each of the K numbers gets an equal part of the width, in pairs; what is left over is 0.
    """
    pairs = width // (2 * values.shape[-1])
    speed = torch.logspace(0, 1, pairs, FASTEST / SLOWEST, device=values.device) * SLOWEST
    angle = (values[..., None] * speed).flatten(-2)
    parts = torch.cat([angle.sin(), angle.cos()], -1)
    return functional.pad(parts, (0, width - parts.shape[-1]))


class CrossLayer(nn.Module):
    """One layer in which queries attend to a context and pass through an MLP, norms first."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        """Make the projections; ``hidden`` is the width inside the MLP."""
        super().__init__()
        self.heads = heads
        self.query_norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(
        self, queries: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map queries [B, M, D] over a context [B, N, D] to [B, M, D]; mask bool [B, N]."""
        split = (self.heads, -1)
        q = self.query(self.query_norm(queries)).unflatten(-1, split).transpose(1, 2)
        k, v = self.key_value(self.context_norm(context)).chunk(2, -1)
        k, v = (part.unflatten(-1, split).transpose(1, 2) for part in (k, v))
        seen = None if mask is None else mask[:, None, None, :]
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        queries = queries + self.output(found.transpose(1, 2).flatten(2))
        return queries + self.mlp(queries)
