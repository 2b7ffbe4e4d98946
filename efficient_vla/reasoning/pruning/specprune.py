# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SpecPrune-VLA: earlier frames, change and this frame's attention, then layer by layer.

arXiv 2509.05614. The union of three sets stays at the first visit, so that the number of tokens
follows from the scene: those that the instruction attended to most in earlier frames, in each of
two layers; those that changed most since a number of plans ago that falls with the speed; and those
attended to most in this frame, in each of the two layers before the drop, more of them in fine work
than in coarse. ``pruning.keep`` limits the union, in this order. At later visits an average over
layers ranks what remains.

In other ways than the paper: speeds are of the end effector over ``full_speed``, not of normalized
actions; rotation does not take part; frames are compared by their features; the released code's
emptying of the action queue when fine work begins is not here.
"""

import functools
import math

import torch

from efficient_vla.reasoning.pruning.budget import in_turn
from efficient_vla.reasoning.pruning.view import View

MOMENTUM = 0.8
SLOPE = 4.0
"""Fall of the sigmoid from the first to the last rank; ours, since the authors' saturates it."""
NAME = 'specprune'


def score(view: View) -> torch.Tensor:
    """Return scores by set at the first visit, by the average over layers later, [n]."""
    orders = [layer.mean(0).argsort(descending=True, stable=True) for layer in view.attention]
    order = orders[-1]
    average = _average(view, order)
    if view.visit > 0:
        return average
    settings, total = view.settings.specprune, len(order)
    remembered = round(settings.remembered * total)
    local = round(settings.alpha * (settings.fine if is_fine(view) else settings.coarse) * total)
    changed = _changed(view.similarity, order, settings.unchanged)
    return in_turn(
        total,
        *(_judged(layer, order)[:remembered] for layer in view.remembered),
        changed[: round(settings.dynamic * total)],
        *(layer[:local] for layer in orders),
    )


def is_fine(view: View) -> bool:
    """Return whether the arm is slow and does not rise; so it is where motion is not known."""
    settings = view.settings.specprune
    return not (view.speed >= settings.fine_speed * settings.full_speed or view.vertical > 0)


def interval(relative_speed: float) -> int:
    """Return how many plans ago tokens are compared with: T(v) of the paper's first version.

    The longest of 11 where the speed is NaN, 4 at least.
    """
    speed = 0.0 if math.isnan(relative_speed) else relative_speed
    return max(0, math.floor((22 - 16 * speed) / 3)) + 4


def _judged(remembered: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return the tokens by their place in the memory, highest first, int64 [n].

    A token the memory knows nothing of, since it was dropped, is as far up as this frame's
    attention puts it, so that it can come back.
    """
    unknown = remembered.isnan()
    if not unknown.any():
        return remembered.argsort(descending=True, stable=True)
    total = len(order)
    known = (~unknown).sum()
    place = remembered.nan_to_num(-torch.inf).argsort(descending=True, stable=True)
    ranks = torch.arange(total, device=order.device) + 0.5
    up = torch.empty_like(ranks)
    up[place] = 1 - ranks / known
    now = torch.empty_like(ranks)
    now[order] = 1 - ranks / total
    return torch.where(unknown, now, up).argsort(descending=True, stable=True)


def _changed(similarity: torch.Tensor, order: torch.Tensor, unchanged: float) -> torch.Tensor:
    """Return the tokens that changed, most first, equal ones by attention, int64.

    A token that cannot be compared, since it was not seen before, has changed most.
    """
    similarity = similarity.nan_to_num(-torch.inf)[order]
    changed = order[similarity.argsort(stable=True)]
    return changed[: int((similarity < unchanged).sum())]


def _average(view: View, order: torch.Tensor) -> torch.Tensor:
    """Return the running average of rank weight times confidence over the visited layers, [n].

    The rank weights are a sigmoid that falls with the rank and sum to 1; the confidence is one
    over the mean entropy of the instruction's attention, scaled to the visual tokens. The average
    starts at the first visit's value and is kept in ``view.carry`` by visual token.
    """
    weight = _rank_weights(len(order), order.device)
    attention = view.attention[-1]
    rows = attention / attention.sum(1, keepdim=True).clamp(min=1e-12)
    confidence = 1 / (torch.special.entr(rows).sum(1).mean() + 1e-6)
    fresh = torch.empty_like(weight)
    fresh[order] = weight * confidence
    if NAME not in view.carry:
        view.carry[NAME] = fresh.new_zeros(int(view.remaining[-1]) + 1)
        view.carry[NAME][view.remaining] = fresh
        return fresh
    average = MOMENTUM * view.carry[NAME][view.remaining] + (1 - MOMENTUM) * fresh
    view.carry[NAME][view.remaining] = average
    return average


@functools.lru_cache(maxsize=256)
def _rank_weights(total: int, device: torch.device) -> torch.Tensor:
    """Return the weights of the ranks 0 to ``total`` - 1, which sum to 1."""
    with torch.inference_mode(False):
        weight = torch.sigmoid(-SLOPE / total * torch.arange(total, device=device))
        return weight / weight.sum()
