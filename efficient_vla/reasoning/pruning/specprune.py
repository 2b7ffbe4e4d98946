# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SpecPrune-VLA: earlier frames, change and this frame's attention, then layer by layer.

arXiv 2509.05614. Three sets stay at the first visit: tokens that the instruction attended to most
in earlier frames, those that changed most, and by attention in this frame what fills the budget.
At later visits an average over layers ranks what remains. The third part, a controller of coarse
and fine work, is the gate ``speed``, shared by all methods.
"""

import functools

import torch

from efficient_vla.reasoning.pruning.budget import in_turn
from efficient_vla.reasoning.pruning.view import View

MOMENTUM = 0.8
SLOPE = 4.0
"""Fall of the sigmoid from the first to the last rank; the authors' value saturates it [ours]."""
NAME = 'specprune'


def score(view: View) -> torch.Tensor:
    """Return scores by set at the first visit, by the average over layers later, [n]."""
    local = view.attention.mean(0)
    order = local.argsort(descending=True, stable=True)
    average = _average(view, order)
    if view.visit > 0:
        return average
    settings = view.settings.specprune
    memory = _judged(view.remembered, order)
    return in_turn(
        len(order),
        memory[: round(settings.remembered * view.count)],
        _changed(view.similarity, order, settings.unchanged)[
            : round(settings.dynamic * view.count)
        ],
        order,
    )


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
    rows = view.attention / view.attention.sum(1, keepdim=True).clamp(min=1e-12)
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
