# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep random tokens: the control that a clever selector has to beat."""

import torch

from efficient_vla.reasoning.pruning.view import View


def score(view: View) -> torch.Tensor:
    """Return uniform noise, [n], drawn from ``view.generator``."""
    noise = torch.rand(len(view.tokens), generator=view.generator)
    return noise.to(view.tokens.device)
