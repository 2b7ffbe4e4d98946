# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The columns of OpenVLA's actions and states on the robot's side."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from efficient_vla.joints import GRIPPER, Joints, JointSettings, joints_of
from efficient_vla.openvla_settings import EFFORTS, UNKNOWN
from efficient_vla.settings import InvalidSettingError

COLUMNS = ('x', 'y', 'z', 'roll', 'pitch', 'yaw', GRIPPER)
"""Of an action of seven numbers: displacement and rotation of the end effector in a row."""
UNITS = ('m', 'm', 'm', 'rad', 'rad', 'rad', 'effort')


def joints(settings: JointSettings, states: int, columns: int) -> Joints:
    """Return the robot's side of a policy with so many columns of state and of action.

    Actions of seven columns are displacements of an end effector where ``joints.names`` is empty.
    Raises ``InvalidSettingError`` for what is not said, or does not fit.
    """
    if not settings.names and columns == len(COLUMNS):
        settings = replace(
            settings,
            names=COLUMNS,
            unit=UNITS,
            sign=(1.0,),
            offset=(0.0,),
            low=(0.0,),
            high=(0.0,),
            mode='ee_delta',
        )
    return joints_of(settings, states or len(settings.state_names), columns)


def refuse_unknown_gripper(names: Sequence[str], gripper: str) -> None:
    """Raise ``InvalidSettingError`` where nobody said what the numbers of the gripper mean."""
    if GRIPPER in names and gripper == UNKNOWN:
        raise InvalidSettingError(
            f'openvla.gripper is {UNKNOWN}; expected one of {", ".join(EFFORTS)}, since the '
            'folder does not say what 0 and 1 of its gripper mean. Set it to opening for a '
            'policy that was trained on Open X-Embodiment, such as OpenVLA itself.'
        )


def with_effort(rows: np.ndarray, names: Sequence[str], gripper: str) -> np.ndarray:
    """Return rows [H, A] whose gripper is an effort from -1, open, to 1, closed."""
    if GRIPPER not in names:
        return rows
    scale, shift = EFFORTS[gripper]
    rows = rows.copy()
    column = rows[:, list(names).index(GRIPPER)]
    column[:] = (scale * column + shift).clip(-1, 1)
    return rows
