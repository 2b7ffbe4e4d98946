# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The five records that flow through the graph, each with the capture time of its camera frame.

Times are seconds of the clock that stamped the camera frame; lengths are metres. A capture time
that came from a message is a ``Stamp`` and leaves the graph with all its nanoseconds. Every record
checks itself when it is made, so a stage that receives one may rely on its shapes.
"""

import math
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from numbers import Real
from typing import Any

import numpy as np


class ControlMode(IntEnum):
    """What the axes of an action chunk mean; ``columns.layout_of`` says it column by column.

    Axes of the end effector are ``x y z qx qy qz qw``; others may stand beside them, such as the
    width of a gripper. A column ``gripper`` is an effort in [-1, 1] whatever the mode.
    """

    UNKNOWN = 0
    EE_DELTA = 1
    """End-effector displacement of one step of ``dt`` [m], and how far it turns."""
    EE_POSITION = 2
    """Absolute position [m] and rotation of the end effector."""
    JOINT_POSITION = 3
    """Absolute joint positions [rad or m]."""
    JOINT_DELTA = 4
    """Joint displacement of one step of ``dt`` [rad or m]."""
    EE_TWIST = 5
    """End-effector velocity [m/s], without rotation."""


class InvalidRecordError(ValueError):
    """A record breaks its contract; the message names value, expectation and remedy."""


class RefusedChunkError(InvalidRecordError):
    """What a policy wants leaves the robot's range; its next chunk may not."""


class Stamp(float):
    """A time in seconds that still knows its nanoseconds, which a float64 of today rounds to 256.

    What is computed from it is a plain float again: a stamp is handed on as it came.
    """

    __slots__ = ('nanoseconds',)
    nanoseconds: int

    def __new__(cls, nanoseconds: int) -> 'Stamp':
        """Return the stamp of an integer time."""
        stamp = super().__new__(cls, nanoseconds / 10**9)
        stamp.nanoseconds = nanoseconds
        return stamp

    def __getnewargs__(self) -> tuple[int]:  # type: ignore[override]
        """Copy by the nanoseconds."""
        return (self.nanoseconds,)


def to_nanoseconds(seconds: float) -> int:
    """Return the exact time of a ``Stamp``, the nearest one of any other number."""
    return seconds.nanoseconds if isinstance(seconds, Stamp) else round(seconds * 1e9)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InvalidRecordError(message)


