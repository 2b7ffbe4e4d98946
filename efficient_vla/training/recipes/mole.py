# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train MoLE's router and what the decoder has to learn for it (arXiv 2503.20384).

Half of the layers run, the first and the last among them. A layer's gate is hard forwards and has
the gradient of a softmax of the scores, with Gumbel noise. The teacher is the policy itself with
all layers, its plan what the paper's cognition token is: squared error and reverse Kullback-Leibler
divergence pull the student's plan to it, without the paper's masks. Low-rank updates of the decoder
learn beside the router; they are not added where all layers run. Most batches show the decoder a
random part of the visual tokens.
"""

import torch
from torch.nn import functional as F

from efficient_vla.errors import UsageError
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.depth.mole import LayerRouter, balance, picked
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import action_loss, cognition
from efficient_vla.training.recipes.recipe import Recipe, shown_part

SHARE = 0.5
"""Share of the layers that run while the router is trained."""
RANK = 2
"""Largest rank of the updates, so that the add-on stays small."""
COGNITION, BALANCE = 0.5, 0.1
"""Weights of the distillation and of the spread over the layers, as in the paper."""


class MoleRecipe(Recipe):
    """Router and updates."""

    bare = True

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Make a router, and updates of at most two ranks, none where ``rank`` is 0."""
        super().__init__(frozen)
        parts = frozen.trunk.parts
        if any(parts.window(kind) for kind in parts.kinds):
            raise UsageError(
                'the decoder has layers that see a window; expected one that sees everything '
                'before. Choose another method or policy.'
            )
        self.depth = len(frozen.trunk.parts.layers)
        self.count = max(2, round(SHARE * self.depth))
        self.shape = {'layers': self.depth, 'width': frozen.width}
        router = LayerRouter(**self.shape)
        self.train_with_updates({'module': router}, min(rank, RANK))
        self.module = router

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of the plan of the layers that are picked, and their spread."""
        shown = shown_part(samples.tokens.shape[1])
        latents, scores, chosen = self._plan(samples, shown, noise=1 - progress)
        chunk = self.frozen.single(latents, samples.state)
        return {
            'single': action_loss(chunk.float(), samples.chunk, samples.fit),
            'cognition': COGNITION * cognition(latents, samples.latents),
            'balance': BALANCE * balance(scores, chosen),
        }

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses beside those of all layers, and which layers ran how often."""
        every = torch.arange(samples.tokens.shape[1])
        latents, _, chosen = self._plan(samples, every, noise=0.0)
        spread = samples.latents.var(0).mean()
        loss = {
            name: action_loss(self.frozen.single(plan, samples.state), samples.chunk, samples.fit)
            for name, plan in (('single', latents), ('dense_single', samples.latents))
        }
        found = {name: value.item() for name, value in loss.items()}
        found['latents'] = (F.mse_loss(latents, samples.latents) / spread).item()
        ran = chosen.float().mean(0)
        return found | {f'layer_{layer}': share for layer, share in enumerate(ran.tolist())}

    def _plan(
        self, samples: Samples, shown: torch.Tensor, noise: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the plan [B, Q, D], the scores of the layers, and which ran, [B, layers] each.

        The router sees all visual tokens, the decoder those that are ``shown``, int64 [n].
        """
        trunk, shown = self.frozen.trunk, shown.to(self.frozen.device)
        places = shown.expand(len(samples.tokens), -1)
        sequence = trunk.sequence(
            samples.tokens[:, shown], places, samples.text, samples.text_mask, self.frozen.tokens
        )
        words = trunk.parts.embed(samples.text)
        scores = self.module(samples.tokens, words, samples.text_mask)
        noisy = scores
        if noise:
            noisy = scores - noise * torch.empty_like(scores).exponential_().log()
        chosen = picked(noisy, self.count)
        soft = noisy.softmax(-1)
        gates = 1.0 + soft - soft.detach()
        hidden = self._walk(sequence, chosen, gates)
        return hidden[:, -len(trunk.queries) :].float(), scores, chosen

    def _walk(
        self, sequence: runner.Sequence, chosen: torch.Tensor, gates: torch.Tensor
    ) -> torch.Tensor:
        """Return the last hidden states; a sample passes a layer where it is chosen."""
        parts, hidden = self.frozen.trunk.parts, sequence.embeddings
        rotary = parts.rotary(hidden, sequence.positions)
        for index, layer in enumerate(parts.layers):
            mine = chosen[:, index].nonzero()[:, 0]
            if not len(mine):
                continue
            turned = tuple(part[mine] for part in rotary[parts.kind(index)])
            before = hidden[mine]
            after = parts.step(layer, before, sequence.mask[mine], turned)
            gate = gates[mine, index, None, None]
            hidden = hidden.index_copy(0, mine, gate * after + (1 - gate) * before)
        return parts.norm(hidden)
