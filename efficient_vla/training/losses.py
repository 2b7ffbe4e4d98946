# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What plans and chunks are judged by."""

import torch
from torch.nn import functional

from efficient_vla.checkpoint import Card
from efficient_vla.training.features import Samples
from efficient_vla.training.frozen import Frozen

PATH_WEIGHT = 0.1
"""Weight of the error of the cumulated displacement, beside that of each row."""
LATENT_WEIGHT = 0.3
DUAL_SAMPLES = 8
"""Samples of a training batch that pass the fast policy, whose image encoder costs most; its plan
is held to the dense one in all of them."""


def action_loss(
    predicted: torch.Tensor, target: torch.Tensor, fit: torch.Tensor, moves: int = 3
) -> torch.Tensor:
    """Return the L1 error of rows and of the path they add up to, [B, H, A] normalised.

    The first ``moves`` columns are displacements. Where the sentence does not fit the scene, the
    target is to hold still.
    """
    target = target * fit[:, None, None]
    rows = functional.smooth_l1_loss(predicted, target, beta=0.05)
    if not moves:
        return rows
    path = functional.smooth_l1_loss(
        predicted[..., :moves].cumsum(1), target[..., :moves].cumsum(1), beta=0.5
    )
    return rows + PATH_WEIGHT * path


def cognition(latents: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return how far a student's plan [B, Q, D] is from the teacher's (MoLE, arXiv 2503.20384).

    Half the squared error, in units of the teacher's variance over the batch, and half the reverse
    Kullback-Leibler divergence over D; without the masks of the paper.
    """
    spread = teacher.var(0).mean()
    student, taught = (part.log_softmax(-1) for part in (latents, teacher))
    reverse = functional.kl_div(taught, student, log_target=True, reduction='none').sum(-1).mean()
    return 0.5 * (functional.mse_loss(latents, teacher) / spread + reverse)


def displacements(card: Card) -> int:
    """Return how many of the first columns of a chunk are displacements."""
    return 3 if card.control_mode.endswith('DELTA') else 0


def plan_losses(
    frozen: Frozen, latents: torch.Tensor, samples: Samples, dual: int = DUAL_SAMPLES
) -> dict[str, torch.Tensor]:
    """Return how far a plan [B, Q, D] is from the dense one and from the demonstrated actions.

    ``latents`` is the squared error in units of the dense plan's variance over the batch; the
    others are the losses of the two frozen heads, that of the fast one over ``dual`` samples.
    """
    latents = latents.float()
    spread = samples.latents.var(0).mean() if len(latents) > 1 else samples.latents.var()
    single = frozen.single(latents, samples.state)
    fast = frozen.dual(latents[:dual], samples.fast_pixels[:dual], samples.fast_state[:dual])
    return {
        'latents': LATENT_WEIGHT * functional.mse_loss(latents, samples.latents) / spread,
        'single': action_loss(single.float(), samples.chunk, samples.fit),
        'dual': action_loss(fast.float(), samples.fast_chunk[:dual], samples.fit[:dual]),
    }


def plan_measures(frozen: Frozen, latents: torch.Tensor, samples: Samples) -> dict[str, float]:
    """Return the losses of a plan beside those of the dense plan, as numbers."""
    count = len(latents)
    losses = plan_losses(frozen, latents, samples, count)
    found = {name: loss.item() for name, loss in losses.items()}
    dense = plan_losses(frozen, samples.latents, samples, count)
    return {
        'latents': found['latents'] / LATENT_WEIGHT,
        'single': found['single'],
        'dual': found['dual'],
        'dense_single': dense['single'].item(),
        'dense_dual': dense['dual'].item(),
    }
