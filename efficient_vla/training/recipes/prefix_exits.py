# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train the exits of DeeR (arXiv 2411.02359) for a prefix policy, which stays as it is.

The maps of an exit learn the rows that enter the layers above in a pass of all layers, and, through
the layers' own projections, the velocities of the expert there. The heads learn the mean of the
executed rows that one step of the expert leads to; that of the first exit also reads the rows
before its last layer. Afterwards the exits are compared on held-out frames, for thresholds.
"""

from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from efficient_vla.reasoning import runner
from efficient_vla.reasoning.depth.prefix_exits import PrefixExitRoute, PrefixExits
from efficient_vla.training.prefix import (
    COMPUTE_BATCH,
    Pairs,
    PrefixFeatures,
    PrefixFrozen,
    PrefixRecipe,
    PrefixSamples,
)
from efficient_vla.training.recipes.early_exit import CALIBRATION

MAP_RANK = 16
ROWS = 0.1
"""Weight of the error of the rows, in units of their variance."""


class PrefixExitRecipe(PrefixRecipe):
    """An exit after each layer but the last that attends."""

    def __init__(self, frozen: PrefixFrozen, features: PrefixFeatures, rank: int) -> None:
        """Make exits whose maps are the identity; ``rank`` is not used, the decoder stays."""
        self.frozen = frozen
        depth = len(frozen.trunk.parts.layers)
        self.layers = tuple(range(1, depth - 1))
        self.shape = {
            'layers': list(self.layers),
            'depth': depth,
            'width': frozen.trunk.token_width,
            'rank': MAP_RANK,
            'numbers': frozen.expert.shape.actions,
            'frames': CALIBRATION,
            'costs': list(range(1, depth)),
        }
        self.trained = PrefixExits(**self.shape).to(frozen.device)
        self.shape['costs'] = self._costs(features)

    def group_losses(
        self, group: PrefixSamples, step: int, progress: float
    ) -> dict[str, torch.Tensor]:
        """Return the errors of rows, velocities and mean actions, each a mean over the exits."""
        pairs, seen = self.frozen.dense(group.sequence)
        wanted, target = group.velocity(step), self._mean_action(group)
        rows = velocity = action = torch.zeros((), device=self.frozen.device)
        for exit_, layer in enumerate(self.layers):
            entering, made = self._above(exit_, seen[layer], group)
            for above, found in entering.items():
                rows = rows + F.mse_loss(found, seen[above]) / seen[above].var()
            given = group.state, group.path[:, step], step / self.frozen.steps
            both = pairs[: layer + 1] + made
            velocity = velocity + F.mse_loss(
                self.frozen.velocity(both, group.length, *given), wanted
            )
            levels = [seen[layer], seen[layer - 1]] if exit_ == 0 else [seen[layer]]
            for level in levels:
                action = action + F.mse_loss(self.trained(exit_, level), target)
        count = len(self.layers)
        return {'rows': ROWS * rows / count, 'velocity': velocity / count, 'action': action / count}

    def group_measures(self, group: PrefixSamples) -> dict[str, float]:
        """Return the errors of chunk and mean action of each exit, and of chunks without maps."""
        pairs, seen = self.frozen.dense(group.sequence)
        target, found = self._mean_action(group), {}
        for exit_, layer in enumerate(self.layers):
            for name, bare in (('chunk', False), ('chunk_without_maps', True)):
                _, made = self._above(exit_, seen[layer], group, bare)
                error = self.chunk_error(group, pairs[: layer + 1] + made)
                found[f'exit_{layer}_{name}'] = error
            error = F.mse_loss(self.trained(exit_, seen[layer]), target)
            found[f'exit_{layer}_action'] = float(error)
        return found | {'action_variance': float(target.var(0, unbiased=False).mean())}

    def finish(self, features: PrefixFeatures) -> None:
        """Compare the exits on frames."""
        places = np.resize(np.random.default_rng(0).permutation(len(features)), CALIBRATION)
        found = []
        with torch.inference_mode():
            for part in np.array_split(places, -(-CALIBRATION // COMPUTE_BATCH)):
                for group in features.groups(part):
                    _, seen = self.frozen.dense(group.sequence)
                    said = [self.trained(0, seen[self.layers[0] - 1])]
                    said += [self.trained(n, seen[layer]) for n, layer in enumerate(self.layers)]
                    changes = [(b - a).norm(dim=1) for a, b in pairwise(said)]
                    found.append(torch.stack(changes, 1))
        self.trained.changes.copy_(torch.cat(found))

    def _above(
        self, exit_: int, hidden: torch.Tensor, group: PrefixSamples, bare: bool = False
    ) -> tuple[dict[int, torch.Tensor], Pairs]:
        """Return the rows that an exit gives the layers above the next, and keys and values."""
        parts = self.frozen.trunk.parts
        rotary = parts.rotary(hidden, group.sequence.positions)
        entering, pairs = {}, []
        for layer in range(self.layers[exit_] + 1, len(parts.layers)):
            rows = hidden if bare else self.trained.entering(exit_, layer, hidden)
            entering[layer] = rows
            pairs.append(parts.layers[layer].keys_values(rows, *rotary[parts.kind(layer)]))
        return entering, pairs

    def _mean_action(self, group: PrefixSamples) -> torch.Tensor:
        """Return the mean [B, A] of the executed rows that one step leads to."""
        rows, columns = self.frozen.executed, self.frozen.expert.shape.actions
        chunk = group.path[:, 0] + group.velocity(0)
        return chunk[:, :rows, :columns].mean(1)

    def _costs(self, features: PrefixFeatures) -> list[float]:
        """Return the FLOPs of a pass that ends at each exit, and of one that ends at none."""
        (group,) = features.groups(np.arange(1))
        parts, count = self.frozen.trunk.parts, len(self.layers)

        def flops(route: PrefixExitRoute | None) -> int:
            with torch.no_grad(), FlopCounterMode(display=False) as counted:
                runner.run_keeping(parts, group.sequence, route=route)
            return counted.get_total_flops()

        whole = flops(None)
        ways = [(-1.0,) * exit_ + (1e9,) for exit_ in range(count)] + [(-1.0,) * count]
        depth = len(parts.layers) - 1
        return [
            flops(PrefixExitRoute(self.trained, way, lambda action: action[0], depth)) / whole
            for way in ways
        ]
