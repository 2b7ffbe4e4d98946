# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The network behind ``flow`` and ``diffusion``: a small transformer over the rows of a chunk.

Every row has a time of its own (0 noise, 1 data), so that rows that are already decided enter clean
while the others are still noise (training-time RTC, arXiv 2512.05964). Times and plan modulate the
layers (AdaLN, arXiv 2212.09748; one modulation for all layers, arXiv 2310.00426).
"""

import math

import torch
from torch import nn
from torch.nn import functional

from efficient_vla.action.block import Block
from efficient_vla.action.heads import Generator, Given
from efficient_vla.action.policies import SinglePolicy
from efficient_vla.action.settings import ActorSettings

WAVES = 16
"""Frequencies that a time is written in."""
RATES = torch.logspace(0, 2, WAVES) * (math.pi / 2)


def waves(time: torch.Tensor) -> torch.Tensor:
    """Return times in [0, 1] as sines and cosines, [..., 2 ``WAVES``]."""
    angles = time[..., None] * RATES.to(time)
    return torch.cat([angles.sin(), angles.cos()], -1)


class Denoiser(nn.Module):
    """Noisy chunk, row times and a plan -> velocity (or what the head defines), [B, H, A]."""

    def __init__(
        self,
        features: int,
        horizon: int,
        actions: int,
        width: int = 128,
        layers: int = 3,
        heads: int = 4,
        patch: int = 4,
    ) -> None:
        """Make the layers; ``patch`` rows are one token, which ``horizon`` is a multiple of."""
        super().__init__()
        if horizon % patch:
            raise ValueError(f'horizon {horizon} is not a multiple of the patch of {patch} rows.')
        self.patch = patch
        self.embed = nn.Linear(patch * actions, width)
        self.place = nn.Parameter(0.02 * torch.randn(horizon // patch, width))
        self.plan = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        self.clock = nn.Linear(patch * 2 * WAVES, width)
        self.span = nn.Linear(2 * WAVES, width)
        self.modulate = nn.Linear(width, 6 * width)
        self.shift = nn.Parameter(torch.zeros(layers, 6 * width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.last = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, patch * actions)
        for layer in (self.modulate, self.last, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def condition(self, features: torch.Tensor) -> torch.Tensor:
        """Return what all passes over one plan share, [B, D], of its features [B, F]."""
        return self.plan(features)

    def forward(
        self,
        x: torch.Tensor,
        time: torch.Tensor,
        span: torch.Tensor,
        condition: torch.Tensor,
        branches: list[torch.Tensor] | None = None,
        reuse: bool = False,
    ) -> torch.Tensor:
        """Map a noisy chunk [B, H, A] with times [B, H] to [B, H, A].

        ``span`` [B] is how far ahead the answer has to hold, 0 for an instant. ``branches`` takes
        what attention and networks gave; with ``reuse`` they are taken from there instead and only
        modulation, input and output are computed (EfficientVLA, arXiv 2506.10100, section 3.4).
        """
        batch, horizon, _ = x.shape
        patches = x.reshape(batch, horizon // self.patch, -1)  # [B, T, patch * A]
        clocks = waves(time).reshape(batch, patches.shape[1], -1)
        steer = self.clock(clocks) + (self.span(waves(span)) + condition)[:, None]
        steer = functional.silu(steer)
        common = self.modulate(steer)  # [B, T, 6 D]
        hidden = self.embed(patches) + self.place
        if branches is not None and not reuse:
            branches.clear()
        for index, block in enumerate(self.blocks):
            shift, scale, gate, shift2, scale2, gate2 = (common + self.shift[index]).chunk(6, -1)
            if reuse and branches is not None:
                attended, thought = branches[2 * index : 2 * index + 2]
                hidden = hidden + gate * attended
                hidden = hidden + gate2 * thought
                continue
            attended = block.attend(_norm(hidden) * (1 + scale) + shift)
            hidden = hidden + gate * attended
            thought = block.think(_norm(hidden) * (1 + scale2) + shift2)
            hidden = hidden + gate2 * thought
            if branches is not None:
                branches += [attended, thought]
        scale, shift = self.last(steer).chunk(2, -1)
        return self.out(_norm(hidden) * (1 + scale) + shift).reshape(x.shape)


class DenoisingHead(nn.Module):
    """A denoiser and the units in which it sees chunks."""

    def __init__(self, features: int, horizon: int, actions: int, **sizes: int) -> None:
        """Make the network; ``mean`` and ``std`` [A] are fitted to data."""
        super().__init__()
        self.shape = (horizon, actions)
        self.network = Denoiser(features, horizon, actions, **sizes)
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer('mean', torch.zeros(actions))
        self.register_buffer('std', torch.ones(actions))

    def inner(self, chunk: torch.Tensor) -> torch.Tensor:
        """Return a chunk in the units of the network."""
        return (chunk - self.mean) / self.std

    def outer(self, x: torch.Tensor) -> torch.Tensor:
        """Return it in the policy's units."""
        return x * self.std + self.mean


class DenoisingGenerator(Generator):
    """Features of the regression head, whose own last layer is not used, and noise -> chunk."""

    head: DenoisingHead

    def __init__(self, single: SinglePolicy, head: DenoisingHead, settings: ActorSettings) -> None:
        super().__init__()
        self.single, self.head = single, head
        self.requires_grad_(False)
        self.settings = settings
        self._random = torch.Generator()
        self.reset()

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on."""
        self.settings = settings

    def reset(self) -> None:
        """Start the same noise again."""
        self._random.manual_seed(self.settings.seed)

    def start(self, given: Given) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features [1, F] and the next noise [1, H, A], the same on every device."""
        noise = torch.randn((1, *self.head.shape), generator=self._random)
        features = self.single.features(given.latents, given.state)
        return features, noise.to(given.state.device)


def _norm(x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x, x.shape[-1:])
