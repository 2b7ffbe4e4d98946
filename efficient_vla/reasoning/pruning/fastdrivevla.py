# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""FastDriveVLA: a learned scorer of foreground tokens (arXiv 2507.23318).

``ReconPruner`` is trained alone, by reconstructing the foreground from the tokens it keeps and the
background from those it drops; the trunk stays as it is. The authors take a whole decoder layer of
Qwen2.5-VL-3B, 0.07 B parameters; here it is one small encoder layer in which all tokens see each
other, behind a projection to its width. The score does not depend on the instruction.
"""

import torch
from torch import nn

from efficient_vla.reasoning.pruning.view import View


class ReconPruner(nn.Module):
    """Score tokens by their product with a learned query that has seen all of them."""

    def __init__(self, features: int, width: int = 64, heads: int = 4) -> None:
        """Take tokens of ``features`` numbers; ``width`` is that of the layer inside."""
        super().__init__()
        self.enter = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        self.query = nn.Parameter(torch.randn(width) * width**-0.5)
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation='gelu', batch_first=True
        )
        self.scorer = nn.Linear(width, 1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the scores of ``tokens`` [n, D], [n], or of [B, n, D], [B, n]."""
        query = self.query.expand(*tokens.shape[:-2], 1, -1)
        hidden = self.layer(torch.cat([query, self.enter(tokens)], -2))
        return self.scorer(hidden[..., :1, :] * hidden[..., 1:, :])[..., 0]


def score(view: View) -> torch.Tensor:
    """Return what the scorer of the policy says of each token, [n]."""
    return view.scorer(view.tokens)
