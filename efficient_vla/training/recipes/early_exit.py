# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train the exits of DeeR (arXiv 2411.02359) on the hidden states of the frozen decoder.

Each exit learns the dense plan and the demonstrated actions. The hidden states of the queries after
the layers in question are computed once, so that a step costs no pass of the decoder. Afterwards
the actions of all exits on held-out frames are compared, for the thresholds of a budget.
"""

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from efficient_vla.reasoning.depth.early_exit import Exits
from efficient_vla.reasoning.runner import Route
from efficient_vla.training.features import COMPUTE_BATCH, Features, Samples
from efficient_vla.training.frozen import Frozen, routed
from efficient_vla.training.losses import LATENT_WEIGHT, action_loss
from efficient_vla.training.recipes.recipe import Recipe

EVERY = 2
"""Layers from exit to exit."""
RANK = 32
CALIBRATION = 512
"""Frames whose changes are kept, some of them twice where there are fewer."""
BATCH = 128
FAR = 1e4
"""Change of an exit with no layer before it to be compared with."""


class Watch(Route):
    """A route that ends nowhere and keeps the queries' hidden states after some layers."""

    skipped: frozenset[int] = frozenset()

    def __init__(self, layers: set[int], queries: int) -> None:
        self._layers, self._queries = layers, queries
        self.seen: dict[int, torch.Tensor] = {}

    def leaves(self, layer: int, hidden: torch.Tensor) -> bool:
        """Keep the states after this layer, of hidden states [B, n, D]."""
        if layer + 1 in self._layers:
            self.seen[layer + 1] = hidden[:, -self._queries :]
        return False


class ExitRecipe(Recipe):
    """The exits alone."""

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Make an exit after every second layer, which starts as the last norm of the decoder.

        ``rank`` is not used, the decoder stays as it is.
        """
        super().__init__(frozen)
        self.features = features
        depth = len(frozen.trunk.parts.layers)
        self.layers = tuple(range(EVERY, depth, EVERY)) or (1,)
        self.queries = len(frozen.trunk.queries)
        self.shape = {
            'layers': list(self.layers),
            'queries': self.queries,
            'width': frozen.width,
            'rank': RANK,
            'frames': CALIBRATION,
            'costs': self._costs(features),
        }
        self.trained = Exits(**self.shape).to(frozen.device)
        self._states = self._hidden(features)
        with torch.no_grad():
            for head in self.trained.heads:
                nn.init.zeros_(head.mix.weight)
                nn.init.zeros_(head.mix.bias)
                head.norm.weight.copy_(frozen.trunk.parts.norm_weight)

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of plans drawn from all that were made, in place of ``samples``."""
        chosen = torch.randint(len(self.features), (BATCH,)).numpy()
        plans = self.features.plans(chosen)
        spread = plans.latents.var(0).mean()
        latent = action = torch.zeros((), device=self.frozen.device)
        for place, layer in enumerate(self.layers):
            found = self.trained(place, self._states[layer][chosen])
            latent = latent + nn.functional.mse_loss(found, plans.latents) / spread
            chunk = self.frozen.single(found, plans.state)
            action = action + action_loss(chunk, plans.chunk, plans.fit)
        count = len(self.layers)
        return {'latents': LATENT_WEIGHT * latent / count, 'single': action / count}

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses of each exit beside those of the dense plan."""
        seen = self._watch(samples.tokens, samples.text, samples.text_mask)
        spread = samples.latents.var(0).mean()
        dense = self.frozen.single(samples.latents, samples.state)
        measured = {'dense_single': action_loss(dense, samples.chunk, samples.fit).item()}
        for place, layer in enumerate(self.layers):
            found = self.trained(place, seen[layer])
            chunk = self.frozen.single(found, samples.state)
            error = nn.functional.mse_loss(found, samples.latents) / spread
            measured[f'exit_{layer}_latents'] = error.item()
            loss = action_loss(chunk, samples.chunk, samples.fit)
            measured[f'exit_{layer}_single'] = loss.item()
        return measured

    def finish(self, features: Features) -> None:
        """Compare the actions of the exits on frames whose sentence fits."""
        states = self._states if features is self.features else self._hidden(features)
        chosen = np.flatnonzero(features.fit)
        chosen = np.resize(np.random.default_rng(0).permutation(chosen), CALIBRATION)
        state = features.plans(chosen).state
        moving = [n for n, name in enumerate(self.frozen.card.action_names) if name != 'gripper']
        first = self.layers[0]
        with torch.inference_mode():
            before = None
            changes = torch.zeros(CALIBRATION, len(self.layers))
            for place, layer in enumerate((first - 1, *self.layers), -1):
                if layer == 0:
                    changes[:, 0] = FAR
                    continue
                found = self.trained(max(place, 0), states[layer][chosen])
                action = self.frozen.single(found, state)[..., moving].flatten(1)
                if before is not None:
                    changes[:, place] = (action - before).norm(dim=1).cpu()
                before = action
        self.trained.changes.copy_(changes)

    def _watch(
        self, tokens: torch.Tensor, text: torch.Tensor, mask: torch.Tensor
    ) -> dict[int, torch.Tensor]:
        """Return the queries' hidden states [B, Q, D] by the layers that ran."""
        watch = Watch({*self.layers, self.layers[0] - 1}, self.queries)
        with torch.no_grad(), routed(self.frozen.trunk, watch):
            self.frozen.dense_plan(tokens, text, mask)
        return watch.seen

    def _hidden(self, features: Features) -> dict[int, torch.Tensor]:
        """Return the same of all frames, [F, Q, D] in float16."""
        parts: dict[int, list[torch.Tensor]] = {}
        places = np.arange(len(features))
        for part in np.array_split(places, -(-len(places) // COMPUTE_BATCH)):
            text, mask = self.frozen.text([features.sentences[place] for place in part])
            tokens = features.tokens[part].to(self.frozen.device).float()
            for layer, seen in self._watch(tokens, text, mask).items():
                parts.setdefault(layer, []).append(seen.half())
        return {layer: torch.cat(found) for layer, found in parts.items()}

    def _costs(self, features: Features) -> list[float]:
        """Return the FLOPs of a pass that ends at each exit, and of one that ends at none."""
        layers = self.frozen.trunk.parts.layers
        text, mask = self.frozen.text(features.sentences[:1])
        tokens = features.tokens[:1].to(self.frozen.device).float()
        exit_ = Exits((1,), self.queries, self.frozen.width, RANK, 1, (1.0, 1.0))
        exit_.to(self.frozen.device)
        with torch.no_grad():
            with FlopCounterMode(display=False) as whole:
                latents = self.frozen.dense_plan(tokens, text, mask)
            with FlopCounterMode(display=False) as head:
                exit_(0, latents)
                self.frozen.single(latents, features.plans(np.arange(1)).state)
        share = head.get_total_flops() / whole.get_total_flops()
        # The first exit is compared with what it makes of the layer before.
        judged = [place + 2 for place in range(len(self.layers))]
        early = [
            layer / len(layers) + count * share
            for layer, count in zip(self.layers, judged, strict=True)
        ]
        return [*early, 1 + judged[-1] * share]
