# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Flow matching (arXiv 2210.02747): noise is carried to a chunk along a learned velocity.

Time runs from 0 (noise) to 1 (data) and steps are Euler's. The network knows how far a step goes:
span 0 asks for the velocity at an instant, span 1 / n for the mean velocity over one of n equal
steps, learned from many small ones (shortcut models, arXiv 2410.12557; SnapFlow does the same for a
VLA with two-step targets), so that one step can do what ten do.
"""

import torch
from torch.nn import functional

from efficient_vla.action.guidance import Guidance, guided_velocity, soft_mask
from efficient_vla.action.heads import Given, HeadSource, Made
from efficient_vla.action.heads.denoiser import DenoisingGenerator, DenoisingHead
from efficient_vla.action.settings import ActorSettings
from efficient_vla.types import HeadHelp

MAX_PREFIX = 32
"""Most first rows that training gave clean: 0.4 s of 12.5 ms, the longest delay to be bridged."""
PROBE = 0.5
"""Time to which the first velocity is followed to see whether it still holds."""


class FlowHead(DenoisingHead):
    """Features of a plan [B, F] and noise [B, H, A] -> normalised chunk [B, H, A]."""

    def velocity(
        self,
        x: torch.Tensor,
        time: float,
        condition: torch.Tensor,
        clean: int = 0,
        span: float = 0.0,
    ) -> torch.Tensor:
        """Return the velocity of a noisy chunk whose first ``clean`` rows are data."""
        times = x.new_full(x.shape[:2], time)
        times[:, :clean] = 1.0
        return self.network(x, times, x.new_full(x.shape[:1], span), condition)

    def sample(
        self,
        features: torch.Tensor,
        noise: torch.Tensor,
        steps: int,
        shortcut: bool = False,
        prefix: torch.Tensor | None = None,
        guidance: Guidance | None = None,
    ) -> torch.Tensor:
        """Return the chunk that ``noise`` [B, H, A] leads to in ``steps`` equal steps.

        ``shortcut`` asks for the mean velocity of each step. ``prefix`` [B, P, A] are first rows in
        the policy's units that are certain: they stay as they are (training-time RTC).
        """
        condition = self.network.condition(features)
        span = 1.0 / steps if shortcut else 0.0
        x, clean = self._start(noise, prefix)
        for step in range(steps):
            x = self._step(x, step / steps, 1 / steps, condition, clean, span, guidance)
        return self.outer(x)

    def sample_adaptive(
        self,
        features: torch.Tensor,
        noise: torch.Tensor,
        fewest: int,
        most: int,
        prefix: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, int]:
        """Return the chunk and how many passes it took, by how straight the way is (ProbeFlow).

        The cosine between the velocity at the start and that at a probe half-way along it says
        how straight: 1 takes the fewest steps, 0 and less the most. ProbeFlow's own rule between
        the two is not public in detail; here the steps grow evenly with the angle.
        """
        condition = self.network.condition(features)
        x, clean = self._start(noise, prefix)
        first = self.velocity(x, 0.0, condition, clean)
        probe = x.clone()
        probe[:, clean:] += PROBE * first[:, clean:]
        later = self.velocity(probe, PROBE, condition, clean)
        straight = functional.cosine_similarity(
            first[:, clean:].flatten(1), later[:, clean:].flatten(1)
        )
        angle = float(straight.min().clamp(0.0, 1.0).acos()) / (torch.pi / 2)
        steps = fewest + round(angle * (most - fewest))
        x[:, clean:] += first[:, clean:] / steps
        for step in range(1, steps):
            x = self._step(x, step / steps, 1 / steps, condition, clean, 0.0, None)
        return self.outer(x), steps + 1

    def _start(self, noise: torch.Tensor, prefix: torch.Tensor | None) -> tuple[torch.Tensor, int]:
        x = noise.clone()
        if prefix is None:
            return x, 0
        x[:, : prefix.shape[1]] = self.inner(prefix)
        return x, prefix.shape[1]

    def _step(
        self,
        x: torch.Tensor,
        time: float,
        length: float,
        condition: torch.Tensor,
        clean: int,
        span: float,
        guidance: Guidance | None,
    ) -> torch.Tensor:
        def velocity(at: torch.Tensor) -> torch.Tensor:
            return self.velocity(at, time, condition, clean, span)

        found = velocity(x) if guidance is None else guided_velocity(velocity, x, time, guidance)
        after = x + length * found
        after[:, :clean] = x[:, :clean]
        return after


class Flow(DenoisingGenerator):
    """The head flow, free, or guided by the chunk before."""

    guides = True
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
        chunk = self.head.sample(features, noise, flow.steps, flow.shortcut, prefix)
        return Made(chunk[0], flow.steps, delay)

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
            steps = guidance.steps
            chunk = self.head.sample(features.clone(), noise.clone(), steps, guidance=drawn)
        return Made(chunk[0], steps, delay)


def load(source: HeadSource, settings: ActorSettings) -> Flow:
    """Return the head of the add-on ``flow``."""
    return Flow(source.single(), source.addon('flow').module(FlowHead), settings)
