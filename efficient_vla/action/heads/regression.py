# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunk regression in one pass (OpenVLA-OFT, arXiv 2502.19645, without its placeholder tokens)."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from efficient_vla.action.heads import Generator, Given, HeadSource, Made
from efficient_vla.action.settings import ActorSettings
from efficient_vla.dual_settings import OWN

if TYPE_CHECKING:
    from efficient_vla.action.policies import DualPolicy, SinglePolicy
    from efficient_vla.action.tokenizers.univla import TokenPolicy


class RegressionHead(nn.Module):
    """Conditioning vector [B, F] -> normalised chunk [B, H, A]."""

    def __init__(self, features: int, width: int, horizon: int, actions: int) -> None:
        """Make an MLP with two hidden layers of ``width``."""
        super().__init__()
        self.shape = (horizon, actions)
        self.layers = nn.Sequential(
            nn.Linear(features, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, horizon * actions),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the chunk."""
        return self.layers(features).unflatten(-1, self.shape)


class Regression(Generator):
    """One pass of a policy that gives numbers, or one word for each."""

    def __init__(self, policy: 'SinglePolicy | DualPolicy | TokenPolicy') -> None:
        super().__init__()
        self.policy = policy
        self.needs_image = policy.needs_image

    def make(self, given: Given) -> Made:
        """Return the chunk of one pass."""
        if given.pixels is not None:
            return Made(self.policy(given.latents, given.pixels, given.state)[0], 1)
        return Made(self.policy(given.latents, given.state)[0], 1)


def load(source: HeadSource, settings: ActorSettings) -> Generator:
    """Return the head that the policy has for the architecture, steered as the settings say."""
    if settings.own_architecture == 'single':
        return Regression(source.single())
    if settings.dual.conditioning == OWN:
        return Regression(source.dual())
    # It is made of policies, which are made of what is above.
    from efficient_vla.action.conditioning import steered

    return steered.load(source, settings.dual.conditioning)
