# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train MoLE's router (arXiv 2503.20384) and updates of the decoder, for a prefix policy.

As in ``mole``, but a layer that is not picked still gives keys and values, of the rows that pass
by. What is distilled are keys and values of all layers, by squared error alone, since they are no
distribution, and the velocities of the expert in place of demonstrated actions.
"""

import copy

import torch
from torch.nn import functional as F

from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.reasoning.depth.mole import LayerRouter, balance, picked
from efficient_vla.training.prefix import (
    Pairs,
    PrefixFeatures,
    PrefixFrozen,
    PrefixRecipe,
    PrefixSamples,
)
from efficient_vla.training.recipes.mole import BALANCE, COGNITION, RANK, SHARE

LEAST = 3
"""Layers that are picked at least: the first, the last, and one between."""


class PrefixMoleRecipe(PrefixRecipe):
    """Router and updates."""

    def __init__(self, frozen: PrefixFrozen, features: PrefixFeatures, rank: int) -> None:
        """Make a router, and updates of at most two ranks, none where ``rank`` is 0."""
        self.frozen = frozen
        depth = len(frozen.trunk.parts.layers)
        self.count = max(LEAST, round(SHARE * depth))
        self.shape = {'layers': depth, 'width': frozen.trunk.token_width}
        frozen.teacher = Decoder(copy.deepcopy(frozen.trunk.decoder), both_ways=True)
        router = LayerRouter(**self.shape)
        self.train_with_updates({'module': router}, min(rank, RANK))
        self.module = router

    def group_losses(
        self, group: PrefixSamples, step: int, progress: float
    ) -> dict[str, torch.Tensor]:
        """Return the errors of velocities, keys and values, and the spread over the layers."""
        pairs, _ = self.frozen.dense(group.sequence)
        scores = self._scores(group)
        noise = torch.empty_like(scores).exponential_().log()
        made, chosen = self._walk(group, scores - (1 - progress) * noise)
        given = group.state, group.path[:, step], step / self.frozen.steps
        velocity = self.frozen.velocity(made, group.length, *given)
        return {
            'velocity': F.mse_loss(velocity, group.velocity(step)),
            'cognition': COGNITION * apart(made, pairs),
            'balance': BALANCE * balance(scores, chosen),
        }

    def group_measures(self, group: PrefixSamples) -> dict[str, float]:
        """Return the errors of keys, values and chunks as routed, and by each inner layer alone."""
        pairs, _ = self.frozen.dense(group.sequence)
        made, chosen = self._walk(group, self._scores(group))
        found = {'cognition': float(apart(made, pairs)), 'chunk': self.chunk_error(group, made)}
        ran = chosen.float().mean(0).tolist()
        for layer in range(1, len(ran) - 1):
            alone = torch.zeros_like(chosen, dtype=torch.float32)
            alone[:, layer] = 1.0
            made, _ = self._walk(group, alone)
            found[f'layer_{layer}'] = ran[layer]
            found[f'chunk_first_{layer}'] = self.chunk_error(group, made)
        return found

    def _scores(self, group: PrefixSamples) -> torch.Tensor:
        """Return what the router gives the layers, [B, layers]."""
        text = group.words.expand(len(group), -1, -1)
        mask = torch.ones(text.shape[:2], dtype=torch.bool, device=text.device)
        found: torch.Tensor = self.module(group.visual, text, mask)
        return found

    def _walk(self, group: PrefixSamples, scores: torch.Tensor) -> tuple[Pairs, torch.Tensor]:
        """Return keys and values of all layers, and which ran, bool [B, layers]."""
        parts, sequence = self.frozen.trunk.parts, group.sequence
        chosen, soft = picked(scores, self.count), scores.softmax(-1)
        gates = 1.0 + soft - soft.detach()
        hidden = sequence.embeddings
        rotary, pairs = parts.rotary(hidden, sequence.positions), []
        for index, layer in enumerate(parts.layers):
            turn = rotary[parts.kind(index)]
            pairs.append(layer.keys_values(hidden, *turn))
            mine = chosen[:, index].nonzero()[:, 0]
            if index not in parts.left.whole or not len(mine):
                continue
            before = hidden[mine]
            after = parts.step(layer, before, sequence.mask, turn)
            gate = gates[mine, index, None, None]
            hidden = hidden.index_copy(0, mine, gate * after + (1 - gate) * before)
        return pairs, chosen


def apart(made: Pairs, wanted: Pairs) -> torch.Tensor:
    """Return half the squared error of keys and values, in units of their variance."""
    both = [
        F.mse_loss(own, dense) / dense.var()
        for one, other in zip(made, wanted, strict=True)
        for own, dense in zip(one, other, strict=True)
    ]
    return 0.5 * torch.stack(both).mean()
