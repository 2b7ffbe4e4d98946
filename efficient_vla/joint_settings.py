# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the profile of a robot says of the columns of a policy; ``joints.py`` converts by it."""

from collections.abc import Sequence
from dataclasses import dataclass

from efficient_vla.columns import FRAMES, GRIPPER, QUATERNION, SCALES, Reference
from efficient_vla.poses import counts_angles, refuse_representation, rotation_names
from efficient_vla.settings import setting
from efficient_vla.types import LONGEST_ROW, SHORTEST_ROW, ControlMode

GRIPPER_WORDS = (GRIPPER, 'jaw', 'finger')
SPANS = {
    'percent': (0.0, 100.0),
    'signed_percent': (-100.0, 100.0),
    'share': (0.0, 1.0),
    'signed_share': (-1.0, 1.0),
}
"""Unit that counts along a calibrated range -> its values at both ends."""
UNITS = (*SCALES, *SPANS, 'effort', '1')
VELOCITY = 'joint_velocity'
MODES = (*(mode.name.lower() for mode in ControlMode if mode), VELOCITY)
REFERENCES = {
    'absolute': Reference.ABSOLUTE,
    'row': Reference.ROW,
    'observation': Reference.OBSERVATION,
}
POSITIONS = ('joint_position', 'ee_position')
ROTATION_WORDS = {
    name
    for kind in ('rotation_vector', 'quaternion_xyzw', 'euler_xyz', 'euler_zyz', 'rows_6d')
    for name in rotation_names(kind)
}


def unnorm_key_setting() -> str:
    """Declare which of several statistics a folder has its numbers are scaled by."""
    return setting(
        '',
        'Group of statistics that state and actions are scaled by, where the folder of a policy '
        'has one for each of several datasets; empty: it has one.',
        read_only=True,
    )


