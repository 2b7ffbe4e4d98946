# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunks of end-effector rows as chunks of joint rows, and which rows the arm must not follow."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pinocchio as pin

from efficient_vla.columns import GRIPPER, POSITION, relative
from efficient_vla.control.contract import JOINT_MODES
from efficient_vla.control.first_place import refuse_pose, refuse_steps
from efficient_vla.control.kinematics.arm import SHOWN, ArmModel
from efficient_vla.control.kinematics.checks import Checked, Finding, Ranges, collision
from efficient_vla.control.kinematics.collision import Collisions
from efficient_vla.control.kinematics.path import Way, follow
from efficient_vla.control.kinematics.places import places_of
from efficient_vla.control.kinematics.settings import CollisionSettings, KinematicsSettings
from efficient_vla.control.kinematics.stop import stopped
from efficient_vla.control.trajectory import knots_of
from efficient_vla.joint_settings import is_gripper
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import MAX_ROWS, QUATERNION, ActionChunk, ControlMode

TURN = 0.1
"""Between two rows collisions are checked every so much of the largest turn [rad or m]."""
MOST_BETWEEN = 20
TO_JOINTS = {
    ControlMode.EE_DELTA: ControlMode.JOINT_DELTA,
    ControlMode.EE_TWIST: ControlMode.JOINT_DELTA,
    ControlMode.EE_POSITION: ControlMode.JOINT_POSITION,
}


