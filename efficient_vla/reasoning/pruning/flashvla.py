# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""FlashVLA: tokens that carry the attention output's leading directions (arXiv 2505.21200).

With the singular value decomposition U S V^T of the attention output of the visual tokens, token x
contributes ``sum_i |u_xi s_i|`` over the effective rank. No attention map is needed. How the paper
finds the effective rank is not known here; it is the fewest directions that hold a share
``energy`` of the squared values.
"""

import torch

from efficient_vla.reasoning.pruning.view import View


def score(view: View) -> torch.Tensor:
    """Return the contribution of each token, [n].

    The leading ``rank`` directions come from one step of subspace iteration with a fixed start
    (Halko et al. 2011, algorithm 4.4), since a full decomposition of 1024 tokens takes longer than
    the layers it saves. It is exact where ``rank`` reaches the size of the output.
    """
    settings = view.settings.flashvla
    output = view.output
    size = min(settings.rank, *output.shape)
    start = torch.randn(output.shape[1], size, generator=torch.Generator().manual_seed(0))
    sketch = output @ start.to(output.device)
    basis = torch.linalg.qr(output @ (output.T @ sketch)).Q  # [n, size]
    small = basis.T @ output
    energy, directions = torch.linalg.eigh(small @ small.T)
    energy, directions = energy.flip(0).clamp(min=0), directions.flip(1)
    missing = energy.cumsum(0) < settings.energy * output.square().sum()
    used = torch.cat([missing.new_ones(1), missing[:-1]])  # as far as the first that suffices
    return (basis @ (directions * energy.sqrt() * used)).abs().sum(1)