def _require_finite(name: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise InvalidRecordError(
            f'{name} holds {bad} values that are not finite; expected finite numbers only. '
            'Check the sender.'
        )


def _described(given: Any) -> str:
    """Return type and shape of an array, or the type of what is none."""
    return f'{given.dtype} {given.shape}' if isinstance(given, np.ndarray) else type(given).__name__


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """All cameras and the robot state at one capture time."""

    images: dict[str, np.ndarray]
    """Camera name -> image, uint8, rgb, [rows, columns, 3]. The order is the policy's."""
    state: np.ndarray
    """Proprioception, float32, [S]; meaning and units are those of the policy's card."""
    stamp: float
    """Capture time [s]."""

    def __post_init__(self) -> None:
        for camera, image in self.images.items():
            _require(
                isinstance(image, np.ndarray)
                and (image.dtype, image.ndim, image.shape[-1:]) == (np.uint8, 3, (3,)),
                f'image of camera {camera!r} is {_described(image)}; expected uint8 '
                '[rows, columns, 3] in rgb order. Convert it before it enters the graph.',
            )
            _require(
                min(image.shape[:2]) >= MIN_IMAGE_SIDE and max(image.shape[:2]) <= MAX_IMAGE_SIDE,
                f'image of camera {camera!r} is {image.shape[1]}x{image.shape[0]} pixels; expected '
                f'at least {MIN_IMAGE_SIDE} a side and at most {MAX_IMAGE_SIDE}. Check the camera '
                'driver.',
            )
        state = self.state
        _require(
            isinstance(state, np.ndarray) and state.ndim == 1 and state.dtype.kind in 'iuf',
            f'robot state is {_described(state)}; expected a vector of numbers.',
        )
        _require_finite('robot state', state)
        if not (np.abs(state) <= LARGEST_STATE).all():  # the sentence takes longer than the test
            raise InvalidRecordError(
                f'robot state is {state}; expected at most {LARGEST_STATE:g} each. Check its units.'
            )
        _require(
            isinstance(self.stamp, Real) and math.isfinite(self.stamp),
            f'frame has stamp {self.stamp}; expected a finite number of seconds.',
        )


LARGEST_STATE = 1e12
"""More is no length, angle or force, and its square does not fit into float32 once normalised."""
MIN_IMAGE_SIDE = 16
"""An image smaller than one patch of the coarsest supported vision tower carries nothing."""
MAX_IMAGE_SIDE = 8192
"""One of few long rows would become a square of gigabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class VisualTokens:
    """Token features and the sorted map from each token to its place in the images.

    The map (``camera``, ``row``, ``column``, ``position``) travels with the tokens through every
    stage, and ``position`` strictly increases: no stage reorders tokens.
    """

    features: np.ndarray
    """float32, [N, D], in the width of the language model."""
    camera: np.ndarray
    """int32, [N], index into the policy's camera list."""
    row: np.ndarray
    """int32, [N], row of the token in its camera's grid."""
    column: np.ndarray
    """int32, [N]."""
    position: np.ndarray
    """int32, [N], position id in the language model, strictly increasing."""
    age: np.ndarray
    """float32, [N], seconds since the token was computed; 0 for fresh tokens."""
    grid: tuple[int, int]
    """Rows and columns of the full token grid of one camera, over all of its tiles."""
    stamp: float
    """Capture time of the frame [s]."""
    epoch: int = 0
    """Rises whenever caches were invalidated; tokens of two epochs are not comparable."""
    latency_ms: float = 0.0
    """Time the stage took for this frame [ms]."""
    refresh_reason: str = ''
    """Why tokens were recomputed, or empty when they were reused."""
    contour: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32, [N], share of edge pixels in the token's part of the image; [0]: not computed."""
    saliency: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32, [N], attention received in the vision tower's last layer, mean over heads and
    queries; sums to 1 over the whole grid of a camera; [0]: not computed."""

    def __post_init__(self) -> None:
        count = len(self.features)
        _require(
            self.features.ndim == 2 and count > 0,
            f'token features have shape {self.features.shape}; expected [N, D] with N > 0.',
        )
        for name in ('camera', 'row', 'column', 'position', 'age'):
            values = getattr(self, name)
            _require(
                values.shape == (count,),
                f'{name} has shape {values.shape}; expected one value for each of {count} tokens.',
            )
        for name, side in zip(('row', 'column'), self.grid, strict=True):
            values = getattr(self, name)
            _require(
                values.min() >= 0 and values.max() < side,
                f'{name} goes from {values.min()} to {values.max()}; expected 0 to {side - 1}, '
                f'inside the grid {self.grid}.',
            )
        _require(
            bool((np.diff(self.position) > 0).all()),
            'token positions are not strictly increasing; a stage reordered tokens.',
        )
        for name in ('contour', 'saliency'):
            values = getattr(self, name)
            _require(
                values.shape in ((count,), (0,)),
                f'{name} has shape {values.shape}; expected one value for each of {count} tokens, '
                'or none at all.',
            )
            _require_finite(name, values)
        _require_finite('token features', self.features)

    @property
    def reused(self) -> np.ndarray:
        """Which tokens come from an earlier frame, bool, [N]."""
        return self.age > 0


def grid_map(count: int, grid: tuple[int, int]) -> dict[str, Any]:
    """Return the map of ``VisualTokens`` for all tokens of each camera's ``grid``, [count] each."""
    rows, columns = grid
    token = np.arange(count, dtype=np.int32)
    camera, cell = np.divmod(token, rows * columns)
    row, column = np.divmod(cell, columns)
    return {'camera': camera, 'row': row, 'column': column, 'position': token}


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What the slow reasoner decided: last hidden states of its action queries, or a prefix."""

    latents: np.ndarray
    """float32, [Q, D]; of a plan of keys and values its last row, [1, D]."""
    instruction: str
    stamp: float
    """Capture time of the frame that the plan is about [s]."""
    valid_for: float
    """The plan must not drive the robot later than ``stamp + valid_for`` [s]."""
    sequence: int = 0
    text: str = ''
    """Reasoning in words, or empty where the policy has none."""
    text_age: float = 0.0
    """Time since the frame that the text is about [s]."""
    subtask: str = ''
    """Sentence that the decoder read in place of the instruction; empty: the instruction."""
    subgoal: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32, [3], position the gripper goes to next [m], or [0] where the policy has none."""
    subgoal_age: float = 0.0
    """Time since the frame that the subgoal is about [s]."""
    kept: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """Position ids of the visual tokens that reached the last layer, sorted."""
    tokens_total: int = 0
    """Visual tokens that entered the reasoner."""
    latency_ms: float = 0.0
    reused: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """int32, position ids of tokens whose keys and values came from an earlier frame, sorted."""
    reused_age: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32, seconds since those keys and values were computed, one for each of ``reused``."""
    protected: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """int32, position ids of the tokens of ``kept`` that stayed because they are protected."""
    reason: str = ''
    """Why tokens were kept or dropped this time; empty where no technique is active."""
    saved_ms: float = math.nan
    """Median time of recent full passes minus that of this pass [ms]; NaN until one is known."""
    cache: Any = None
    """Keys and values that an action expert attends to, an ``attention.PrefixCache``, handed on by
    reference inside one process and never in a message; ``None`` where the latents say it all."""

    def __post_init__(self) -> None:
        _require(
            self.latents.ndim == 2 and len(self.latents) > 0,
            f'plan latents have shape {self.latents.shape}; expected [Q, D] with Q > 0.',
        )
        _require(
            self.valid_for > 0, f'plan is valid for {self.valid_for} s; expected a time above 0.'
        )
        _require_finite('plan latents', self.latents)
        _require(
            self.subgoal.shape in ((0,), (3,)),
            f'subgoal of a plan has shape {self.subgoal.shape}; expected [3] or [0].',
        )
        _require_finite('subgoal of a plan', self.subgoal)
        _require(
            self.text_age >= 0 and self.subgoal_age >= 0,
            f'text and subgoal of a plan are {self.text_age} s and {self.subgoal_age} s old; '
            'expected ages of at least 0. Synchronise the clocks.',
        )
        for name in ('kept', 'reused', 'protected'):
            values = getattr(self, name)
            _require(
                values.ndim == 1 and bool((np.diff(values) > 0).all()),
                f'{name} position ids of a plan are not strictly increasing; a stage reordered '
                'tokens or named one twice.',
            )
        _require(
            self.reused_age.shape == self.reused.shape,
            f'plan has {self.reused_age.size} ages for {self.reused.size} reused tokens; expected '
            'one age a token. Check the sender.',
        )
        _require_finite('ages of reused tokens', self.reused_age)
        _require(
            bool((self.reused_age >= 0).all()),
            f'plan reuses keys and values that are {self.reused_age.min(initial=0.0)} s old; '
            'expected ages of at least 0. Synchronise the clocks.',
        )
        _require(
            not self.protected.size or bool(np.isin(self.protected, self.kept).all()),
            'plan protects tokens that it has not kept; expected protected to be among kept. '
            'Check the sender.',
        )
        _require(
            not math.isinf(self.saved_ms),
            f'plan saved {self.saved_ms} ms; expected a finite time, or NaN where it is not known.',
        )

    @property
    def sentence(self) -> str:
        """What the plan was made to do: the subtask, or the instruction."""
        return self.subtask or self.instruction


MAX_ROWS = 512
"""Longest chunk; laying out the path of a longer one would keep the control loop waiting."""
SHORTEST_ROW, LONGEST_ROW = 5e-4, 60.0
"""Duration of a row [s]: shorter, it says nothing to a control loop; longer, nothing moves."""


@dataclass(frozen=True, slots=True, eq=False)
class ActionChunk:
    """Future actions on a regular time grid that starts at the observation.

    Row ``k`` acts from ``stamp + k * dt`` to ``stamp + (k + 1) * dt``.
    """

    actions: np.ndarray
    """float32, [H, A], meaning and units by ``control_mode`` and names."""
    dt: float
    """Seconds one row lasts."""
    names: tuple[str, ...]
    """One name a column."""
    control_mode: ControlMode
    stamp: float
    """Capture time of the observation that the chunk was computed from [s]."""
    sequence: int = 0
    plan_sequence: int = 0
    plan_stamp: float = 0.0
    """Capture time of the frame behind the plan [s]."""
    plan_valid_for: float = math.inf
    """The chunk must not drive the robot later than ``plan_stamp + plan_valid_for`` [s]."""
    instruction: str = ''
    """What the chunk was made for; empty where that is unknown."""
    latency_ms: float = 0.0
    steps: int = 0
    """Passes through the network of the action head; 0 where that is unknown."""
    delay: int = 0
    """First rows that the head took as certain to be executed from the chunk before."""
    note: str = ''
    """What was mended in the output of the head; empty: nothing."""
    frame: str = 'base'
    """Of displacements of a pose: 'base', a row moves by x y z and turns about the axes of the
    robot's frame, or 'tool', about those of the tool."""
    absolute: tuple[str, ...] = ()
    """Columns that are absolute although the mode counts from the row before."""

    @classmethod
    def of(cls, plan: Plan, frame: Frame, /, **told: Any) -> 'ActionChunk':
        """Return the chunk that follows a plan and a frame; ``told`` has the other fields."""
        return cls(
            stamp=frame.stamp,
            plan_sequence=plan.sequence,
            plan_stamp=plan.stamp,
            plan_valid_for=plan.valid_for,
            instruction=plan.instruction,
            **told,
        )

    def __post_init__(self) -> None:
        _require(
            self.actions.ndim == 2 and len(self.actions) > 0,
            f'action chunk has shape {self.actions.shape}; expected [H, A] with H > 0.',
        )
        _require(
            self.actions.shape[1] == len(self.names),
            f'action chunk has {self.actions.shape[1]} columns for the names {self.names}; '
            'expected one name a column.',
        )
        _require(self.dt > 0, f'action chunk has dt {self.dt} s; expected a time above 0.')
        _require(
            self.plan_valid_for > 0,
            f'action chunk has a plan that is valid for {self.plan_valid_for} s; expected a time '
            'above 0.',
        )
        _require(
            self.control_mode != ControlMode.UNKNOWN,
            'action chunk has no control mode; expected one of '
            f'{[mode.name for mode in ControlMode if mode]}.',
        )
        _require_finite('action chunk', self.actions)
        self._check_columns()

    def _check_columns(self) -> None:
        relative = self.control_mode in (ControlMode.EE_DELTA, ControlMode.JOINT_DELTA)
        _require(
            not self.absolute or (relative and set(self.absolute) <= set(self.names)),
            f'action chunk in {self.control_mode.name} has the absolute columns {self.absolute}; '
            f'expected some of {self.names}, beside displacements.',
        )
        pose = {'x', 'y', 'z', *QUATERNION} <= set(self.names)
        tool = self.control_mode == ControlMode.EE_DELTA and pose
        _require(
            self.frame == 'base' or (self.frame == 'tool' and tool),
            f'action chunk in {self.control_mode.name} has the frame {self.frame!r}; expected '
            'base, or tool for displacements of a whole pose.',
        )
        turns = [name for name in QUATERNION if name in self.names]
        if not turns or self.control_mode in (ControlMode.JOINT_DELTA, ControlMode.JOINT_POSITION):
            return
        _require(
            self.control_mode != ControlMode.EE_TWIST,
            'action chunk turns by EE_TWIST; expected EE_DELTA, how far it turns in a row.',
        )
        first = self.names.index(turns[0])
        _require(
            self.names[first : first + 4] == QUATERNION,
            f'action chunk has the columns {self.names}; expected qx, qy, qz, qw side by side.',
        )
        lengths = np.linalg.norm(self.actions[:, first : first + 4], axis=1)
        worst = float(lengths[np.abs(lengths - 1).argmax()])
        _require(
            abs(worst - 1) <= UNIT_TOLERANCE,
            f'action chunk has a quaternion of length {worst:.6g}; expected 1. Normalise it.',
        )

    @property
    def end(self) -> float:
        """Time at which the last row ends [s]."""
        return self.stamp + len(self.actions) * self.dt


QUATERNION = ('qx', 'qy', 'qz', 'qw')
"""Columns of a rotation, in their order."""
UNIT_TOLERANCE = 1e-3
"""Rounding of a unit quaternion."""


class HeadHelp(Enum):
    """What a blending asks of the head, so that a chunk continues the one before."""

    NONE = 'none'
    INPAINT = 'inpaint'
    """Rows of the chunk before are inpainted while the chunk is made (RTC, arXiv 2506.07339)."""
    PREFIX = 'prefix'
    """Rows that will be executed anyway are given (training-time RTC, arXiv 2512.05964)."""


@dataclass(frozen=True, slots=True)
class Execution:
    """How a controller executes its newest chunk."""

    stamp: float
    """Capture time of the observation behind the chunk [s]."""
    time: float
    """When this was so [s]."""
    row: float
    """Rows that were over then, as the state of the robot shows it."""
    time_scale: float
    """Seconds of the chunk that pass in a second: 1, less where it is slowed, 0 where it stands."""
    delay: float
    """Rows of the chunk before that were executed between the observation of this one and its
    arrival; NaN where no chunk moved the robot then."""
    blending: str
    """Method by which the controller joins chunks."""
    help: HeadHelp = HeadHelp.NONE
    """What that asks of the head."""

    def __post_init__(self) -> None:
        _require(
            math.isfinite(self.row) and self.row >= 0,
            f'execution of a chunk is at row {self.row}; expected a finite number from 0 up.',
        )
        _require(
            0 <= self.time_scale <= 1,
            f'execution of a chunk has the time scale {self.time_scale}; expected 0 to 1.',
        )

    def row_at(self, time: float, dt: float) -> float:
        """Return the rows of ``dt`` [s] that are over at another time near this one."""
        return max(self.row + self.time_scale * (time - self.time) / dt, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """One smooth set-point inside all limits."""

    position: np.ndarray
    """float64, [A], absolute set-point in the robot's command space."""
    velocity: np.ndarray
    """float64, [A], its rate of change."""
    names: tuple[str, ...]
    stamp: float
    """Time at which the set-point applies [s]."""
