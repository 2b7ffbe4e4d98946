# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train heads beside the regression head: ``flow`` and ``diffusion``.

They read what the regression head of ``single`` makes of plan and state before its last layer, so
the add-ons are small and no plan is learned anew; visual tokens are not needed.
"""

import math

import torch
from torch.nn import functional

from efficient_vla.action.heads.denoiser import DenoisingHead
from efficient_vla.action.heads.diffusion import DiffusionHead
from efficient_vla.action.heads.flow import MAX_PREFIX, FlowHead
from efficient_vla.action.settings import SHORTCUTS
from efficient_vla.training.features import PLAN_NOISE, Features, Plans, noisy
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import action_loss
from efficient_vla.training.recipes.recipe import Recipe

PREFIX_SHARE = 0.5
PREFIX_SPEEDS = (0.3, 1.5)
"""Range of factors by which given rows are faster or slower than demonstrated."""
PREFIX_SPREAD = 0.7
"""Largest spread of a velocity that is added to given rows, in spreads of the actions."""
PREFIX_LIMIT = 5.0
"""Largest change of a given row, in spreads: an axis that hardly moves is hardly changed."""
RETURN_ROWS = 24
"""Rows after the given ones in which the way back to the demonstrated path is spread out."""
SHORTCUT_FROM = 0.5
"""Progress after which shortcuts are learned; before it there is nothing worth imitating."""
SHORTCUT_SHARE = 0.25
FINE_STEPS = 10
"""Steps that a shortcut over the whole way replaces."""
MEASURED_STEPS = (1, 10)


class HeadRecipe(Recipe):
    """What training of all heads shares."""

    def __init__(self, frozen: Frozen, features: Features) -> None:
        super().__init__(frozen)
        card = frozen.card
        self.features = frozen.single.width
        self.horizon, self.actions = card.horizon, len(card.action_names)
        self.chunks = frozen.targets(features.data.chunk[features.frames])

    def condition(self, plans: Plans, noise: float = PLAN_NOISE) -> torch.Tensor:
        """Return the features [B, F] of plans that are a little off."""
        with torch.no_grad():
            return self.frozen.single.features(noisy(plans.latents, noise), plans.state).float()

    def action_losses(self, found: dict[str, torch.Tensor], plans: Plans) -> dict[str, float]:
        """Return the action losses of chunks for the same plans, and of the regression head's."""
        found = found | {'regression': self.frozen.single(plans.latents, plans.state)}
        return {
            name: action_loss(chunk.float(), plans.chunk, plans.fit).item()
            for name, chunk in found.items()
        }


