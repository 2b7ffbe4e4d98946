# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of type ``act``: their stages, and what they make of a recorded observation."""

from collections.abc import Sequence
from pathlib import Path

import torch

from efficient_vla.action.settings import ActorSettings
from efficient_vla.engined import converts, fit_network
from efficient_vla.lerobot.act_network import ActNetwork, ActPass
from efficient_vla.lerobot.features import cameras_of
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.lerobot.processors import Batch
from efficient_vla.lerobot.techniques import IMAGE_POLICIES, IN_BFLOAT16
from efficient_vla.lerobot.visuomotor import (
    ImageActor,
    load_perception,
    load_reasoner,
    network_of,
    open_for,
)
from efficient_vla.settings import refuse_techniques
from efficient_vla.tensors import weights_mb

__all__ = ['load_actor', 'load_perception', 'load_reasoner', 'replay']


class ActPolicy:
    """One pass makes one chunk."""

    observations = 1

    def __init__(self, folder: LeRobotFolder, network: ActNetwork) -> None:
        config, chunk = folder.config, folder.config.integer('chunk_size')
        config.integer('n_obs_steps', 1, high=self.observations)
        self._rows = config.integer('n_action_steps', high=chunk)
        # Where chunks are averaged, as controller.blending.method temporal_ensemble does, each is
        # needed to its end.
        if config.raw('temporal_ensemble_coeff', None) is not None:
            self._rows = chunk
        self._network = network
        self.parameters_mb = weights_mb(network)

    def describe(self, batch: Batch) -> Batch:
        """Return the frame itself."""
        return batch

    def act(self, told: Sequence[Batch]) -> tuple[torch.Tensor, int]:
        """Return the rows to execute."""
        return self._network(told[-1])[:, : self._rows], 1

    def configure(self, settings: ActorSettings) -> None:
        """Do nothing: no setting concerns the network."""

    def reset(self) -> None:
        """Do nothing: no chunk depends on an earlier one."""


def load_actor(folder: Path, settings: ActorSettings) -> ImageActor:
    """Return the actor of a folder."""
    halved = settings.quantization.mode == 'bf16' and converts(settings)
    refused = IN_BFLOAT16 if halved else IMAGE_POLICIES
    refuse_techniques('actor', settings, refused)
    opened, device = open_for(folder, settings)
    network = network_of(opened, ActNetwork, 'model').to(device)
    sizes = cameras_of(opened.input_features)
    random = torch.Generator().manual_seed(0)
    shapes = [
        (1, 3, *sizes[key]) if key in sizes else (1, opened.state_width) for key in network.inputs
    ]
    engine = fit_network(
        'network',
        ActPass(network),
        network,
        tuple(torch.randn(shape, generator=random).to(device) for shape in shapes),
        settings,
        folder,
    )
    made = ImageActor(opened, ActPolicy(opened, network), settings, device, refused)
    made.engine = engine
    return made


def replay(
    folder: LeRobotFolder, batch: Batch, noise: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return the normalised chunk of a processed observation, as ``chunk``."""
    return {'chunk': network_of(folder, ActNetwork, 'model')(batch)}
