# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train what steers the fast policy of architecture dual: condition, late eye, updates of its head.

Where the paper trains the slow system too, low-rank updates of the decoder are trained beside; the
early half of the eye stays. The fast frame is later than that of the plan by a lag, which each
recipe draws as its paper does. Losses are those of the policy; the papers' own, where they are more
than an error of the action, are known here from memory and left out.
"""

import random
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from efficient_vla.action.conditioning import (
    FAST,
    Steer,
    SteeredPolicy,
    Steering,
    keywords,
    steering_class,
)
from efficient_vla.assembly import space_of
from efficient_vla.checkpoint import TOKEN
from efficient_vla.training import lora
from efficient_vla.training.dataset import MAX_PLAN_AGE_S
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import action_loss, displacements
from efficient_vla.training.recipes.recipe import Recipe

HEAD_RANK = 16
"""Of the updates of the fast policy's head."""
DROPPED = 0.1
"""Share of the samples whose plan is dropped (RoboDual)."""
SLOW_SHARE = 0.4
"""Share of the steps in which the slow system learns alone, before it is frozen (RoboDual)."""
AUXILIARY = 0.2
"""Weight of what the token has to tell of the chunk (OpenHelix)."""


class DualRecipe(Recipe):
    """Learn the demonstrated chunk of a frame that is later than that of its plan."""

    name: str
    """``dual.conditioning``."""
    lag_s = 0.0
    """Longest time between the frame of the plan and that of the chunk [s]."""
    token = False
    frozen_trunk = False

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Start as the policy's own eye and head; ``rank`` is that of updates of the decoder."""
        super().__init__(frozen)
        self.sentences = sorted(set(features.sentences))
        width = frozen.width
        self.shape = keywords(frozen.dual, frozen.card.shape(width))
        self.module: Steering = steering_class(self.name)(**self.shape)
        self.module.begin_as(frozen.dual)
        head = lora.attach(frozen.dual.head, HEAD_RANK)
        parts: dict[str, nn.Module] = {'module': self.module, 'head': nn.ParameterList(head)}
        if self.token:
            frozen.trunk.added = nn.Parameter(frozen.trunk.queries[-1:].detach().clone())
            parts['token'] = nn.ParameterList([frozen.trunk.added])
        parts |= self.beside(width)
        self.train_with_updates(parts, 0 if self.frozen_trunk else rank)
        self.policy = SteeredPolicy(frozen.dual, self.module).to(frozen.device)
        # Its batch norms stay those of the policy.
        self.policy.early.requires_grad_(False)
        self.space = space_of(frozen.card)

    def beside(self, width: int) -> dict[str, nn.Module]:
        """Return what is trained beside and not kept."""
        return {}

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the loss of the fast chunk."""
        self.policy.early.eval()
        return {'dual': self.error(self.chunk(self.plan(samples), samples), samples)}

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the loss of held-out chunks, and that on plans for sentences drawn at random."""
        words = random.Random(0).choices(self.sentences, k=len(samples.latents))
        text, text_mask = self.frozen.text(words)
        other = replace(samples, text=text, text_mask=text_mask)
        return {
            'dual': self.error(self.chunk(self.plan(samples), samples), samples).item(),
            'dual_any_sentence': self.error(self.chunk(self.plan(other), samples), samples).item(),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return module, updates of decoder and head, and the token where there is one."""
        head = {FAST + name: tensor for name, tensor in lora.updates(self.frozen.dual.head)}
        token = {TOKEN: self.frozen.trunk.added} if self.token else {}
        return super().tensors() | head | token

    def plan(self, samples: Samples) -> torch.Tensor:
        """Return the plans [B, Q, D], or [B, Q + 1, D] with a token."""
        return self.frozen.dense_plan(samples.tokens, samples.text, samples.text_mask).float()

    def chunk(self, latents: torch.Tensor, samples: Samples) -> torch.Tensor:
        """Return the chunk of the fast frame, [B, H, A]."""
        found: torch.Tensor = self.policy(
            Steer(latents), samples.fast_pixels, samples.fast_state
        ).float()
        return found

    def error(self, chunk: torch.Tensor, samples: Samples) -> torch.Tensor:
        """Return the loss of a chunk beside the demonstrated one of the fast frame."""
        return action_loss(chunk, samples.fast_chunk, samples.fit, displacements(self.frozen.card))


class ActTokenRecipe(DualRecipe):
    """LCB: plan and chunk are of one frame, and decoder and policy learn together."""

    name, token = 'act_token', True


class MapPoolRecipe(DualRecipe):
    """HiRT: the same, with plans of a random age."""

    name, lag_s = 'map_pool', MAX_PLAN_AGE_S


class RoboDualRecipe(DualRecipe):
    """RoboDual: first the slow system alone, then the fast one on its plans and chunks."""

    name, lag_s = 'perceiver', MAX_PLAN_AGE_S

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the loss of the slow chunk, then that of the fast one."""
        self.policy.early.eval()
        if progress < SLOW_SHARE:
            slow = self.frozen.single(self.plan(samples), samples.state).float()
            moves = displacements(self.frozen.card)
            return {'slow': action_loss(slow, samples.chunk, samples.fit, moves)}
        with torch.no_grad():
            latents = self.plan(samples)
        kept = torch.rand(len(latents), device=latents.device) >= DROPPED
        return {'dual': self.error(self.chunk(latents, samples, kept), samples)}

    def chunk(
        self, latents: torch.Tensor, samples: Samples, kept: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the chunk of the fast frame, [B, H, A]; plans that are not ``kept`` are zeros."""
        with torch.no_grad():
            slow = self.frozen.single(latents, samples.state).float() + self._carried(samples)
        elapsed = samples.elapsed
        if kept is not None:
            latents = latents * kept[:, None, None]
            elapsed = torch.where(kept, elapsed, slow.shape[1])
        steer = Steer(latents, slow, elapsed)
        return self.policy(steer, samples.fast_pixels, samples.fast_state).float()

    def _carried(self, samples: Samples) -> torch.Tensor:
        """Return what makes rows of the slow frame count from the fast one, [B, 1, A]."""
        before, now = (samples.data.state[f].numpy() for f in (samples.frames, samples.later))
        still = np.zeros((1, len(self.space.names)), np.float32)
        rows = [self.space.carried(still, b, n) for b, n in zip(before, now, strict=True)]
        return torch.from_numpy(np.stack(rows)).to(self.frozen.device)


class PromptTuningRecipe(ActTokenRecipe):
    """OpenHelix: of the decoder the token alone learns, and has to tell where the chunk leads."""

    name, frozen_trunk = 'prompt_tuning', True

    def beside(self, width: int) -> dict[str, nn.Module]:
        """Return what reads pose and gripper from the token."""
        self.told = nn.Linear(width, len(self.frozen.card.action_names))
        return {'told': self.told}

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the loss of the chunk, and that of its end as the token tells it."""
        self.policy.early.eval()
        latents = self.plan(samples)
        told, moves = self.told(latents[:, -1]), displacements(self.frozen.card)
        end = samples.target[:, -1].clone()
        end[:, :moves] = samples.target[:, :, :moves].sum(1)
        return {
            'dual': self.error(self.chunk(latents, samples), samples),
            'told': AUXILIARY * functional.smooth_l1_loss(told, end),
        }
