# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of type ``diffusion``: their stages, and what they make of a recorded observation."""

import torch

from efficient_vla.lerobot.diffusion_network import DiffusionNetwork
from efficient_vla.lerobot.features import cameras_of
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.lerobot.processors import Batch


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
