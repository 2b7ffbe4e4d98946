# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A first pose that cannot be meant for the tool as it stands is named before the arm moves."""

from pathlib import Path

import numpy as np
import pytest
from control.kinematics import arms
from control.kinematics.test_with_controller import TOOL, start
from scipy.spatial.transform import Rotation

from efficient_vla.control.controller import Controller
from efficient_vla.types import ActionChunk, ControlMode

JOINTS = arms.UR5E_HOME + [0.0, 0.0, 0.0, 0.6, 0.3, 0.0]
HOME = arms.forward(arms.UR5E, TOOL, JOINTS)
PLACE, TURN = HOME[:3, 3], Rotation.from_matrix(HOME[:3, :3])
DT, ROWS = 0.04, 25
STEPS = np.arange(1, ROWS + 1)[:, None] / ROWS
WAY = np.array([0.08, -0.05, 0.06])
PATH = PLACE + STEPS * WAY
TURNS = Rotation.from_rotvec(STEPS * [0.2, 0.1, -0.2]) * TURN
NAMES = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'gripper')
POSITION, DELTA = ControlMode.EE_POSITION, ControlMode.EE_DELTA
EAST = Rotation.from_euler('x', 90, degrees=True)


def chunk(path: np.ndarray, turns: np.ndarray, mode: ControlMode, sequence: int) -> ActionChunk:
    rows = np.concatenate([path, turns, np.zeros((ROWS, 1))], axis=1).astype(np.float32)
    return ActionChunk(rows, DT, NAMES, mode, 0.0, sequence)


def accepted(controller: Controller, *told: object, sequence: int = 1) -> str | None:
    """Return why a chunk is refused that is examined as the node does it."""
    examine = controller.examine(chunk(*told, sequence), 0.0)
    assert examine is not None
    return controller.accept(examine(), 0.0)


QUATERNIONS = TURNS.as_quat()
STILL = np.tile([0.0, 0.0, 0.0, 1.0], (ROWS, 1))
MISTAKES = {
    'millimetres': (PATH * 1e3, QUATERNIONS, POSITION, 'millimetres, taken for metres'),
    'axes swapped': (PATH[:, [1, 0, 2]], QUATERNIONS, POSITION, 'x and y are swapped'),
    'mirrored': (PATH * [-1, 1, 1], QUATERNIONS, POSITION, 'the sign of x is the other one'),
    'in reverse': (PATH[::-1], QUATERNIONS, POSITION, 'in reverse order of time'),
    'displacements': (STEPS * WAY, QUATERNIONS, POSITION, 'a displacement, taken for a position'),
    'another base': (PATH + [0.06, 0.02, 0.05], QUATERNIONS, POSITION, 'at most 0.05 m'),
    'w first': (PATH, np.roll(QUATERNIONS, 1, axis=1), POSITION, 'has w first'),
    'inverse': (PATH, TURNS.inv().as_quat(), POSITION, 'the inverse one'),
    'another tool': (PATH, (TURNS * EAST).as_quat(), POSITION, 'kinematics.tool'),
    'displacements in millimetres': (np.tile(WAY * 1e3 / ROWS, (ROWS, 1)), STILL, DELTA, 'millim'),
    'from the observation': (STEPS * 4 * WAY, STILL, DELTA, 'count from the observation'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes_are_named_and_move_nothing(tmp_path: Path, name: str) -> None:
    *told, words = MISTAKES[name]
    controller = start(tmp_path, JOINTS)
    assert words in str(accepted(controller, *told))
    for tick in range(1, 50):
        command = controller.tick(0.01 * tick).position[:6]
        np.testing.assert_allclose(command, JOINTS, atol=1e-12)


@pytest.mark.parametrize('off', [0.0, 0.03])
def test_honest_poses_drive_the_arm(tmp_path: Path, off: float) -> None:
    controller = start(tmp_path, JOINTS)
    assert accepted(controller, PATH + [off, 0.0, 0.0], QUATERNIONS, POSITION) is None


def test_only_the_first_chunk_is_held_to_where_the_tool_stands(tmp_path: Path) -> None:
    controller = start(tmp_path, JOINTS)
    far = PATH + [0.06, 0.02, 0.05]
    assert accepted(controller, PATH, QUATERNIONS, POSITION) is None
    assert accepted(controller, far, QUATERNIONS, POSITION, sequence=2) is None
