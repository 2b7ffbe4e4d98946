# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The columns of a policy as the robot counts them: names, sign, offset, unit, range and rate.

Folders of other projects say in no word which joint a column is, or in what unit. The robot's
profile does, in the settings group ``joints``; ``joints_of`` checks it against the folder, and the
``Joints`` it returns converts at the edge of a stage: the robot's state [rad or m] before the
policy sees it, the policy's rows before the robot does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from efficient_vla.settings import InvalidSettingError, setting
from efficient_vla.types import (
    LONGEST_ROW,
    SHORTEST_ROW,
    ControlMode,
    InvalidRecordError,
    RefusedChunkError,
)

GRIPPER = 'gripper'
"""Name of a column that is an effort for the controller, from -1, open, to 1, closed."""
GRIPPER_WORDS = (GRIPPER, 'jaw', 'finger')
SCALES = {'rad': 1.0, 'deg': math.pi / 180, 'm': 1.0, 'mm': 1e-3}
"""Unit of a column -> the robot's unit [rad or m] in one of it."""
SPANS = {'percent': (0.0, 100.0), 'signed_percent': (-100.0, 100.0), 'share': (0.0, 1.0)}
"""Unit that counts along a calibrated range -> its values at both ends."""
UNITS = (*SCALES, *SPANS, 'effort')
MODES = tuple(mode.name.lower() for mode in ControlMode if mode)
LARGEST_ANGLE = 4 * math.pi
"""More than two turns are rather degrees than radians."""
SMALLEST_DEGREES = math.pi
"""Where no joint moves by more degrees than half a turn has radians, they are rather radians."""
LARGEST_SHARE = 1.5
LARGEST_LENGTH = 10.0
"""No arm reaches so far [m]."""
POSITIONS = ('joint_position', 'ee_position')


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
        'What the policy counts a column in. percent, signed_percent (-100 to 100) and share (0 '
        'to 1) count along the range from joints.low to joints.high; deg from where '
        'joints.offset is; effort is for the column gripper, from -1, open, to 1, closed, with '
        'joints.sign 1.',
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
        'how far to go in a row, ee_twist a velocity.',
        choices=('unknown', *MODES),
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
        for name in ('unit', 'sign', 'offset', 'low', 'high'):
            given = getattr(self, name)
            few = 0 if name == 'unit' else 1
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
        return next(filter(None, faults), None)

    def columns(self) -> tuple[tuple, ...]:
        """Return unit, sign, offset, low and high, each with a value for every name."""
        lists = (self.unit, self.sign, self.offset, self.low, self.high)
        return tuple(v * len(self.names) if len(v) == 1 else v for v in lists)

    def _fault(
        self, name: str, unit: str, sign: float, offset: float, low: float, high: float
    ) -> str | None:
        """Return what is wrong with one column."""
        if (name == GRIPPER) != (unit == 'effort'):
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


class Columns(NamedTuple):
    """Robot = scale * policy + shift, and the ends of what a range allows, [N] each."""

    scale: np.ndarray
    shift: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Joints:
    """What ``joints_of`` found to fit: the robot's side of a policy's columns."""

    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    control_mode: ControlMode
    dt: float
    """Seconds one row lasts."""
    state: Columns
    action: Columns
    overshoot: float

    def state_to_policy(self, state: np.ndarray) -> np.ndarray:
        """Return the policy's state, float32 [S], for that of the robot [S].

        Raises ``InvalidRecordError`` where a joint is beyond its calibrated range.
        """
        inside = self._inside(np.asarray(state, np.float64), self.state, self.state_names, 'state')
        return ((inside - self.state.shift) / self.state.scale).astype(np.float32)

    def rows_to_robot(self, rows: np.ndarray) -> np.ndarray:
        """Return the robot's rows, float32 [H, A], for those of the policy [H, A].

        Raises ``RefusedChunkError`` where a position is beyond its calibrated range.
        """
        moved = np.asarray(rows, np.float64) * self.action.scale + self.action.shift  # [H, A]
        return self._inside(moved, self.action, self.action_names, 'chunk').astype(np.float32)

    def rows_to_policy(self, rows: np.ndarray) -> np.ndarray:
        """Return the policy's rows, float32 [H, A], for those of the robot [H, A]."""
        there = np.asarray(rows, np.float64) - self.action.shift
        return (there / self.action.scale).astype(np.float32)

    def _inside(
        self, values: np.ndarray, columns: Columns, names: Sequence[str], what: str
    ) -> np.ndarray:
        ranged = np.isfinite(columns.low)
        room = np.zeros(len(ranged))
        room[ranged] = self.overshoot * (columns.high - columns.low)[ranged]
        beyond = (values < columns.low - room) | (values > columns.high + room)
        if beyond.any():
            place = tuple(np.argwhere(beyond)[0])
            column = place[-1]
            kind = RefusedChunkError if what == 'chunk' else InvalidRecordError
            raise kind(
                f'{what} has {values[place]:.4g} for {names[column]}; expected '
                f'{columns.low[column]:.4g} to {columns.high[column]:.4g}, the calibrated range, '
                f'or at most {self.overshoot:g} of it beyond. Correct joints.low and joints.high, '
                'or use the policy of this robot.'
            )
        return np.clip(values, columns.low, columns.high)


