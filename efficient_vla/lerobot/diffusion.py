# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of type ``diffusion``: their stages, and what they make of a recorded observation."""

from collections.abc import Sequence
from pathlib import Path

import torch

from efficient_vla.action.settings import ActorSettings
from efficient_vla.lerobot.diffusion_network import DiffusionNetwork
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.lerobot.processors import Batch
from efficient_vla.lerobot.visuomotor import (
    ImageActor,
    load_perception,
    load_reasoner,
    network_of,
    open_for,
)
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import weights_mb

__all__ = ['load_actor', 'load_perception', 'load_reasoner', 'replay']


class DiffusionPolicy:
    """Denoise a chunk, told of the newest frame and of those before it."""

    def __init__(self, folder: LeRobotFolder, network: DiffusionNetwork) -> None:
        self._network = network
        self._shape = 1, network.horizon, folder.action_width
        self.observations = network.observations
        self.parameters_mb = weights_mb(network)
        self._seed = 0
        self._random = torch.Generator().manual_seed(self._seed)

    def describe(self, batch: Batch) -> torch.Tensor:
        """Return what the network is told of a frame."""
        return self._network.describe(batch)

    def act(self, told: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        """Return the rows to execute."""
        noise = torch.randn(self._shape, generator=self._random).to(told[-1].device)
        chunk = self._network(told, noise, self._random)
        return chunk, len(self._network.schedule.times)

    def configure(self, settings: ActorSettings) -> None:
        """Take other steps from noise to chunk, and refuse what the network cannot do."""
        if settings.diffusion.cache_every != 1:
            raise InvalidSettingError(
                f'diffusion.cache_every is {settings.diffusion.cache_every}; expected 1, since the '
                'network of LeRobot has convolutions in place of attention. Set it to 1.'
            )
        self._network.schedule.take(settings.diffusion.steps)
        if settings.seed != self._seed:
            self._seed = settings.seed
            self._random.manual_seed(self._seed)

    def reset(self) -> None:
        """Draw the same noise again."""
        self._random.manual_seed(self._seed)


def load_actor(folder: Path, settings: ActorSettings) -> ImageActor:
    """Return the actor of a folder."""
    opened, device = open_for(folder, settings)
    policy = DiffusionPolicy(opened, network_of(opened, DiffusionNetwork, 'diffusion').to(device))
    return ImageActor(opened, policy, settings, device)


def replay(
    folder: LeRobotFolder, batch: Batch, noise: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return the normalised chunk of a processed observation, as ``chunk``.

    The observation stands for all that the policy looks at, as at the start of an episode.
    """
    assert noise is not None
    network = network_of(folder, DiffusionNetwork, 'diffusion')
    described = [network.describe(batch)] * network.observations
    return {'chunk': network(described, noise, torch.Generator())}
