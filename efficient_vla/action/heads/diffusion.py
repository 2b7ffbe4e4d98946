# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Diffusion with DDIM steps (arXiv 2010.02502), and features kept across steps.

Signal and noise are mixed as sin and cos of one angle (the cosine schedule of arXiv 2102.09672),
and the network gives the velocity a e - s x of the mixture (arXiv 2202.00512), which is well posed
at pure noise, where the noise itself says nothing about the chunk. EfficientVLA (arXiv 2506.10100,
section 3.4) recomputes attention and feed-forward features only every so many steps.
"""

import math

import torch

from efficient_vla.action.heads import Given, HeadSource, Made
from efficient_vla.action.heads.denoiser import DenoisingGenerator, DenoisingHead
from efficient_vla.action.settings import DDIM_STEPS, ActorSettings


class DiffusionHead(DenoisingHead):
    """Features of a plan [B, F] and noise [B, H, A] -> normalised chunk [B, H, A]."""

    def sample(
        self, features: torch.Tensor, noise: torch.Tensor, steps: int, cache_every: int = 1
    ) -> tuple[torch.Tensor, int]:
        """Return the chunk after ``steps`` DDIM steps, and how many passes were whole.

        Every ``cache_every``-th pass is whole, 1 for all; the others take the features of attention
        and networks from the last whole one.
        """
        condition = self.network.condition(features)
        branches: list[torch.Tensor] | None = [] if cache_every > 1 else None
        x, whole = noise, 0
        still = x.new_zeros(len(x))
        for step in range(steps):
            reuse = step % cache_every != 0
            whole += not reuse
            time = step / steps
            times = x.new_full(x.shape[:2], time)
            found = self.network(x, times, still, condition, branches, reuse)
            signal, spread = mixture(time)
            data = signal * x - spread * found
            rest = spread * x + signal * found
            signal, spread = mixture((step + 1) / steps)
            x = signal * data + spread * rest
        return self.outer(x), whole


def mixture(time: float) -> tuple[float, float]:
    """Return the shares of signal and noise at a time from 0 (noise) to 1 (data)."""
    angle = time * math.pi / 2
    return math.sin(angle), math.cos(angle)


class Diffusion(DenoisingGenerator):
    """The head diffusion."""

    head: DiffusionHead

    def make(self, given: Given) -> Made:
        """Return the chunk that the next noise leads to; ``steps`` counts whole passes."""
        settings = self.settings.diffusion
        steps = settings.steps or DDIM_STEPS
        chunk, passes = self.head.sample(*self.start(given), steps, settings.cache_every)
        return Made(chunk[0], passes)


def load(source: HeadSource, settings: ActorSettings) -> Diffusion:
    """Return the head of the add-on ``diffusion``."""
    return Diffusion(source.single(), source.addon('diffusion').module(DiffusionHead), settings)
