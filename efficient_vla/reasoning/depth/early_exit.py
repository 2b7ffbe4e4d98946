# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""DeeR: leave the decoder as soon as two exits agree on the action (arXiv 2411.02359).

An exit after every few layers makes a plan of the queries' hidden states there. The pass ends at
exit i where the action of its plan is no further than eta_i from that of the exit before; for the
first one, from what the same exit makes of the layer before it. The last exit always answers.

Thresholds are solved from a budget, as a share of the FLOPs of all layers. The share of the frames
that leave at exit k is proportional to r^k, r so that the mean cost is the budget; then the exits
are walked in order, and each threshold is the quantile of the changes of those frames of a
calibration set that have not left before. Frames of an episode are other ones, so that what its
passes have cost more or less than the budget is taken off the budget of the next one.

Not as in the paper: the trunk stays as it is and no head is recurrent, so that there is no exit to
draw at random in training; exits share the policy's own action head instead of one of theirs.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.reasoning.depth import DepthSettings
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.runner import Route
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import weights_mb

Judge = Callable[[torch.Tensor, np.ndarray | None], torch.Tensor]
"""Latents [1, Q, D] and the robot's state [S], ``None`` unknown -> what is compared, [n]."""
STEPS = 60
"""Bisections of the logarithm of r."""
LOG_R = 30.0
"""Largest logarithm of r that is looked at."""
LEVELS = 33
"""Budgets between the first and the last exit whose thresholds are known beforehand."""


class ExitHead(nn.Module):
    """The queries' hidden states after a layer -> a plan."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.down = nn.Linear(width, rank)
        self.mix = nn.Linear(rank, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map hidden states [B, Q, D] to latents [B, Q, D]."""
        normed = self.norm(hidden)
        return normed + self.mix(F.gelu(self.down(normed)))


class CostedExits(nn.Module):
    """What exits cost, and how they answered on the frames of a calibration set."""

    changes: torch.Tensor
    """How far the action of each exit is from the one before it, [F, E]."""

    def __init__(self, layers: Sequence[int], frames: int, costs: Sequence[float]) -> None:
        """Have an exit after ``layers`` layers each, fewest first.

        ``costs`` are the FLOPs of a pass that ends at each exit, and of one that ends at none, as
        shares of those of the decoder.
        """
        super().__init__()
        self.layers, self.costs = tuple(layers), tuple(costs)
        if len(self.costs) != len(self.layers) + 1 or sorted(set(self.layers)) != list(self.layers):
            raise ValueError(f'layers are {layers} with costs {costs}; expected one more, rising')
        falling = not all(one <= other for one, other in pairwise(self.costs))
        if frames < 1 or falling or not 0 < self.costs[0] <= self.costs[-1] < float('inf'):
            raise ValueError(f'costs of {frames} frames are {costs}; expected some, rising from 0')
        self.register_buffer('changes', torch.zeros(frames, len(self.layers)))

    def until(self, last: int, depth: int) -> tuple[int, ...]:
        """Return the exits in use where ``last`` of ``depth`` layers are there.

        Raises ``InvalidSettingError`` where the last of them is no exit.
        """
        if last not in (*self.layers, depth):
            raise InvalidSettingError(
                f'depth.layers is {last} with depth.method early_exit; expected one of '
                f'{", ".join(map(str, self.layers))}, after which there are exits, or 0 for all.'
            )
        return tuple(k for k, layer in enumerate(self.layers) if layer <= last)

    def thresholds(self, budget: float, used: Sequence[int], whole: bool) -> tuple[float, ...]:
        """Return how far apart the actions of each exit in ``used`` and the one before may be.

        ``whole`` says that the decoder goes on behind the last exit; otherwise that one always
        answers. Raises ``InvalidSettingError`` for a budget below the cost of the first exit.
        """
        costs = [self.costs[k] for k in used] + [self.costs[-1]] * whole
        if budget < costs[0]:
            raise InvalidSettingError(
                f'depth.budget is {budget:g} with depth.method early_exit; expected at least '
                f'{costs[0]:.3f}, the cost of the first exit.'
            )
        shares = exit_shares(costs, budget if budget < 1.0 else costs[-1])
        found = quantiles(self.changes[:, list(used)], shares[: len(used)])
        return found if whole else (*found[:-1], float('inf'))


