# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""FastV: keep the visual tokens that the last token attends to most (arXiv 2403.06764).

The released code ranks by the attention of the last query row at the layer before the drop,
averaged over heads; so does this.
"""

import torch

from efficient_vla.reasoning.pruning.view import View


def score(view: View) -> torch.Tensor:
    """Return the attention of the last row, [n]."""
    return view.last
