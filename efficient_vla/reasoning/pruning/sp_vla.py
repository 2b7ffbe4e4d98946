# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SP-VLA: what the vision tower looks at, less of it when the arm is fast (arXiv 2506.12723).

Tokens of highest saliency stay until their mass reaches a threshold, which falls with the speed
of the arm: 1 below the relative speed z0, else ``1 - (z - z0) span / (1 - z0)`` with z at most 1.
The authors' z is the vertical part of a normalized action; here it is the speed of the end effector
over ``full_speed``. The rules are known here from descriptions of the released code.

The preset adds the rest of the paper: every token with an edge pixel stays, beside the budget
(``protect.contours`` and ``protect.beyond``), and while the arm travels level the plan before is
used again (``schedule.method`` intuitive), which stands for the authors' ridge regression over the
last actions; that regression is not here.
"""

import math

import torch

from efficient_vla.reasoning.pruning.budget import in_turn
from efficient_vla.reasoning.pruning.view import View


def score(view: View) -> torch.Tensor:
    """Return scores by saliency, [n], ``-inf`` outside the nucleus.

    The nucleus is the fewest tokens whose mass reaches the threshold: a token is in while the mass
    of those before it is below. Cameras share one nucleus, over saliency that is scaled to sum to
    1. Nothing is left out where the speed is not known.
    """
    share = view.saliency.double() / view.saliency.sum()
    order = share.argsort(descending=True, stable=True)
    mass = threshold(view)
    if mass >= 1:
        return in_turn(len(order), order)
    mass_before = share[order].cumsum(0) - share[order]
    return in_turn(len(order), order[mass_before < mass])


def threshold(view: View) -> float:
    """Return the share of the saliency to keep, 0 to 1."""
    settings = view.settings.sp_vla
    speed = min(view.speed / settings.full_speed, 1.0)
    if math.isnan(speed) or speed < settings.threshold:
        return 1.0
    return 1.0 - (speed - settings.threshold) * settings.span / (1.0 - settings.threshold)
