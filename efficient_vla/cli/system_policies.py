# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of systems with random weights, for the commands that are given ``--policy tinyvla``."""

import sys
from pathlib import Path

from efficient_vla.bringup.fit import random_weights
from efficient_vla.bringup.graph import DEFAULT_POLICY, shipped_policy
from efficient_vla.errors import UsageError
from efficient_vla.places import policy_folder
from efficient_vla.policy import default_policy
from efficient_vla.policy_folders import policy_type, weights_of
from efficient_vla.settings import InvalidSettingError
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, robots
from efficient_vla.systems import SYSTEMS, SystemWord


def folder_of(word: SystemWord, robot: str, still: bool) -> Path:
    """Return the folder of a system for a robot, and say what it is.

    Raises ``InvalidSettingError`` for a robot that could be moved by it, ``UsageError`` where
    memory is short or no policy of this package says what the robot has.
    """
    from efficient_vla.training import systems
    from efficient_vla.training.lerobot_systems import EXPERTS

    if robot not in robots() and not still:
        raise InvalidSettingError(random_weights(word.name, robot))
    like = _shipped(robot)
    if word.name in EXPERTS and like != default_policy():
        raise UsageError(
            f'policy {word.name} is made for the columns of {DEFAULT_ROBOT} alone, and the robot '
            f'is {robot}. Take --robot {DEFAULT_ROBOT}, or give {word.name}=FOLDER.'
        )
    if policy_type(like) != 'evla':
        known = [n for n in robots() if policy_type(_shipped(n)) == 'evla']
        raise UsageError(
            f'policy {word.name} is made for the columns of a policy of this package, and that of '
            f'{robot} is none; expected one of {", ".join(known)}. Take --robot {known[0]}.'
        )
    folder = systems.folder_of(word.name, word.shape, like)
    numbers = weights_of(folder)[0] / 1e6
    shape = 'the published' if word.shape == 'full' else 'a small'
    print(
        f'policy {word.name}: random weights in {shape} shape of {SYSTEMS[word.name].title}, '
        f'{numbers:.1f} million numbers; it knows no task: {folder}',
        file=sys.stderr,
    )
    return folder


def _shipped(robot: str) -> Path:
    """Return the folder of the policy that ships for a robot."""
    named = shipped_policy(robot)
    return default_policy() if named == DEFAULT_POLICY else policy_folder(named)