class Exits(CostedExits):
    """The exits of a decoder whose plan are the hidden states of queries."""

    def __init__(
        self,
        layers: Sequence[int],
        queries: int,
        width: int,
        rank: int,
        frames: int,
        costs: Sequence[float],
    ) -> None:
        """Make exits for the last ``queries`` rows; the others as in ``CostedExits``."""
        super().__init__(layers, frames, costs)
        self.queries = queries
        self.heads = nn.ModuleList(ExitHead(width, rank) for _ in layers)

    def forward(self, exit_: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return the latents [B, Q, D] of an exit for hidden states [B, n, D]."""
        latents: torch.Tensor = self.heads[exit_](hidden[:, -self.queries :].float())
        return latents


def exit_shares(costs: Sequence[float], budget: float) -> list[float]:
    """Return the share of the frames that leave at each exit, proportional to r^k.

    Their mean cost is ``budget``, or the nearest that can be.
    """
    known, places = np.array(costs), np.arange(len(costs))
    if budget >= costs[-1]:
        return [0.0] * (len(costs) - 1) + [1.0]

    def shares(log_r: float) -> np.ndarray:
        rising = np.exp(places * log_r - max(0.0, places[-1] * log_r))
        return rising / rising.sum()

    low, high = -LOG_R, LOG_R
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if shares(middle) @ known < budget else (low, middle)
    return shares((low + high) / 2).tolist()


def quantiles(changes: torch.Tensor, shares: Sequence[float]) -> tuple[float, ...]:
    """Return a threshold an exit, below which these shares of the frames [F, E] leave there.

    It is infinite where all leave, so that frames that change more than any of these leave too.
    """
    left = torch.arange(len(changes))
    found = []
    for exit_, share in enumerate(shares):
        count = min(len(left), round(share * len(changes)))
        values = changes[left, exit_].sort().values
        highest = float('inf') if count == len(left) else float(values[count - 1])
        found.append(highest if count else -1.0)
        left = left[changes[left, exit_] > found[-1]]
    return tuple(found)


class ExitRoute(Route):
    """One pass through a decoder with exits; see ``runner.Route``."""

    def __init__(
        self,
        exits: CostedExits,
        thresholds: Sequence[float],
        judge: Callable[[torch.Tensor], torch.Tensor],
        depth: int,
    ) -> None:
        """Use the first exits, one a threshold, of a decoder of ``depth`` layers."""
        self._exits, self._thresholds = exits, thresholds
        self._judge, self._depth = judge, depth
        self.skipped: frozenset[int] = frozenset()
        self._before: torch.Tensor | None = None
        self.latents: torch.Tensor | None = None
        """Of the exit where the pass ended, [B, Q, D]."""
        self.layers = 0
        """Layers that ran."""
        self.cost: float | None = None
        """Of the pass, as a share of the FLOPs of all layers; ``None`` until it ends."""
        self.changes: list[float] = []
        """How far the actions of the exits were from those before them."""

    def leaves(self, layer: int, hidden: torch.Tensor) -> bool:
        """Return whether the pass ends after this layer, of hidden states [B, n, D]."""
        self.layers = layer + 1
        places = self._exits.layers[: len(self._thresholds)]
        first = self.layers + 1 == places[0]
        if self.layers == self._depth:
            self.cost = self._exits.costs[-1]
        if not first and self.layers not in places:
            return False
        exit_ = 0 if first else places.index(self.layers)
        latents = self._exits(exit_, hidden)
        eta = self._thresholds[exit_]
        if not first and eta == float('inf'):
            return self._end(exit_, latents)
        action = self._judge(latents)
        before, self._before = self._before, action
        if first or before is None:
            return False
        self.changes.append(float(torch.linalg.vector_norm(action - before)))
        return self.changes[-1] <= eta and self._end(exit_, latents)

    def _end(self, exit_: int, latents: torch.Tensor) -> bool:
        self.latents, self.cost = latents, self._exits.costs[exit_]
        return True

    @property
    def whole(self) -> bool:
        """Whether all layers of the decoder ran."""
        return self.layers == self._depth

    def left(self, layers: Layers) -> Layers:
        """Return the layers that are there; a pass that ends early sees the first of them."""
        return layers

    def spent(self) -> str:
        """Say in words which layers ran."""
        return f'early_exit after {self.layers} of {self._depth} layers'


class ExitPilot:
    """The exits of a policy with its action head; see ``pilot.Pilot``."""

    def __init__(
        self,
        exits: CostedExits,
        judge: Judge,
        left: Layers,
        route: type[ExitRoute] = ExitRoute,
    ) -> None:
        """Leave a decoder of which the layers ``left`` are there, by routes of this kind."""
        self._exits, self._judge, self._left, self._route = exits, judge, left, route
        self._settings: DepthSettings | None = None
        self._budgets: np.ndarray = np.zeros(0)
        self._thresholds: list[tuple[float, ...]] = []
        """Of each of the budgets."""
        self._budget, self._owed = 1.0, 0.0
        """What a pass may cost, and what those of the episode have cost less than that in all."""
        self._last: ExitRoute | None = None
        self.parameters_mb = weights_mb(exits)
        if isinstance(judge, nn.Module):
            self.parameters_mb += weights_mb(judge)

    def configure(self, settings: DepthSettings) -> None:
        """Solve the thresholds of the budget, and of those around it.

        What the episode has cost is forgotten with another budget alone: other parameters, and
        cameras that move, configure a stage between passes.
        """
        if settings == self._settings:
            return
        exits, last, depth = self._exits, len(self._left.numbers), self._left.depth
        used, whole = exits.until(last, depth), last == depth
        exits.thresholds(settings.budget, used, whole)
        highest = exits.costs[-1 if whole else used[-1]]
        self._budgets = np.append(
            np.linspace(exits.costs[0], highest, LEVELS), min(settings.budget, highest)
        )
        self._thresholds = [exits.thresholds(float(b), used, whole) for b in self._budgets]
        self._budget = settings.budget if settings.budget < 1.0 else highest
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget what the passes of the last episode cost."""
        self._owed, self._last = 0.0, None

    def route(
        self, visual: torch.Tensor, text: torch.Tensor, state: np.ndarray | None
    ) -> ExitRoute:
        """Return the route of a frame."""
        if self._last is not None and self._last.cost is not None:
            self._owed += self._budget - self._last.cost
        wanted = self._budget + self._owed
        thresholds = self._thresholds[int(np.abs(self._budgets - wanted).argmin())]
        self._last = self._route(
            self._exits, thresholds, lambda latents: self._judge(latents, state), self._left.depth
        )
        return self._last
