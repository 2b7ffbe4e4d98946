# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep evenly spaced tokens: the control that knows the budget and nothing else."""

import torch


def select(scores: torch.Tensor, count: int, generator: torch.Generator | None) -> torch.Tensor:
    """Return ``count`` sorted indices, evenly spaced over all tokens of ``scores``."""
    total = len(scores)
    return (torch.arange(count) * total + total // 2) // count