class DenoisingRecipe(HeadRecipe):
    """A denoiser in the units of the chunks."""

    kind: type[DenoisingHead]
    trained: DenoisingHead

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Make the head; no weight of the decoder is updated, so ``rank`` says nothing."""
        super().__init__(frozen, features)
        self.shape = {
            'features': self.features,
            'horizon': self.horizon,
            'actions': self.actions,
        }
        self.trained = self.kind(**self.shape)
        self.trained.mean.copy_(self.chunks.mean((0, 1)))
        self.trained.std.copy_(self.chunks.std((0, 1)).clamp(min=1e-3))
        self.trained.to(frozen.device)


class FlowRecipe(DenoisingRecipe):
    """Flow matching with first rows given, then shortcuts beside it."""

    kind = FlowHead
    trained: FlowHead

    def losses(self, plans: Plans, progress: float) -> dict[str, torch.Tensor]:
        """Return the error of velocities, and later that of shortcuts."""
        features = self.condition(plans)
        # Stillness that was given could mean nothing but more of it.
        clean = self._clean(len(plans.chunk), PREFIX_SHARE) & plans.fit[:, None]
        chunk = self.trained.inner(disturbed(plans.target, clean, self.trained.std))
        if progress < SHORTCUT_FROM:
            return {'flow': self._flow(features, chunk, clean)}
        cut = max(1, round(SHORTCUT_SHARE * len(chunk)))
        losses = {'flow': self._flow(features[cut:], chunk[cut:], clean[cut:])}
        losses['shortcut'] = self._shortcut(features[:cut], chunk[:cut], clean[:cut])
        return losses

    def measures(self, plans: Plans) -> dict[str, float]:
        """Return the action losses of one step, of ten and of the regression head."""
        features = self.condition(plans, 0.0)
        noise = torch.randn_like(plans.chunk)
        head = self.trained
        found = {
            f'steps_{steps}': head.sample(features, noise, steps)[0] for steps in MEASURED_STEPS
        }
        found['shortcut'] = head.sample(features, noise, 1, shortcut=True)[0]
        gap = (found['shortcut'] - found['steps_10']).abs().mean().item()
        return self.action_losses(found, plans) | {'shortcut_gap': gap}

    def _clean(self, count: int, share: float) -> torch.Tensor:
        """Return which rows are given, bool [B, H]."""
        device = self.frozen.device
        lengths = torch.randint(1, MAX_PREFIX + 1, (count,), device=device)
        lengths *= torch.rand(count, device=device) < share
        return torch.arange(self.horizon, device=device) < lengths[:, None]

    def _flow(
        self, features: torch.Tensor, chunk: torch.Tensor, clean: torch.Tensor
    ) -> torch.Tensor:
        noise = torch.randn_like(chunk)
        time = torch.rand(len(chunk), 1, device=chunk.device)
        times = torch.where(clean, 1.0, time)
        x = times[..., None] * chunk + (1 - times[..., None]) * noise
        network = self.trained.network
        still = torch.zeros(len(chunk), device=chunk.device)
        found = network(x, times, still, network.condition(features)).float()
        return _masked(found - (chunk - noise), ~clean)

    def _shortcut(
        self, features: torch.Tensor, chunk: torch.Tensor, clean: torch.Tensor
    ) -> torch.Tensor:
        """Return the error of long steps to what many short ones of the same network do.

        All samples of a batch take the same step: the i-th of n equal ones; the one that goes all
        the way counts most, since it is the one that is used most.
        """
        steps = SHORTCUTS[int(torch.multinomial(torch.tensor([0.6, 0.2, 0.2]), 1))]
        start = int(torch.randint(steps, ())) / steps
        network, given = self.trained.network, clean[..., None]
        noise = torch.randn_like(chunk)
        first = torch.where(given, chunk, start * chunk + (1 - start) * noise)
        still = torch.zeros(len(chunk), device=chunk.device)
        fine = FINE_STEPS // steps
        with torch.no_grad():
            x, condition = first, network.condition(features)
            for step in range(fine):
                times = torch.where(clean, 1.0, start + step / FINE_STEPS)
                found = network(x, times, still, condition).float()
                x = torch.where(given, x, x + found / FINE_STEPS)
            target = (x - first) * steps
        times = torch.where(clean, 1.0, torch.full_like(still, start)[:, None])
        found = network(first, times, still + 1 / steps, network.condition(features)).float()
        return _masked(found - target, ~clean)


class DiffusionRecipe(DenoisingRecipe):
    """Denoising at random times."""

    kind = DiffusionHead
    trained: DiffusionHead

    def losses(self, plans: Plans, progress: float) -> dict[str, torch.Tensor]:
        """Return the squared error of velocities."""
        features = self.condition(plans)
        chunk = self.trained.inner(plans.target)
        noise = torch.randn_like(chunk)
        time = torch.rand(len(chunk), device=chunk.device)
        angle = time[:, None, None] * (math.pi / 2)
        signal, spread = angle.sin(), angle.cos()
        network = self.trained.network
        found = network(
            signal * chunk + spread * noise,
            time[:, None].expand(chunk.shape[:2]),
            torch.zeros_like(time),
            network.condition(features),
        )
        return {'velocity': functional.mse_loss(found.float(), signal * noise - spread * chunk)}

    def measures(self, plans: Plans) -> dict[str, float]:
        """Return the action losses of few and of many steps, and of the regression head."""
        features = self.condition(plans, 0.0)
        noise = torch.randn_like(plans.chunk)
        found = {f'steps_{n}': self.trained.sample(features, noise, n)[0] for n in (2, 5, 10)}
        found['cached_10'] = self.trained.sample(features, noise, 10, 3)[0]
        return self.action_losses(found, plans)


def disturbed(chunk: torch.Tensor, given: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Return chunks [B, H, A] whose ``given`` rows, bool [B, H], went another way.

    Rows that are given to a head in use are those of an older chunk. Where training gives those of
    the demonstration, the head learns to go on like them instead of reading the plan, and repeats
    what it once did (copycat problem, arXiv 2010.14876). Here they say little of what
    follows: they are faster or slower and off by a velocity, and the rows after them lead back to
    the demonstrated path. The gripper stays as it is.
    """
    count, horizon, actions = chunk.shape
    slowest, fastest = PREFIX_SPEEDS
    factor = slowest + (fastest - slowest) * torch.rand(count, 1, 1, device=chunk.device)
    spread = PREFIX_SPREAD * torch.rand(count, 1, 1, device=chunk.device) * std
    velocity = spread * torch.randn(count, 1, actions, device=chunk.device)
    change = ((factor - 1) * chunk + velocity).clamp(-PREFIX_LIMIT * std, PREFIX_LIMIT * std)
    change = torch.where(given[..., None], change, 0.0)
    change[..., 3:] = 0.0  # the gripper
    length = given.sum(1, keepdim=True)
    rows = torch.arange(horizon, device=chunk.device)
    back = ((rows >= length) & (rows < length + RETURN_ROWS)).float()
    back /= back.sum(1, keepdim=True).clamp(min=1)
    return chunk + change - change.sum(1, keepdim=True) * back[..., None]


def _masked(error: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the mean square of the errors [B, H, A] of the rows that count."""
    return (error.square().mean(-1) * counted).sum() / counted.sum().clamp(min=1)
