# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep evenly spaced tokens: the control that knows the budget and nothing else."""

import torch

from efficient_vla.reasoning.pruning.view import View


def score(view: View) -> torch.Tensor:
    """Return 1 for ``view.count`` evenly spaced tokens and 0 for the rest, [n]."""
    total = len(view.tokens)
    scores = torch.zeros(total, device=view.tokens.device)
    scores[(torch.arange(view.count, device=scores.device) * total + total // 2) // view.count] = (
        1.0
    )
    return scores