class JointSpace:
    """What a space of an actor says of the robot's side; see ``action.stage.Space``."""

    __slots__ = ()
    joints: Joints

    @property
    def state_names(self) -> tuple[str, ...]:
        """Of the robot's state."""
        return self.joints.state_names

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of a chunk."""
        return self.joints.action_names

    @property
    def control_mode(self) -> ControlMode:
        """What a row means."""
        return self.joints.control_mode

    @property
    def dt(self) -> float:
        """Seconds one row lasts."""
        return self.joints.dt


def joints_of(
    settings: JointSettings, states: int, columns: int, features: Sequence[str] = ()
) -> Joints:
    """Return the conversion for a policy with so many columns of state and of action.

    ``features`` are the columns of an action as the folder names them, where it does.
    Raises ``InvalidSettingError`` with the first of ``faults``.
    """
    wrong = faults(settings, states, columns, features)
    if wrong:
        raise InvalidSettingError(wrong[0])
    absolute = settings.mode in POSITIONS
    action = _columns(settings, positions=absolute)
    places = _columns(settings, positions=True)
    named = dict(zip(settings.names, zip(*places, strict=True), strict=True))
    # What a robot measures of a gripper that is driven by effort has an end of its own.
    named[GRIPPER] = as_counted = (1.0, 0.0, -math.inf, math.inf)
    names = _state_names(settings, states)
    state = [named.get(name, as_counted) for name in names]
    return Joints(
        state_names=names,
        action_names=settings.names,
        control_mode=ControlMode[settings.mode.upper()],
        dt=1 / settings.rate,
        state=Columns(*np.array(state, np.float64).reshape(-1, 4).T),
        action=action,
        overshoot=settings.overshoot,
    )


def faults(
    settings: JointSettings, states: int, columns: int, features: Sequence[str] = ()
) -> list[str]:
    """Return why ``joints`` does not say what a policy needs, a sentence each; arguments as there.

    Empty: ``joints_of`` returns the conversion.
    """
    found = []
    names = settings.names
    told = f' ({", ".join(features)})' if features else ''
    if not names:
        found.append(
            f'joints.names is empty; expected a joint of the robot for each of the {columns} '
            f'columns of an action{told}, in their order. Choose the profile of the robot, or set '
            'it.'
        )
    elif len(names) != columns:
        found.append(
            f'joints.names has {len(names)} names ({", ".join(names)}) for the {columns} columns '
            f'of an action{told}; expected one a column. Use the policy of this robot, or its own '
            'profile.'
        )
    else:
        found += _misplaced(names, features)
    given = settings.state_names or names
    if given and states and len(given) != states:
        found.append(
            f'the state of the policy has {states} columns for the names {", ".join(given)}; '
            'expected one a column. Set joints.state_names.'
        )
    if not settings.unit:
        found.append(
            f'joints.unit is empty; expected one of {", ".join(UNITS)} for each '
            'column. SO-100 and SO-101: deg for the joints, percent for the gripper.'
        )
    elif names and len(features) == len(names):
        for name, feature, unit in zip(names, features, settings.columns()[0], strict=True):
            if unit == 'deg' and is_gripper(feature):
                found.append(
                    f'joints.unit of {name} is deg while the folder calls the column {feature}; '
                    'expected percent, which LeRobot counts a gripper in. Set joints.unit.'
                )
    if settings.mode == 'unknown':
        found.append(
            f'joints.mode is unknown; expected one of {", ".join(MODES)}. Policies of LeRobot '
            'give positions, joint_position, unless their dataset held displacements.'
        )
    if settings.rate == 0:
        found.append(
            'joints.rate is 0; expected the rows a second that the policy was trained on, which '
            'its folder does not say: the frames a second (fps) of its dataset. Set it.'
        )
    reason = settings.check()
    return [*found, reason] if reason else found


def doubts(settings: JointSettings, learned: Sequence[tuple[float, float]]) -> list[str]:
    """Return which units do not look like those of the numbers that a policy learned.

    ``learned`` are least and greatest of each column, in the policy's units. Only the person who
    recorded them knows, so that nothing is refused.
    """
    if not learned or len(learned) != len(settings.names) or settings.mode not in POSITIONS:
        return []
    found = []
    units, ends = settings.columns()[0], [max(map(abs, pair)) for pair in learned]
    turning = [end for unit, end in zip(units, ends, strict=False) if unit == 'deg']
    for name, unit, (low, high), end in zip(settings.names, units, learned, ends, strict=False):
        likely = ''
        if unit == 'rad' and end > LARGEST_ANGLE:
            likely = 'deg'
        elif unit == 'deg' and max(turning) < SMALLEST_DEGREES:
            likely = 'rad'
        elif unit in ('percent', 'signed_percent') and end <= LARGEST_SHARE:
            likely = 'share'
        elif unit == 'share' and end > LARGEST_SHARE:
            likely = 'percent' if low > -LARGEST_SHARE else 'signed_percent'
        elif unit == 'm' and end > LARGEST_LENGTH:
            likely = 'mm'
        if likely:
            found.append(
                f'joints.unit of {name} is {unit}, but the policy learned numbers from {low:.3g} '
                f'to {high:.3g} there, as {likely} has them. Set joints.unit to {likely}, unless '
                'you know better.'
            )
    return found


def learned_positions(
    settings: JointSettings, learned: Sequence[tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Return least and greatest position of each column in the robot's unit [rad or m].

    ``learned`` are those of each column in the policy's units. Columns that count along a range,
    efforts and displacements are left out.
    """
    if len(learned) != len(settings.names) or settings.mode not in POSITIONS:
        return {}
    columns = _columns(settings, positions=True)
    ends = np.array(learned, np.float64).T * columns.scale + columns.shift  # [2, N]
    return {
        name: (float(pair.min()), float(pair.max()))
        for name, pair, low in zip(settings.names, ends.T, columns.low, strict=True)
        if low == -math.inf
    }