@dataclass(frozen=True, slots=True)
class JointSettings:
    """What the robot's profile says of the columns of a policy that does not say it itself.

    Lists have one value for all columns, or one for each in the policy's order.
    """

    names: tuple[str, ...] = setting(
        (),
        "The robot's names of the columns of an action, in the policy's order, for folders that "
        'do not name them, such as those of LeRobot.',
        read_only=True,
        calibrated=True,
    )
    state_names: tuple[str, ...] = setting(
        (),
        "The robot's names of the columns of the policy's state, in its order; empty: those of "
        'joints.names. One that is also in joints.names is counted as there, any other as the '
        'robot counts.',
        read_only=True,
        calibrated=True,
    )
    unit: tuple[str, ...] = setting(
        (),
        'What the policy counts a column in. percent, signed_percent (-100 to 100), share (0 to '
        '1) and signed_share (-1 to 1) count along the range from joints.low to joints.high, '
        'signed_share of a displacement along that of a row; deg from where joints.offset is; '
        'effort is for the column gripper, from -1, open, to 1, closed, and so is a range from -1 '
        'to 1 or back; 1 is for quaternions and 6D.',
        choices=UNITS,
        read_only=True,
        calibrated=True,
    )
    sign: tuple[float, ...] = setting(
        (1.0,),
        '1, or -1 where the policy counts a column the other way round than the robot.',
        low=-1.0,
        high=1.0,
        read_only=True,
        calibrated=True,
    )
    offset: tuple[float, ...] = setting(
        (0.0,),
        "Where the robot is when the policy's column is 0. LeRobot counts the degrees of SO-100 "
        'and SO-101 from the middle of each calibrated range. Displacements take none.',
        unit='rad or m',
        low=-1e3,
        high=1e3,
        read_only=True,
        calibrated=True,
    )
    low: tuple[float, ...] = setting(
        (0.0,),
        'Where the robot is at the lower end of the range of a column that counts along one: at '
        '0 percent, closed for a gripper of LeRobot.',
        unit='rad or m',
        low=-1e3,
        high=1e3,
        read_only=True,
        calibrated=True,
    )
    high: tuple[float, ...] = setting(
        (0.0,),
        'Where the robot is at the upper end, at 100 percent; below joints.low where the robot '
        'counts the other way round.',
        unit='rad or m',
        low=-1e3,
        high=1e3,
        read_only=True,
        calibrated=True,
    )
    overshoot: float = setting(
        0.1,
        'A position, or an effort, this share of its range beyond an end is taken as that end; one '
        'further beyond is refused, and so is its chunk.',
        low=0.0,
        high=1.0,
        read_only=True,
        calibrated=True,
    )
    mode: str = setting(
        'unknown',
        'What a row is: joint_position and ee_position are where to go, joint_delta and ee_delta '
        'how far to go in a row, joint_velocity and ee_twist a velocity.',
        choices=('unknown', *MODES),
        read_only=True,
        calibrated=True,
    )
    reference: tuple[str, ...] = setting(
        (),
        'What a column counts from, one for all or one for each: absolute, row (from where the '
        'row before led) or observation (from where the robot was observed, as in UMI); empty: '
        'as joints.mode says. The column gripper is always absolute.',
        choices=tuple(REFERENCES),
        read_only=True,
        calibrated=True,
    )
    rotation: str = setting(
        '',
        'How columns say the rotation of the end effector: rotation_vector (rx ry rz), '
        'quaternion_xyzw or quaternion_wxyz (qx qy qz qw), euler_xyz about fixed axes or '
        'euler_XYZ about those of the body (roll pitch yaw; any order of letters), columns_6d, '
        'rows_6d or interleaved_6d (r1 to r6); empty: no column does. The robot is commanded by '
        'qx qy qz qw.',
        read_only=True,
        calibrated=True,
    )
    frame: str = setting(
        FRAMES[0],
        "What displacements of a pose are counted in: base, the robot's frame, or tool, that of "
        'the tool where they begin.',
        choices=FRAMES,
        read_only=True,
        calibrated=True,
    )
    state_rotation: str = setting(
        '',
        'How the state of the policy says the rotation of a robot that tells qx qy qz qw; one of '
        'those of joints.rotation; empty: its columns are as the robot tells them.',
        read_only=True,
        calibrated=True,
    )
    rate: float = setting(
        0.0,
        'Rows a second, as the policy was trained: the frames a second of its dataset. 0: nobody '
        'said it.',
        unit='Hz',
        low=0.0,
        high=1 / SHORTEST_ROW,
        read_only=True,
        calibrated=True,
    )

    def check(self) -> str | None:
        """Return why the set cannot work for any policy, or ``None``."""
        for name in ('names', 'state_names'):
            given = getattr(self, name)
            if len(set(given)) < len(given) or not all(map(str.strip, given)):
                return (
                    f'joints.{name} is {list(given)}; expected a name for each column, none empty '
                    'or twice. Correct them in the profile of the robot.'
                )
        for name in ('unit', 'sign', 'offset', 'low', 'high', 'reference'):
            given = getattr(self, name)
            few = 0 if name in ('unit', 'reference') else 1
            if len(given) not in {few, 1, len(self.names) or len(given)}:
                return (
                    f'joints.{name} has {len(given)} values for {len(self.names)} names; expected '
                    'one, or one for each. Correct it in the profile of the robot.'
                )
        if set(self.sign) - {-1.0, 1.0}:
            return f'joints.sign is {list(self.sign)}; expected 1 or -1 each. Correct it.'
        if 0 < self.rate < 1 / LONGEST_ROW:
            return f'joints.rate is {self.rate} Hz; expected at least {1 / LONGEST_ROW:.3g} Hz.'
        faults = (self._fault(*column) for column in zip(self.names, *self.columns(), strict=False))
        return next(filter(None, faults), None) or self._rotation_fault()

    def columns(self) -> tuple[tuple, ...]:
        """Return unit, sign, offset, low and high, each with a value for every name."""
        lists = (self.unit, self.sign, self.offset, self.low, self.high)
        return tuple(v * len(self.names) if len(v) == 1 else v for v in lists)

    @property
    def commanded(self) -> tuple[str, ...]:
        """Names of the robot's columns of an action."""
        return with_quaternion(self.names, self.rotation)

    @property
    def told(self) -> tuple[str, ...]:
        """Names of the robot's state."""
        return with_quaternion(self.state_names or self.names, self.state_rotation)

    def _fault(
        self, name: str, unit: str, sign: float, offset: float, low: float, high: float
    ) -> str | None:
        """Return what is wrong with one column."""
        spans = unit in SPANS and {low, high} == {-1.0, 1.0}
        if (name == GRIPPER) != (unit == 'effort') and not (name == GRIPPER and spans):
            return (
                f'joints.unit of {name} is {unit}; expected effort for a column named {GRIPPER}, '
                'which drives an effort from -1 to 1, and for no other. Where it is a position, '
                'call the joint jaw, in the driver and in controller.names too.'
            )
        if unit == 'deg' and is_gripper(name):
            return (
                f'joints.unit of {name} is deg; expected percent: LeRobot counts a gripper in '
                'percent of its range, 0 closed, also where all joints are in degrees. Set '
                'joints.unit to percent, and joints.low and joints.high to its range.'
            )
        if unit == 'effort' and offset != 0:
            return (
                f'joints.offset of {name} is {offset:g}; expected 0 for a column in effort, which '
                'is from -1, open, to 1, closed. Give one offset for each column.'
            )
        if unit not in SPANS:
            return None
        if low == high:
            return (
                f'joints.low and joints.high of {name} are both {low}; expected the ends of the '
                f'calibrated range that {unit} counts along. Measure them on the robot.'
            )
        if sign != 1 or offset != 0:
            return (
                f'joints.sign and joints.offset of {name} are {sign:g} and {offset:g}; expected 1 '
                f'and 0 for a column in {unit}. Say it by joints.low and joints.high.'
            )
        return None

    def _rotation_fault(self) -> str | None:
        """Return what is wrong with the columns of a rotation."""
        for what, rotation, names in (
            ('', self.rotation, self.names),
            ('state_', self.state_rotation, self.state_names or self.names),
        ):
            refused = refuse_representation(rotation) if rotation else None
            if refused:
                return f'joints.{what}{refused}'
            if rotation and names and not block(names, rotation):
                return (
                    f'joints.{what}rotation is {rotation} for the columns {", ".join(names)}; '
                    f'expected {", ".join(rotation_names(rotation))} among them, side by side.'
                )
        moves = self.mode.startswith('ee_')
        if self.rotation and self.mode != 'unknown' and not moves:
            return (
                f'joints.rotation is {self.rotation} while joints.mode is {self.mode}; expected an '
                'ee mode for a policy that turns the end effector. Correct one of them.'
            )
        turning = [name for name in self.names if name in ROTATION_WORDS]
        if moves and turning and not self.rotation:
            return (
                f'joints.rotation is empty while joints.names has {", ".join(turning)}; expected '
                'how these columns say a rotation. Set it, for example to euler_xyz.'
            )
        places = block(self.names, self.rotation) if self.rotation else range(0)
        _, signs, offsets, _, _ = columns = self.columns()
        for place in places if all(columns) else ():
            unit = columns[0][place]
            if (unit == '1') == counts_angles(self.rotation) or unit in ('m', 'mm', 'effort'):
                return (
                    f'joints.unit of {self.names[place]} is {unit}; expected rad or deg, or a '
                    f'share of them, for angles, and 1 for quaternions and 6D. Correct it.'
                )
            if signs[place] != 1 or offsets[place] != 0:
                return (
                    f'joints.sign and joints.offset of {self.names[place]} are {signs[place]:g} '
                    f'and {offsets[place]:g}; expected 1 and 0 for a part of a rotation.'
                )
        return None


def is_gripper(name: str) -> bool:
    """Return whether a column of that name is a gripper."""
    return any(word in name.lower() for word in GRIPPER_WORDS)


def with_quaternion(names: tuple[str, ...], rotation: str) -> tuple[str, ...]:
    """Return the robot's names of columns, some of which may be a rotation."""
    turning = block(names, rotation) if rotation else range(0)
    return (*names[: turning.start], *QUATERNION, *names[turning.stop :]) if turning else names


def block(names: Sequence[str], rotation: str) -> range:
    """Return the columns of a rotation, none where they do not stand side by side in its order."""
    wanted = rotation_names(rotation)
    first = names.index(wanted[0]) if wanted[0] in names else 0
    there = tuple(names[first : first + len(wanted)]) == wanted
    return range(first, first + len(wanted)) if there else range(0)
