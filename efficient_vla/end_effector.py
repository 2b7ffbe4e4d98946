# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The columns of policies that drive an end effector, OpenVLA and NORA, on the robot's side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from efficient_vla.columns import GRIPPER
from efficient_vla.dataset_statistics import Scale
from efficient_vla.joint_settings import JointSettings
from efficient_vla.joints import Joints, JointSpace, joints_of
from efficient_vla.openvla_settings import EFFORTS, UNKNOWN
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import RefusedChunkError

COLUMNS = ('x', 'y', 'z', 'roll', 'pitch', 'yaw', GRIPPER)
"""Of an action of seven numbers: displacement and rotation of the end effector in a row."""
LARGEST_GRIPPER = 2.0
"""More than any token names; those of FAST reach 1.25."""
UNITS = ('m', 'm', 'm', 'rad', 'rad', 'rad', 'effort')


@dataclass(frozen=True, slots=True)
class EndEffectorSpace(JointSpace):
    """Units and names on both sides of a policy; see ``action.stage.Space``."""

    joints: Joints
    scale: Scale
    gripper: str

    def normalised(self, state: np.ndarray) -> np.ndarray:
        """Return the state as it is: their heads read the plan alone."""
        return state.astype(np.float32)

    def actions(self, chunk: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return the robot's rows, float32 [H, A], for those of the policy from -1 to 1."""
        names = self.joints.layout.names
        rows = with_effort(self.scale.restored(chunk), names, self.gripper)
        return self.joints.rows_to_robot(rows, state)

    def carried(self, chunk: np.ndarray, before: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Return the rows as they are, since no head of theirs draws to the chunk before."""
        return chunk


def joints(settings: JointSettings, states: int, columns: int) -> Joints:
    """Return the robot's side of a policy with so many columns of state and of action.

    Raises ``InvalidSettingError`` for what is not said, or does not fit.
    """
    return joints_of(settled(settings, columns), states or len(settings.state_names), columns)


def settled(settings: JointSettings, columns: int) -> JointSettings:
    """Return what holds where ``joints.names`` is empty and actions have seven columns.

    They are displacements of an end effector in the frame of the robot, as Open X-Embodiment has
    them: metres, and roll, pitch, yaw about fixed axes.
    """
    if settings.names or columns != len(COLUMNS):
        return settings
    return replace(
        settings,
        names=COLUMNS,
        unit=UNITS,
        sign=(1.0,),
        offset=(0.0,),
        low=(0.0,),
        high=(0.0,),
        mode='ee_delta',
        rotation='euler_xyz',
    )


def refuse_unknown_gripper(names: Sequence[str], gripper: str) -> None:
    """Raise ``InvalidSettingError`` where nobody said what the numbers of the gripper mean."""
    if GRIPPER in names and gripper == UNKNOWN:
        raise InvalidSettingError(
            f'openvla.gripper is {UNKNOWN}; expected one of {", ".join(EFFORTS)}, since the '
            'folder does not say what 0 and 1 of its gripper mean. Set it to opening for a '
            'policy that was trained on Open X-Embodiment, such as OpenVLA itself.'
        )


def with_effort(rows: np.ndarray, names: Sequence[str], gripper: str) -> np.ndarray:
    """Return rows [H, A] whose gripper is an effort from -1, open, to 1, closed.

    It is a switch for them: what lies beyond an end, as far as a token can name it, is that end.
    Raises ``RefusedChunkError`` for a number that no such policy has.
    """
    if GRIPPER not in names:
        return rows
    scale, shift = EFFORTS[gripper]
    rows = rows.copy()
    column = rows[:, list(names).index(GRIPPER)]
    worst = float(column[np.abs(column).argmax()])
    if not abs(worst) <= LARGEST_GRIPPER:
        raise RefusedChunkError(
            f'the policy gives {worst:.4g} for the gripper; expected about 0 to 1, or -1 to 1 for '
            'efforts. Check unnorm_key and the statistics of the folder.'
        )
    column[:] = (scale * column + shift).clip(-1, 1)
    return rows
