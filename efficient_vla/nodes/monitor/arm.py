# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A robot of joints among the markers: how it stands, and where a chunk leads its tool."""

import numpy as np
import pinocchio as pin
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from efficient_vla.bringup.settings import DrawnArmSettings
from efficient_vla.columns import POSITION, relative
from efficient_vla.control.contract import JOINT_MODES
from efficient_vla.control.kinematics.arm import ArmModel
from efficient_vla.control.kinematics.places import places_of
from efficient_vla.control.robot_limits.urdf import text_of
from efficient_vla.nodes.base.conversions import joint_positions
from efficient_vla.nodes.monitor.overlay import marker, point
from efficient_vla.types import ActionChunk

COLOUR = (0.55, 0.6, 0.7, 1.0)
LIMB_M, JOINT_M = 0.02, 0.035
FIRST_ID = 10
"""Markers of one namespace have different numbers."""
MOST_POINTS = 60


class DrawnArm:
    """The arm of a description; raises ``InvalidSettingError`` where it does not fit."""

    def __init__(self, settings: DrawnArmSettings) -> None:
        called = dict(word.split(':=') for word in settings.joint_names)
        column = {called.get(name, name): name for name in settings.names}
        text = text_of('arm.description', settings.description)
        self._arm = ArmModel(text, tuple(column), settings.base, settings.tool)
        model = self._arm.model
        self.base = settings.base
        base = model.getFrameId(settings.base, pin.FrameType.BODY)
        self._base = model.frames[base].placement if settings.base else pin.SE3.Identity()
        self._data = model.createData()
        self._names = {joint: (joint, column[joint]) for joint in self._arm.joints}
        self._values: dict[str, float] = {}

    def take(self, message: JointState) -> None:
        """Take in the joints that a message tells; they may come in several."""
        for joint, names in self._names.items():
            for value in joint_positions(message, names).values():
                self._values[joint] = value

    @property
    def joints(self) -> np.ndarray | None:
        """The newest joints [M], or ``None`` before all of them came."""
        if len(self._values) < len(self._names):
            return None
        return np.array([self._values[joint] for joint in self._names])

    def path(self, chunk: ActionChunk, joints: np.ndarray) -> np.ndarray:
        """Return where ``chunk`` leads the tool from ``joints`` [M] on, in the base, [P, 3] in m.

        At most ``MOST_POINTS`` of its rows are shown.
        """
        start = self._arm.place(joints)
        shown = np.unique(np.linspace(0, len(chunk.actions) - 1, MOST_POINTS).astype(int))
        if chunk.control_mode in JOINT_MODES:
            rows = self._rows(chunk, joints)
            places = [self._arm.place(rows[row]) for row in shown]
        elif chunk.names[:3] == POSITION:
            every = places_of(chunk, start)
            places = [every[row] for row in shown]
        else:
            places = []
        return np.array([place.translation for place in (start, *places)])

    def _rows(self, chunk: ActionChunk, joints: np.ndarray) -> np.ndarray:
        """Return the joints [H, M] that the rows of a chunk of joints lead to."""
        rows = np.tile(joints, (len(chunk.actions), 1))
        steps = relative(chunk)
        for own, names in enumerate(self._names.values()):
            for column in {chunk.names.index(name) for name in names if name in chunk.names}:
                values = chunk.actions[:, column].astype(np.float64)
                rows[:, own] = joints[own] + np.cumsum(values) if steps[column] else values
        return rows

    def limbs(self, joints: np.ndarray) -> np.ndarray:
        """Return the points [P, 3] from the base over all joints to the tool, in the base in m."""
        model = self._arm.model
        pin.forwardKinematics(model, self._data, self._arm.sorted(joints))
        found = [self._base.actInv(self._data.oMi[joint]) for joint in range(1, model.njoints)]
        ends = [place.translation for place in (*found, self._arm.place(joints))]
        return np.array([np.zeros(3), *ends])

    def markers(self, joints: np.ndarray, header: Header) -> list[Marker]:
        """Return the arm as limbs with a ball at each joint."""
        points = [point(place) for place in self.limbs(joints)]
        limbs = marker(FIRST_ID, Marker.LINE_STRIP, header, COLOUR, LIMB_M)
        balls = marker(FIRST_ID + 1, Marker.SPHERE_LIST, header, COLOUR, JOINT_M)
        limbs.points = balls.points = points
        return [limbs, balls]
