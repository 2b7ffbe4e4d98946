# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Both ends of an action expert: what enters its first layer, and the velocity behind its last."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class ExpertShape:
    """What the tensors of an expert do not tell."""

    rows: int
    """Of a chunk."""
    actions: int
    """Columns of a chunk that mean something; the others are padding."""
    head: int
    """Numbers in an attention head."""
    serves: tuple[int, ...]
    """Layer of the prefix that each layer of the expert attends to."""
    min_period: float
    max_period: float
    causal: bool
    """Whether a row sees those after it."""
    rope_base: float = 10_000.0


class Norm(nn.Module):
    """A root-mean-square norm."""

    def __init__(self, weight: torch.Tensor, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.eps = eps

    def forward(
        self, x: torch.Tensor, condition: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Return the normalised rows [B, N, W], and by what the branch behind is multiplied."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps), 1.0


class AdaptiveNorm(nn.Module):
    """A root-mean-square norm that time scales, shifts and gates."""

    def __init__(self, dense: nn.Linear, eps: float) -> None:
        super().__init__()
        self.dense = dense
        self.eps = eps

    def forward(
        self, x: torch.Tensor, condition: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Return the normalised rows [B, N, W], and by what the branch behind is multiplied."""
        assert condition is not None
        scale, shift, gate = self.dense(condition)[:, None].chunk(3, -1)
        normed = F.rms_norm(x, x.shape[-1:], None, self.eps)
        return torch.addcmul(shift, normed, 1 + scale), gate


@dataclass(slots=True)
class Projections:
    """The projections at both ends of an expert."""

    action_in: nn.Linear
    action_out: nn.Linear
    time_in: nn.Linear
    time_out: nn.Linear
    state: nn.Linear | None
    """pi0's row of the state; ``None`` where the state is in the prefix."""


class Ends(nn.Module):
    """Rows of a noisy chunk and a time -> rows for the layers; rows behind them -> velocity."""

    def __init__(self, shape: ExpertShape, own: Projections, norm: nn.Module) -> None:
        super().__init__()
        self.shape = shape
        self.action_in, self.action_out = own.action_in, own.action_out
        self.time_in, self.time_out, self.state = own.time_in, own.time_out, own.state
        self.norm, self.adaptive = norm, isinstance(norm, AdaptiveNorm)

    @property
    def columns(self) -> int:
        """Columns of a noisy chunk."""
        return self.action_out.out_features

    @property
    def states(self) -> int:
        """Numbers of the state that has a row; 0: none has."""
        return 0 if self.state is None else self.state.in_features

    def given(
        self, x: torch.Tensor, time: float, state: torch.Tensor | None, like: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return what ``enter`` takes at a ``time`` from 0 (noise) to 1, typed as ``like``."""
        shape, width = self.shape, self.action_in.out_features
        moment = moment_of(1.0 - time, width, shape.min_period, shape.max_period)
        ends = x.to(like), moment.to(like)
        if not self.states:
            return ends
        assert state is not None
        return *ends, F.pad(state, (0, self.states - state.shape[1])).to(like)

    def forward(self, added: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        """Return the velocity where layers would have ``added`` [B, N, W] to what enters them."""
        start, condition = self.enter(*given)
        return self.leave(start + added, condition)

    def enter(
        self, x: torch.Tensor, moment: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what enters the first layer [B, N, W], and what the norms depend on."""
        actions = self.action_in(x)
        if self.adaptive:
            condition = F.silu(self.time_out(F.silu(self.time_in(moment))))
            return actions, condition
        both = torch.cat([actions, moment[:, None].expand_as(actions)], -1)
        rows = self.time_out(F.silu(self.time_in(both)))
        if self.state is not None:
            rows = torch.cat([self.state(state)[:, None], rows], 1)
        return rows, None

    def leave(self, rows: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """Return the velocity from noise to data, [B, rows, columns]."""
        rows, _ = self.norm(rows, condition)
        # LeRobot's time runs from 1 (noise) to 0, and its velocity against ours.
        return -self.action_out(rows[:, -self.shape.rows :])


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def moment_of(time: float, width: int, least: float, most: float) -> torch.Tensor:
    """Return sines and cosines [1, width] of a time, of periods from ``least`` to ``most``."""
    period = least * (most / least) ** np.linspace(0, 1, width // 2)
    angle = 2 * math.pi * time / period
    return torch.from_numpy(np.concatenate([np.sin(angle), np.cos(angle)])[None]).float()