def is_gripper(name: str) -> bool:
    """Return whether a column of that name is a gripper."""
    return any(word in name.lower() for word in GRIPPER_WORDS)


def _misplaced(names: Sequence[str], features: Sequence[str]) -> list[str]:
    """Return that a joint stands where the folder has another one of its own."""
    plain = [_plain(feature) for feature in features]
    if len(plain) != len(names):
        return []
    for index, name in enumerate(names):
        word = _plain(name)
        if word in plain and plain.index(word) != index:
            return [
                f'joints.names has {name} in column {index + 1}, where the folder has '
                f'{features[index]}; expected the order {", ".join(features)}. Reorder '
                'joints.names, with unit, sign, offset, low and high.'
            ]
    return []


def _plain(name: str) -> str:
    """Return a name without what projects add to it: ``elbow_flex.pos``, ``elbow_flex_joint``."""
    return name.lower().removesuffix('.pos').removesuffix('_joint')


def _state_names(settings: JointSettings, states: int) -> tuple[str, ...]:
    return (settings.state_names or settings.names) if states else ()


def _columns(settings: JointSettings, positions: bool) -> Columns:
    """Return the conversion of every column, of positions or of displacements."""
    rows = []
    for unit, sign, offset, low, high in zip(*settings.columns(), strict=True):
        if unit == 'effort':
            rows.append((sign, 0.0, -1.0, 1.0))
            continue
        if unit in SPANS:
            first, last = SPANS[unit]
            scale = (high - low) / (last - first)
            row = (scale, low - first * scale, min(low, high), max(low, high))
        else:
            row = (sign * SCALES[unit], offset, -math.inf, math.inf)
        rows.append(row if positions else (row[0], 0.0, -math.inf, math.inf))
    return Columns(*np.array(rows, np.float64).T)