class Kinematics:
    """One arm among the columns ``names`` of a robot's command; an axis is any but the gripper.

    ``check`` is for one thread at a time, and so is ``refuse``, which may be another one.
    """

    def __init__(
        self,
        text: str,
        names: tuple[str, ...],
        kinematics: KinematicsSettings | None = None,
        collision: CollisionSettings | None = None,
        packages: Sequence[str] = (),
        called: Mapping[str, str] | None = None,
    ) -> None:
        """Read the URDF ``text``, by which columns are ``called`` otherwise than in ``names``.

        Raises ``InvalidSettingError`` where it does not fit.
        """
        settings = kinematics or KinematicsSettings()
        around = collision or CollisionSettings()
        self.names = names
        self._settings = settings
        calls = [(called or {}).get(name, name) for name in names]
        self.arm = arm = ArmModel(
            text,
            calls,
            settings.base,
            settings.tool,
            around.table,
            around.boxes,
            packages or around.packages,
        )
        axes = [name for name in names if name != GRIPPER]
        self._motion = [names.index(name) for name in axes]
        self._own = [names[calls.index(joint)] for joint in arm.joints]
        self._columns = [axes.index(name) for name in self._own]
        middle = np.clip((arm.low + arm.high) / 2, -np.pi, np.pi)
        self._home = self._pick(settings.posture, axes, middle)
        self._posture = self._home
        self.collisions = self._guard = None
        if around.margin:
            # Between the rows and in seams the arm may come a little nearer than at the rows.
            self.collisions, self._guard = (
                Collisions(arm, margin, self._home) for margin in (around.margin, around.margin / 2)
            )

    def about(self) -> str:
        """Return in words what is checked and what is left out."""
        found = [f'{len(self.arm.joints)} joints of the description: {", ".join(self.arm.joints)}']
        if self.collisions:
            found.append(f'{self.collisions.count} pairs of parts are kept apart')
            excused = ', '.join(f'{one} and {other}' for one, other in self.collisions.excused)
            found += [f'not {excused}, which touch at the posture'] if excused else []
        return '; '.join(found)

    def unchecked(self) -> str:
        """Return in words what should be checked and cannot be, '' for nothing."""
        if not self.collisions:
            return ''
        found = []
        if self.arm.absent_meshes:
            meshes = self.arm.absent_meshes
            more = f' and {len(meshes) - SHOWN} more' if len(meshes) > SHOWN else ''
            found.append(
                f'meshes are not found, and are no obstacle: {", ".join(meshes[:SHOWN])}{more}. '
                'Name the folder of their packages in collision.packages'
            )
        standing = [name for name in self.arm.standing if not is_gripper(name)]
        if standing:
            found.append(
                f'{", ".join(standing[:SHOWN])} of names move parts that are no part of the chain '
                'to kinematics.tool, and are checked as if they stood still'
            )
        if not self.collisions.count:
            found.append('no two parts of the description can collide: it has no shapes')
        return '; '.join(found)

    def rest(self, axes: np.ndarray) -> None:
        """Let redundant joints keep the posture at ``axes`` [M] where the settings have none."""
        if not self._settings.posture:
            self._posture = axes[self._columns]

    def begin(self, axes: np.ndarray) -> None:
        """Begin a motion at ``axes`` [M]: parts inside the margin there may only move apart."""
        if self._guard:
            self._guard.begin(axes[self._columns])

    def refuse(self, axes: np.ndarray) -> str | None:
        """Return why the arm must not stand at ``axes`` [M], or ``None``."""
        near = self._guard.near(axes[self._columns]) if self._guard else None
        return str(collision(0, near, 'the way on')) if near else None

    def check(self, chunk: ActionChunk, anchor: np.ndarray, ranges: Ranges) -> Checked:
        """Return ``chunk`` in joint rows up to where the arm can follow it.

        ``anchor`` [M] is the set-point of the axes that its observation saw. Before a row that the
        arm must not follow, the chunk slows down to stand at the end of the one before it.
        """
        if len(chunk.actions) > MAX_ROWS:
            return Checked(chunk)  # refused by all that it says
        if chunk.control_mode in JOINT_MODES:
            if chunk.names != self.names:
                return Checked(chunk)
            rows = self._joint_rows(chunk, anchor, ranges)
            finding = None
        else:
            refused = self._refuse_columns(chunk) or self._refuse_tool(chunk, anchor, ranges)
            if refused:
                return Checked(chunk, refused=refused)
            rows, finding = self._follow(chunk, anchor, ranges)
            chunk = self._in_joints(chunk, rows, anchor[self._columns])
        near = self._nearest(anchor[self._columns], rows)
        if near and (finding is None or not finding.stops or near.row < finding.row):
            finding = near
        if finding is None or not finding.stops:
            return Checked(chunk, finding)
        if finding.row == 0:
            return Checked(chunk, finding, str(finding))
        return Checked(stopped(chunk, finding.row, self._motion, anchor, ranges), finding)

    def _joint_rows(self, chunk: ActionChunk, anchor: np.ndarray, ranges: Ranges) -> np.ndarray:
        """Return where the arm's joints are at the end of the rows [H, M]."""
        rows = chunk.actions[:, self._motion].astype(np.float64)
        steps = relative(chunk)[self._motion]
        rows = knots_of(rows, steps, anchor, ranges.continuous)[1:]
        return rows[:, self._columns]

    def _refuse_columns(self, chunk: ActionChunk) -> str | None:
        others = [name for name in self.names if name not in self._own]
        turns = _turns(chunk)
        if chunk.names != (*POSITION, *(QUATERNION if turns else ()), *others):
            return (
                f'chunk has columns {", ".join(chunk.names)} in {chunk.control_mode.name}; '
                f'expected {", ".join((*POSITION, *others))}, with or without '
                f'{", ".join(QUATERNION)} after z, or {", ".join(self.names)} in a JOINT mode.'
            )
        if set(chunk.absolute) & {*POSITION, *QUATERNION}:
            return (
                f'chunk has the absolute columns {", ".join(chunk.absolute)} beside displacements; '
                'expected the tool to be moved by one of both. Send all of its pose alike.'
            )
        if turns and chunk.control_mode == ControlMode.EE_TWIST:
            return 'chunk turns by EE_TWIST; expected EE_DELTA, how far it turns in a row.'
        return None

    def _refuse_tool(self, chunk: ActionChunk, anchor: np.ndarray, ranges: Ranges) -> str | None:
        """Return why the rows can hardly be meant for the tool, or ``None``."""
        rows = chunk.actions[:, : 7 if _turns(chunk) else 3].astype(np.float64)
        if chunk.control_mode != ControlMode.EE_POSITION:
            twist = chunk.control_mode == ControlMode.EE_TWIST
            return refuse_steps(rows[:, :3] * (chunk.dt if twist else 1.0), chunk.dt)
        if not np.isfinite(ranges.first).all():
            return None
        place = pin.SE3ToXYZQUAT(self.arm.place(anchor[self._columns]))
        return refuse_pose(rows[0], rows[-1], place, chunk.dt, *ranges.first.tolist())

    def _follow(
        self, chunk: ActionChunk, anchor: np.ndarray, ranges: Ranges
    ) -> tuple[np.ndarray, Finding | None]:
        start = anchor[self._columns]
        place = self.arm.place(start)
        low, high, velocity = (
            values[self._columns] for values in (ranges.low, ranges.high, ranges.velocity)
        )
        way = Way(
            start,
            np.minimum(np.maximum(low, self.arm.low), start),
            np.maximum(np.minimum(high, self.arm.high), start),
            velocity,
            self._posture,
            chunk.dt,
            self._settings.orientation == 'keep' or _turns(chunk),
            self._settings.tolerance,
        )
        return follow(
            self.arm, places_of(chunk, place), way, chunk.control_mode == ControlMode.EE_POSITION
        )

    def _in_joints(self, chunk: ActionChunk, path: np.ndarray, start: np.ndarray) -> ActionChunk:
        """Return ``chunk`` with the joints' ``path`` [K, M] from ``start`` [M] on for the tool's.

        Rows that the path lacks stand at its end.
        """
        mode = TO_JOINTS[chunk.control_mode]
        whole = np.concatenate([start[None], path])
        rows = np.empty((len(chunk.actions), len(self.names)), np.float32)
        whole = np.concatenate([whole, np.tile(whole[-1], (len(rows) - len(path), 1))])
        joints = np.diff(whole, axis=0) if mode == ControlMode.JOINT_DELTA else whole[1:]
        of_joints = dict(zip(self._own, joints.T, strict=True))
        twist = chunk.control_mode == ControlMode.EE_TWIST
        for column, name in enumerate(self.names):
            if name in of_joints:
                rows[:, column] = of_joints[name]
                continue
            given = chunk.actions[:, chunk.names.index(name)]
            rows[:, column] = given * chunk.dt if twist and name != GRIPPER else given
        return replace(chunk, actions=rows, names=self.names, control_mode=mode, frame='base')

    def _nearest(self, start: np.ndarray, rows: np.ndarray) -> Finding | None:
        """Return the first of the ``rows`` [H, M] after ``start`` that is too near something."""
        if not self.collisions:
            return None
        self.collisions.begin(start)
        for row, joints in enumerate(rows):
            parts = min(int(np.abs(joints - start).max() / TURN) + 1, MOST_BETWEEN)
            for part in range(1, parts + 1):
                near = self.collisions.near(start + part / parts * (joints - start))
                if near:
                    return collision(row, near, f'row {row}')
            start = joints
        return None

    def _pick(self, values: tuple[float, ...], axes: list[str], default: np.ndarray) -> np.ndarray:
        """Return the joints of one value an axis or joint, or the ``default`` where none is."""
        if not values:
            return default
        given = np.array(values)
        if len(given) == len(axes):
            return given[self._columns]
        if len(given) == len(default):
            return given
        raise InvalidSettingError(
            f'kinematics.posture has {len(values)} values; expected one for each of '
            f'{", ".join(self.arm.joints)}.'
        )


def _turns(chunk: ActionChunk) -> bool:
    """Return whether the rows say how the tool turns."""
    return set(QUATERNION) <= set(chunk.names)
