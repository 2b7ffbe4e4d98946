# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Flow matching (arXiv 2210.02747): noise is carried to a chunk along a learned velocity.

Time runs from 0 (noise) to 1 (data) and steps are Euler's. The network knows how far a step goes:
span 0 asks for the velocity at an instant, span 1 / n for the mean velocity over one of n equal
steps, learned from many small ones (shortcut models, arXiv 2410.12557; SnapFlow does the same for a
VLA with two-step targets), so that one step can do what ten do.
"""

import torch

from efficient_vla.action.euler import Velocity, follow, follow_adaptively
from efficient_vla.action.guidance import Guidance, soft_mask
from efficient_vla.action.heads import Given, HeadSource, Made
from efficient_vla.action.heads.denoiser import DenoisingGenerator, DenoisingHead
from efficient_vla.action.settings import STEPS, ActorSettings
from efficient_vla.types import HeadHelp

MAX_PREFIX = 32
"""Most first rows that training gave clean: 0.4 s of 12.5 ms, the longest delay to be bridged."""


class FlowHead(DenoisingHead):
    """Features of a plan [B, F] and noise [B, H, A] -> normalised chunk [B, H, A]."""

    def velocity(
        self,
        x: torch.Tensor,
        time: float,
        condition: torch.Tensor,
        clean: int = 0,
        span: float = 0.0,
        branches: list[torch.Tensor] | None = None,
        whole: bool = True,
    ) -> torch.Tensor:
        """Return the velocity of a noisy chunk whose first ``clean`` rows are data.

        ``branches`` are those of the network; without ``whole`` they are taken from there.
        """
        times = x.new_full(x.shape[:2], time)
        times[:, :clean] = 1.0
        spans = x.new_full(x.shape[:1], span)
        return self.network(x, times, spans, condition, branches, not whole)

    def sample(
        self,
        features: torch.Tensor,
        noise: torch.Tensor,
        steps: int,
        shortcut: bool = False,
        prefix: torch.Tensor | None = None,
        guidance: Guidance | None = None,
        cache_every: int = 1,
    ) -> tuple[torch.Tensor, int]:
        """Return the chunk that ``noise`` [B, H, A] leads to in equal steps, and whole passes.

        ``shortcut`` asks for the mean velocity of each step. ``prefix`` [B, P, A] are first rows in
        the policy's units that are certain: they stay as they are (training-time RTC).
        """
        x, clean = self._start(noise, prefix)
        path = self._path(features, clean, 1.0 / steps if shortcut else 0.0, cache_every)
        x, passes = follow(path, x, steps, clean, guidance, cache_every)
        return self.outer(x), passes

    def sample_adaptive(
        self,
        features: torch.Tensor,
        noise: torch.Tensor,
        fewest: int,
        most: int,
        prefix: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, int]:
        """Return the chunk and how many passes it took, by how straight the way is."""
        x, clean = self._start(noise, prefix)
        path = self._path(features, clean, 0.0, 1)
        x, passes = follow_adaptively(path, x, fewest, most, clean)
        return self.outer(x), passes

    def _path(self, features: torch.Tensor, clean: int, span: float, cache_every: int) -> Velocity:
        """Return the velocity along the way of one chunk."""
        condition = self.network.condition(features)
        branches: list[torch.Tensor] | None = [] if cache_every > 1 else None

        def velocity(x: torch.Tensor, time: float, whole: bool = True) -> torch.Tensor:
            return self.velocity(x, time, condition, clean, span, branches, whole)

        return velocity

    def _start(self, noise: torch.Tensor, prefix: torch.Tensor | None) -> tuple[torch.Tensor, int]:
        x = noise.clone()
        if prefix is None:
            return x, 0
        x[:, : prefix.shape[1]] = self.inner(prefix)
        return x, prefix.shape[1]


class Flow(DenoisingGenerator):
    """The head flow, free, or guided by the chunk before."""

    helps = frozenset({HeadHelp.INPAINT, HeadHelp.PREFIX})
    head: FlowHead

    def make(self, given: Given) -> Made:
        """Return the chunk that the next noise leads to."""
        flow = self.settings.flow
        features, noise = self.start(given)
        if given.help == HeadHelp.INPAINT and given.before is not None:
            return self._guided(features, noise, given, given.before)
        prefix, delay = None, 0
        if given.help == HeadHelp.PREFIX and given.before is not None:
            delay = min(given.delay, len(given.before), MAX_PREFIX)
            prefix = given.before[None, :delay] if delay else None
        if flow.adaptive:
            chunk, steps = self.head.sample_adaptive(
                features, noise, flow.min_steps, flow.max_steps, prefix
            )
            return Made(chunk[0], steps, delay)
        chunk, steps = self.head.sample(
            features,
            noise,
            flow.steps or STEPS,
            flow.shortcut,
            prefix,
            cache_every=flow.cache_every,
        )
        return Made(chunk[0], steps, delay)

    def _guided(
        self, features: torch.Tensor, noise: torch.Tensor, given: Given, before: torch.Tensor
    ) -> Made:
        """Return the chunk drawn to the rows ``before`` [P, A] (RTC).

        For another instruction only the rows that will be executed anyway count.
        """
        guidance = self.settings.guidance
        horizon, known = len(noise[0]), len(before)
        delay = min(given.delay, known)
        pulling = min(known, max(guidance.execution_horizon, delay))
        schedule = guidance.schedule if given.same_task else 'hard'
        target = noise.new_zeros(noise.shape)
        target[0, :known] = self.head.inner(before)
        with torch.inference_mode(False), torch.no_grad():
            # What a backward pass reads must not have been made in inference mode.
            drawn = Guidance(
                target.clone(),
                soft_mask(horizon, delay, pulling, schedule).to(noise.device),
                guidance.max_weight,
            )
            chunk, steps = self.head.sample(
                features.clone(), noise.clone(), guidance.steps, guidance=drawn
            )
        return Made(chunk[0], steps, delay)


def load(source: HeadSource, settings: ActorSettings) -> Flow:
    """Return the head of the add-on ``flow``."""
    return Flow(source.single(), source.addon('flow').module(FlowHead), settings)
