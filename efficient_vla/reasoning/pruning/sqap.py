# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SQAP-VLA: the top of the attention, then an even cover of the grid (arXiv 2509.09090).

Quantization scatters attention, but the order of its very top holds. So a share of the budget goes
by attention, and farthest points of the grid fill the rest, seen from those and from the protected
tokens around the end effector (``pruning.protect``). The authors' shares are not known here.

The preset runs eight bits, with which it was measured. ``quantization.mode`` int4_hadamard is near
the authors' quantizer, a Hadamard rotation and four bits for weights and activations. Theirs has
scales by tensor or channel; here weights have a scale and a least value by group, activations a
scale by token, the rotation is of blocks of at most 64, and attention multiplies floats.
"""

import torch

from efficient_vla.reasoning.pruning.budget import farthest_points, in_turn, shielded
from efficient_vla.reasoning.pruning.view import View


def score(view: View) -> torch.Tensor:
    """Return scores in the order protected, attended to, farthest, the rest by attention, [n]."""
    order = view.attention[-1].sum(0).argsort(descending=True, stable=True)
    protected = shielded(order, view)
    top = order[: round(view.settings.sqap.top * view.count)]
    taken = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    taken[protected] = True
    taken[top] = True
    cover = farthest_points(view, taken, ~taken, max(0, view.count - int(taken.sum())))
    return in_turn(len(order), protected, top, cover, order)
