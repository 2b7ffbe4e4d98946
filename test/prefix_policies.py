# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Prefix policies of the fixtures, and what a robot gives them."""

from typing import Any

import numpy as np
import torch
from lerobot_folders import FIXTURES, observation

from efficient_vla.policy import Policy

PREFIXES = ('smolvla', 'smolvla_base', 'smolvla_switches', 'smolvla_self', 'pi0', 'pi05')
CAMERAS = {'smolvla_base': ('top', 'wrist'), 'pi0': ('front', 'wrist')}
"""Those that the robot has, where it lacks some."""
ROBOT = {
    'joints_names': ('pan', 'lift', 'elbow', 'wrist', 'roll', 'jaw'),
    'joints_unit': ('rad',),
    'joints_mode': 'joint_position',
    'joints_rate': 10.0,
    'device': 'cpu',
}
"""A robot that counts as the dataset does."""
TASK = 'open the top drawer'


def loaded(name: str, **settings: Any) -> Policy:
    """Return the policy of a fixture."""
    return Policy.from_pretrained(
        FIXTURES / name, **{'cameras': CAMERAS.get(name, ()), **ROBOT, **settings}
    )


def seen(name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return images by camera, and the state."""
    raw = observation(name)
    prefix = 'observation.images.'
    images = {k.removeprefix(prefix): v for k, v in raw.items() if k.startswith(prefix)}
    return images, raw['observation.state']


def moved(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the images with a changed corner in each."""
    changed = {camera: image.copy() for camera, image in images.items()}
    for image in changed.values():
        image[:24, :24] = 255 - image[:24, :24]
    return changed


def fixed_noise(policy: Policy, noise: np.ndarray) -> None:
    """Let every chunk of a policy begin with the same noise."""
    generator: Any = policy.actor.generator  # type: ignore[attr-defined]
    drawn = torch.from_numpy(noise)
    generator.make = lambda given: generator.sample(given, drawn)
