# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""DeeR's exits (arXiv 2411.02359) for a prefix whose keys and values an action expert attends to.

Where the pass ends, the next layer makes its keys and values of the hidden rows there, as it would
anyway, and each one above of the rows that a small map of its own makes of them, so that the expert
has all of its layers. What is compared from exit to exit is the mean of the rows that are executed,
as a small head reads it from the hidden rows; the first exit is compared with what it reads from
the rows that enter the layer before.

Not as in ``early_exit``, the action of an exit is not that of the policy's own head: one step of
the expert costs as much as the whole prefix.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.reasoning.depth.early_exit import CostedExits, ExitPilot, ExitRoute
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.settings import InvalidSettingError

HEAD = 32
"""Width of the layer of a head."""


class RowMap(nn.Module):
    """Hidden rows at an exit -> what would enter a layer above; it starts as the identity."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.down, self.mix = nn.Linear(width, rank), nn.Linear(rank, width)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map hidden rows [B, n, D]."""
        return hidden + self.mix(F.gelu(self.down(self.norm(hidden))))


class RowHead(nn.Module):
    """Hidden rows -> the mean action; reads their maximum and the last, which sees all others."""

    def __init__(self, width: int, numbers: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.read, self.say = nn.Linear(2 * width, HEAD), nn.Linear(HEAD, numbers)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map hidden rows [B, n, D] to [B, numbers]."""
        normed = self.norm(hidden)
        both = torch.cat([normed.amax(1), normed[:, -1]], -1)
        said: torch.Tensor = self.say(F.gelu(self.read(both)))
        return said


class PrefixExits(CostedExits):
    """The exits of a prefix."""

    def __init__(
        self,
        layers: Sequence[int],
        depth: int,
        width: int,
        rank: int,
        numbers: int,
        frames: int,
        costs: Sequence[float],
    ) -> None:
        """Make exits of a prefix of ``depth`` layers, the last for keys and values alone.

        ``numbers`` is how many an action has; the others are as in ``CostedExits``.
        """
        super().__init__(layers, frames, costs)
        if not 0 < min(layers) <= max(layers) < depth - 1:
            raise ValueError(f'layers are {layers}; expected some of 1 to {depth - 2}')
        self.depth = depth
        self.maps = nn.ModuleList(
            nn.ModuleList(RowMap(width, rank) for _ in range(layer + 1, depth)) for layer in layers
        )
        self.heads = nn.ModuleList(RowHead(width, numbers) for _ in layers)

    def forward(self, exit_: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return the mean action [B, numbers] by hidden rows [B, n, D] at an exit."""
        found: torch.Tensor = self.heads[exit_](hidden.float())
        return found

    def entering(self, exit_: int, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return what a layer behind an exit makes its keys and values of, [B, n, D]."""
        above = layer - self.layers[exit_]
        if not above:
            return hidden
        return self.maps[exit_][above - 1](hidden.float()).to(hidden)  # type: ignore[index]


class PrefixExitRoute(ExitRoute):
    """One pass through a prefix with exits; the layers behind the end give keys and values."""

    _exits: PrefixExits
    _exit = 0

    def leaves(self, layer: int, hidden: torch.Tensor) -> bool:
        """Return whether the layers after this one do not run."""
        return layer < self._depth and super().leaves(layer, hidden)

    def entering(self, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the exit gives a layer behind it, [B, n, D]."""
        return self._exits.entering(self._exit, layer, hidden)

    def left(self, layers: Layers) -> Layers:
        """Return the layers of which those before the first exit are whole."""
        return layers.only(range(self._exits.layers[0]))

    def _end(self, exit_: int, latents: torch.Tensor) -> bool:
        self._exit, self.cost = exit_, self._exits.costs[exit_]
        self.skipped = frozenset(range(self.layers, self._exits.depth))
        return True


def prefix_pilot(exits: PrefixExits, left: Layers) -> ExitPilot:
    """Return who leaves a prefix with the layers ``left`` at these exits.

    Raises ``InvalidSettingError`` for exits of another prefix.
    """
    if exits.depth != left.depth:
        raise InvalidSettingError(
            f'depth.method early_exit has exits of a decoder of {exits.depth} layers; this one has '
            f'{left.depth}. Train them again: efficient-vla train --method early_exit --install.'
        )
    running = Layers(left.whole, left.whole, left.depth - 1)
    return ExitPilot(exits, lambda action, state: action[0], running, PrefixExitRoute)
