# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""VLA-Cache: keys and values of static tokens that the task does not look at (arXiv 2502.02175).

A slot a visual token and layer. Differences from the released code, each for a defect that users
met: a token is compared with the features its slot was computed from, not with the last frame, so
that slow drift is caught; features instead of raw pixels, so that brightness counts; candidates are
ordered by how static they are, not by position; slots have an age limit; everything is computed
again at regular intervals, and after a change of instruction, layout, epoch or clock. The entropy
is that of the instruction's rows over all columns in the last pass that computed everything. The
number of static tokens has no limit; the authors take at most 130 of 256.
"""

from dataclasses import dataclass

import numpy as np
import torch

from efficient_vla.attention import KeyValues
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.runner import PassResult, Reuse
from efficient_vla.reasoning.settings import ReuseSettings

MIN_STEP = 0.05
"""Share of the candidates by which the reused set must grow to be worth another cut of the rows."""


@dataclass(frozen=True, slots=True)
class CachedFrame:
    """What decides whether slots of an earlier pass may serve this one."""

    features: torch.Tensor
    """Visual tokens as they enter the decoder, [V, D]."""
    length: int
    """Tokens of the whole sequence."""
    key: tuple[object, ...]
    """Instruction, epoch and whatever else must not change."""
    stamp: float
    """Capture time [s]."""


class VlaCache:
    """Slots of all layers and what is known about them."""

    def __init__(self, left: Layers) -> None:
        """Keep slots of the layers that are left.

        Of those that are not whole no attention is known; they reuse what the one before does.
        """
        self._left = left
        self.flush('first plan')

    def flush(self, reason: str) -> None:
        """Forget all slots; the next plan computes everything, for ``reason``."""
        self._why = reason
        self._frame: CachedFrame | None = None
        self._slots: list[KeyValues] = []
        self._from = torch.zeros(0)
        self.stamps = torch.zeros(0, dtype=torch.float64)
        """Capture time of the frame that each slot's keys and values come from [V]."""
        self._since_refresh = 0
        self._shares: tuple[float, ...] = ()

    def begin(
        self, frame: CachedFrame, task: torch.Tensor, settings: ReuseSettings, first_layer: int = 0
    ) -> tuple[Reuse, str]:
        """Return what the runner reuses from ``first_layer`` on, and why if it is nothing.

        ``task`` is the remembered attention of the instruction to the V tokens, NaN if unknown.
        """
        reason = self._invalid(frame, settings)
        if reason:
            self.flush(reason)
            self._slots = [KeyValues(frame.length) for _ in self._left.numbers]
            self._from = torch.zeros_like(frame.features)
            self.stamps = torch.full((len(frame.features),), -torch.inf, dtype=torch.float64)
        self._frame = frame
        reuse = Reuse(self._slots)
        if not reason:
            self._since_refresh += 1
            reuse.skip = self._schedule(self._candidates(frame, task, settings), settings)
            reuse.skip = _not_before(first_layer, reuse.skip)
        return reuse, reason

    def end(self, result: PassResult) -> None:
        """Note which slots the pass computed anew in every layer."""
        assert self._frame is not None
        self._from[result.computed] = self._frame.features[result.computed]
        self.stamps[result.computed.cpu()] = self._frame.stamp
        if len(result.entropy) == len(self._left.whole):
            self._shares = tuple(result.entropy[layer] for layer in self._left.whole)

    def age(self, tokens: np.ndarray, stamp: float) -> np.ndarray:
        """Return how old the slots of these tokens are at ``stamp``, float32 [s]."""
        return (stamp - self.stamps[tokens]).numpy().astype(np.float32)

    @property
    def wants_entropy(self) -> bool:
        """Whether the next pass should observe the attention of all layers."""
        return not self._shares

    def _invalid(self, frame: CachedFrame, settings: ReuseSettings) -> str:
        before = self._frame
        if before is None:
            return self._why
        if frame.key != before.key:
            return 'instruction or epoch changed'
        if frame.length != before.length or frame.features.shape != before.features.shape:
            return 'tokens changed'
        if frame.stamp < before.stamp:
            return 'clock jumped back'
        if frame.stamp - before.stamp > settings.max_age:
            return 'max age'
        if self._since_refresh + 1 >= settings.refresh_every:
            return 'refresh'
        return ''

    def _candidates(
        self, frame: CachedFrame, task: torch.Tensor, settings: ReuseSettings
    ) -> torch.Tensor:
        """Return static tokens that the task does not need, the most static ones first."""
        change = (frame.features - self._from).norm(dim=1) / self._from.norm(dim=1).clamp(min=1e-6)
        young = (frame.stamp - self.stamps <= settings.max_age).to(change.device)
        static = (change <= settings.threshold) & young
        wanted = round(settings.task_share * len(task))
        if wanted:
            # What was never observed may be needed.
            unknown = task.nan_to_num(nan=torch.inf).to(change.device)
            static[unknown.topk(wanted).indices] = False
        order = change.argsort(stable=True)
        return order[static[order]]

    def _schedule(
        self, candidates: torch.Tensor, settings: ReuseSettings
    ) -> dict[int, torch.Tensor]:
        """Return layer -> tokens that are not computed from there on."""
        if not len(candidates):
            return {}
        if not settings.adaptive:
            return {0: candidates}
        skip: dict[int, torch.Tensor] = {}
        taken = 0
        left = self._left
        places = {left.place(round(share * left.depth)) for share in settings.layers}
        shares = growing_shares(self._shares, settings.growth)
        for layer, share in zip(left.whole, shares, strict=False):
            if any(settings.layers) and layer not in places:
                continue
            count = int(share * len(candidates))
            if count - taken >= max(1, MIN_STEP * len(candidates)):
                skip[layer] = candidates[:count]
                taken = count
        return skip


def growing_shares(entropy: tuple[float, ...], growth: float) -> list[float]:
    """Return the share of candidates that each layer reuses, never less than the layer before.

    ``1 - minmax(entropy)`` a layer (VLA-Cache, section 3.3), rises damped by ``growth``.
    """
    if not entropy:
        return []
    low, high = min(entropy), max(entropy)
    shares, current = [], 0.0
    for value in entropy:
        target = 1.0 - (value - low) / (high - low) if high > low else 1.0
        current += growth * max(0.0, target - current)
        shares.append(current)
    return shares


def _not_before(first: int, skip: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
    """Return the schedule with what begins before layer ``first`` begun there."""
    early = [layer for layer in skip if layer <= first]
    kept = {layer: tokens for layer, tokens in skip.items() if layer > first}
    return {first: skip[max(early)], **kept} if early else kept
