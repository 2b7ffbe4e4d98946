# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of type ``diffusion``: their stages, and what they make of a recorded observation."""

from pathlib import Path

import torch

from efficient_vla.action.settings import ActorSettings
from efficient_vla.lerobot.diffusion_network import DiffusionNetwork
from efficient_vla.lerobot.features import cameras_of
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.lerobot.processors import Batch
from efficient_vla.lerobot.visuomotor import (
    ImageActor,
    load_perception,
    load_reasoner,
    open_for,
)
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import weights_mb

__all__ = ['load_actor', 'load_perception', 'load_reasoner', 'replay']


def network_of(folder: LeRobotFolder) -> DiffusionNetwork:
    """Return the network of a folder.

    Raises ``CheckpointError`` where its tensors are not those that ``config.json`` describes.
    """
    network = DiffusionNetwork(
        folder.config,
        cameras_of(folder.input_features),
        folder.state_width,
        folder.action_width,
        folder.tensors.at('diffusion'),
    )
    folder.tensors.finish()
    return network.eval()


class DiffusionPolicy:
    """Denoise a chunk, told of the newest observation and of those before it."""

    def __init__(self, folder: LeRobotFolder, network: DiffusionNetwork, dt: float) -> None:
        """``dt`` [s] is the time between two observations in training."""
        self._network, self._dt = network, dt
        self._shape = 1, network.horizon, folder.action_width
        self.parameters_mb = weights_mb(network)
        self._seen: dict[float, torch.Tensor] = {}
        """Capture time -> what the policy is told of that observation."""
        self._seed = 0
        self._random = torch.Generator().manual_seed(self._seed)

    def act(self, batch: Batch, stamp: float) -> tuple[torch.Tensor, int, str]:
        """Return the rows to execute; the note says where earlier observations were not there."""
        network, span = self._network, self._network.observations * self._dt
        first = not self._seen
        self._seen = {t: told for t, told in self._seen.items() if stamp - span <= t < stamp}
        self._seen[stamp] = network.describe(batch)
        wanted = [stamp - n * self._dt for n in reversed(range(network.observations))]
        taken = [self._nearest(at) for at in wanted]
        noise = torch.randn(self._shape, generator=self._random).to(self._seen[stamp].device)
        chunk = network([self._seen[t] for t in taken], noise, self._random)
        off = max(abs(t - at) for t, at in zip(taken, wanted, strict=True))
        note = ''
        if off > self._dt / 2 and not first:
            note = (
                f'an observation {off:.3g} s away from where training had it: they were '
                f'{self._dt:.3g} s apart there; let chunks follow at that rate'
            )
        return chunk, len(network.schedule.times), note

    def _nearest(self, stamp: float) -> float:
        return min(self._seen, key=lambda known: abs(known - stamp))

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
        """Forget earlier observations, and draw the same noise again."""
        self._seen.clear()
        self._random.manual_seed(self._seed)


def load_actor(folder: Path, settings: ActorSettings) -> ImageActor:
    """Return the actor of a folder."""
    opened, device = open_for(folder, settings)
    rate = settings.joints.rate
    policy = DiffusionPolicy(opened, network_of(opened).to(device), 1 / rate if rate else 0.0)
    return ImageActor(opened, policy, settings, device)


def replay(
    folder: LeRobotFolder, batch: Batch, noise: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return the normalised chunk of a processed observation, as ``chunk``.

    The observation stands for all that the policy looks at, as at the start of an episode.
    """
    assert noise is not None
    network = network_of(folder)
    described = [network.describe(batch)] * network.observations
    return {'chunk': network(described, noise, torch.Generator())}
