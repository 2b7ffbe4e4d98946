# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The columns of a policy as the robot counts them: names, sign, offset, unit, range and rate.

Folders of other projects say in no word which joint a column is, or in what unit. The robot's
profile does, in the settings group ``joints``; ``joints_of`` checks it against the folder, and the
``Joints`` it returns converts at the edge of a stage: the robot's state [rad or m] before the
policy sees it, the policy's rows before the robot does. Rotations become unit quaternions, and rows
that count from the observation where to go.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from efficient_vla.columns import (
    GRIPPER,
    PER_SECOND,
    SCALES,
    ColumnLayout,
    Kind,
    Reference,
    kind_of,
)
from efficient_vla.joint_settings import (
    MODES,
    POSITIONS,
    REFERENCES,
    SPANS,
    UNITS,
    VELOCITY,
    JointSettings,
    block,
    is_gripper,
    with_quaternion,
)
from efficient_vla.poses import (
    Form,
    canonical,
    counted,
    counts_angles,
    from_quaternions,
    neutral,
    observed_names,
    observed_row,
    to_quaternions,
)
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import ControlMode, InvalidRecordError, RefusedChunkError

LARGEST_ANGLE = 4 * math.pi
"""More than two turns are rather degrees than radians."""
SMALLEST_DEGREES = math.pi
"""Where no joint moves by more degrees than half a turn has radians, they are rather radians."""
LARGEST_SHARE = 1.5
LARGEST_LENGTH = 10.0
"""No arm reaches so far [m]."""


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
    form: Form
    """Names and mode of the robot's rows; its actions are those of a robot that stays."""
    dt: float
    """Seconds one row lasts."""
    state: Columns
    action: Columns
    overshoot: float
    layout: ColumnLayout
    """Of the policy's rows in the robot's units."""
    turned: tuple[range, str] = (range(0), '')
    """Columns of the robot's state that are a quaternion, and how the policy sees them."""

    @property
    def action_names(self) -> tuple[str, ...]:
        """Of the robot's rows."""
        return self.form.names

    @property
    def control_mode(self) -> ControlMode:
        """Of the robot's rows."""
        return self.form.control_mode

    @property
    def meaning(self) -> dict[str, Any]:
        """What a chunk of the robot's rows is told of its columns."""
        return {name: value for name, value in self.form._asdict().items() if name != 'actions'}

    def state_to_policy(self, state: np.ndarray) -> np.ndarray:
        """Return the policy's state, float32 [S], for that of the robot [S'].

        Raises ``InvalidRecordError`` where a joint is beyond its calibrated range.
        """
        values = np.asarray(state, np.float64)
        places, rotation = self.turned
        if places:
            turned = from_quaternions(_unit(values[..., places]), rotation)
            before, after = values[..., : places.start], values[..., places.stop :]
            values = np.concatenate([before, turned, after], axis=-1)
        inside = self._inside(values, self.state, self.state_names, 'state')
        return ((inside - self.state.shift) / self.state.scale).astype(np.float32)

    def rows_to_robot(self, rows: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        """Return the robot's rows, float32 [H, A'], for those of the policy [H, A].

        ``state`` [S'] is that of the robot which the policy saw, for rows that count from it.
        Raises ``RefusedChunkError`` where a position is beyond its calibrated range.
        """
        moved = np.asarray(rows, np.float64) * self.action.scale + self.action.shift  # [H, A]
        moved = self._inside(moved, self.action, self.layout.names, 'chunk')
        if plain(self.layout):
            return moved.astype(np.float32)
        try:
            return canonical(self.layout, moved, self._start(state), self.dt).actions
        except InvalidRecordError as error:
            raise RefusedChunkError(str(error)) from error

    def rows_to_policy(self, rows: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        """Return the policy's rows, float32 [H, A], for those of the robot [H, A']."""
        there = np.asarray(rows, np.float64)
        if not plain(self.layout):
            there = counted(self.layout, there, self._start(state), self.dt)
        return ((there - self.action.shift) / self.action.scale).astype(np.float32)

    def _start(self, state: np.ndarray | None) -> np.ndarray | None:
        """Return where rows count from [A'], from the robot's state."""
        if state is None or Reference.OBSERVATION not in self.layout.references:
            return None
        start = self.form.actions[0].astype(np.float64)
        for place, name in enumerate(self.form.names):
            if name in self.state_names:
                start[place] = state[self.state_names.index(name)]
        return start

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
    def meaning(self) -> dict[str, Any]:
        """What a chunk is told of its columns."""
        return self.joints.meaning

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
    layout = layout_of_policy(settings)
    absolute = [reference == Reference.ABSOLUTE for reference in layout.references]
    action = _columns(settings, absolute)
    places = _columns(settings, [True] * columns)
    named = dict(zip(settings.names, zip(*places, strict=True), strict=True))
    as_counted = (1.0, 0.0, -math.inf, math.inf)
    for name, unit, there in zip(settings.names, settings.columns()[0], absolute, strict=True):
        # What a robot measures of a gripper that is driven by effort has an end of its own, and a
        # share of the way of a row is no share of where the robot is.
        if name == GRIPPER or (unit == 'signed_share' and not there):
            named[name] = as_counted
    given = _state_names(settings, states)
    turning = block(given, settings.state_rotation) if settings.state_rotation else range(0)
    names = with_quaternion(given, settings.state_rotation)
    stays = neutral(layout)
    try:
        form = canonical(layout, stays, observed_row(layout, stays[0]), 1 / settings.rate)
    except InvalidRecordError as error:
        raise InvalidSettingError(f'joints: {error}') from error
    if plain(layout) and settings.mode == 'ee_twist':
        form = form._replace(control_mode=ControlMode.EE_TWIST)
    missing = [name for name in observed_names(layout) if name not in names]
    if missing:
        raise InvalidSettingError(
            f'joints.reference counts from the observation, but the state has no '
            f'{", ".join(missing)}; expected where the robot was observed in every such column. '
            'Name them in joints.state_names, and set joints.state_rotation for a rotation.'
        )
    return Joints(
        state_names=names,
        form=form,
        dt=1 / settings.rate,
        state=Columns(*np.array([named.get(n, as_counted) for n in given], float).reshape(-1, 4).T),
        action=action,
        overshoot=settings.overshoot,
        layout=layout,
        turned=(range(turning.start, turning.start + 4 * bool(turning)), settings.state_rotation),
    )


def layout_of_policy(settings: JointSettings) -> ColumnLayout:
    """Return what the columns of a policy are once they are in the robot's units."""
    turning = block(settings.names, settings.rotation) if settings.rotation else range(0)
    moves = settings.mode.startswith('ee_')
    default = 'absolute' if settings.mode in POSITIONS else 'row'
    told = settings.reference or (default,)
    told = told * len(settings.names) if len(told) == 1 else told
    kinds, units, references = [], [], []
    for place, (name, word) in enumerate(zip(settings.names, told, strict=True)):
        kind = kind_of(name) if moves or name == GRIPPER else Kind.JOINT
        kind = Kind.ROTATION if place in turning else kind
        reference = Reference.ABSOLUTE if kind == Kind.GRIPPER else REFERENCES[word]
        angles = kind == Kind.ROTATION and counts_angles(settings.rotation)
        unit = {Kind.JOINT: 'rad', Kind.POSITION: 'm', Kind.GRIPPER: 'effort'}.get(kind, '1')
        speed = settings.mode in (VELOCITY, 'ee_twist') and reference == Reference.ROW
        kinds.append(kind)
        units.append(('rad' if angles else unit) + (PER_SECOND if speed else ''))
        references.append(reference)
    return ColumnLayout(
        settings.names,
        tuple(kinds),
        tuple(units),
        tuple(references),
        settings.rotation,
        settings.frame,
    )


def plain(layout: ColumnLayout) -> bool:
    """Return whether rows in the robot's units are those of the robot already."""
    speeds = any(unit.endswith(PER_SECOND) for unit in layout.units)
    return not (
        Kind.ROTATION in layout.kinds
        or Reference.OBSERVATION in layout.references
        or (speeds and Kind.JOINT in layout.kinds)
    )


def _unit(quaternions: np.ndarray) -> np.ndarray:
    """Return measured quaternions [..., 4], which have a length of about 1."""
    return to_quaternions(quaternions, 'quaternion_xyzw')


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
    columns = _columns(settings, [True] * len(learned))
    ends = np.array(learned, np.float64).T * columns.scale + columns.shift  # [2, N]
    return {
        name: (float(pair.min()), float(pair.max()))
        for name, pair, low in zip(settings.names, ends.T, columns.low, strict=True)
        if low == -math.inf
    }


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


def _columns(settings: JointSettings, absolute: Sequence[bool]) -> Columns:
    """Return the conversion of every column; those that are not ``absolute`` are displacements."""
    rows = []
    for there, unit, sign, offset, low, high in zip(absolute, *settings.columns(), strict=True):
        if unit == 'effort':
            rows.append((sign, 0.0, -1.0, 1.0))
            continue
        if unit in SPANS:
            first, last = SPANS[unit]
            scale = (high - low) / (last - first)
            row = (scale, low - first * scale, min(low, high), max(low, high))
        else:
            row = (sign * SCALES.get(unit, 1.0), offset, -math.inf, math.inf)
        rows.append(row if there else (row[0], 0.0, -math.inf, math.inf))
    return Columns(*np.array(rows, np.float64).T)
