# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of type ``act``: their stages, and what they make of a recorded observation."""

import torch

from efficient_vla.lerobot.act_network import ActNetwork
from efficient_vla.lerobot.features import cameras_of
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.lerobot.processors import Batch


def network_of(folder: LeRobotFolder) -> ActNetwork:
    """Return the network of a folder.

    Raises ``CheckpointError`` where its tensors are not those that ``config.json`` describes.
    """
    network = ActNetwork(
        folder.config,
        cameras_of(folder.input_features),
        folder.state_width,
        folder.action_width,
        folder.tensors.at('model'),
    )
    folder.tensors.finish()
    return network.eval()


def replay(
    folder: LeRobotFolder, batch: Batch, noise: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return the normalised chunk of a processed observation, as ``chunk``."""
    return {'chunk': network_of(folder)(batch)}
