# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep random tokens: the control that a clever selector has to beat."""

import torch


def select(scores: torch.Tensor, count: int, generator: torch.Generator | None) -> torch.Tensor:
    """Return ``count`` sorted indices drawn without replacement."""
    return torch.randperm(len(scores), generator=generator)[:count].sort().values
