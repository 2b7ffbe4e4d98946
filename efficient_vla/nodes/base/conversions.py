# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Record <-> message, in this one place, with every check that a foreign sender makes necessary.

All functions raise ``InvalidRecordError`` naming value, expectation and remedy. Arrays that come
out are views of the message where that is possible; do not change the message afterwards.
"""

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import Image, JointState

from efficient_vla import msg
from efficient_vla.columns import ColumnLayout, Kind, Reference, layout_of
from efficient_vla.control.catalogue import head_help
from efficient_vla.poses import canonical, observed_row
from efficient_vla.types import (
    MIN_IMAGE_SIDE,
    ActionChunk,
    Execution,
    InvalidRecordError,
    Plan,
    Stamp,
    VisualTokens,
    to_nanoseconds,
)

CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}
TOKEN_FIELDS = {
    **dict.fromkeys(('camera', 'row', 'column', 'position'), 'i'),
    **dict.fromkeys(('age', 'contour', 'saliency'), 'f'),
    **dict.fromkeys(('epoch', 'latency_ms', 'refresh_reason'), ''),
}
"""What a record and its message call alike, with the type code of each array."""
PLAN_FIELDS = {
    **{'kept': 'i', 'reused': 'i', 'reused_age': 'f', 'subgoal': 'f'},
    **dict.fromkeys(('instruction', 'subtask', 'sequence', 'text', 'text_age', 'subgoal_age'), ''),
    **dict.fromkeys(('tokens_total', 'reason', 'latency_ms', 'saved_ms'), ''),
}
CHUNK_FIELDS = dict.fromkeys(
    ('sequence', 'plan_sequence', 'instruction', 'latency_ms', 'steps', 'delay', 'note'), ''
)
TYPE_CODES = {'f': np.float32, 'd': np.float64, 'i': np.int32, 'I': np.uint32, 'B': np.uint8}


class AbsentNamesError(InvalidRecordError):
    """A joint state is sound but lacks names; another driver may send them on the same topic."""


def stamp_to_seconds(stamp: Time | Duration) -> Stamp:
    """Return a stamp or duration in seconds, which goes back without loss."""
    return Stamp(stamp.sec * 10**9 + stamp.nanosec)


def seconds_to_stamp(seconds: float) -> Time:
    """Return the stamp of a time in seconds."""
    sec, nanosec = divmod(to_nanoseconds(seconds), 10**9)
    return Time(sec=sec, nanosec=nanosec)


def seconds_to_duration(seconds: float) -> Duration:
    """Return a duration of so many seconds."""
    sec, nanosec = divmod(to_nanoseconds(seconds), 10**9)
    return Duration(sec=sec, nanosec=nanosec)


def refuse_future(what: str, stamp: float, now: float, limit: float) -> None:
    """Raise ``InvalidRecordError`` when ``stamp`` is more than ``limit`` [s] after ``now``."""
    if stamp > now + limit:
        raise InvalidRecordError(
            f'{what} is stamped {stamp - now:.3f} s in the future; expected at most {limit} s. '
            'Synchronise the clocks, or set use_sim_time alike on all nodes.'
        )


def to_wire(values: np.ndarray, code: str) -> array:
    """Return ``values`` flattened row by row.

    An ``array``, since rclpy checks a list value by value, which takes milliseconds for an image.
    """
    wire = array(code)
    wire.frombytes(np.ascontiguousarray(values, TYPE_CODES[code]).tobytes())
    return wire


def from_wire(values: Any, code: str) -> np.ndarray:
    """Return a view of an array field of a message, [N]."""
    if isinstance(values, array):
        return (
            np.frombuffer(values, TYPE_CODES[code])
            if len(values)
            else np.zeros(0, TYPE_CODES[code])
        )
    return np.asarray(values, TYPE_CODES[code])


def image_to_array(message: Image) -> np.ndarray:
    """Return uint8 rgb, [rows, columns, 3]."""
    channels = CHANNELS.get(message.encoding)
    if channels is None:
        raise InvalidRecordError(
            f'image has encoding {message.encoding!r}; expected one of {", ".join(CHANNELS)}. '
            'Set the pixel format of the camera driver.'
        )
    rows, columns, step = message.height, message.width, message.step
    if min(rows, columns) < MIN_IMAGE_SIDE:
        raise InvalidRecordError(
            f'image is {columns}x{rows} pixels; expected at least {MIN_IMAGE_SIDE} a side. '
            'Check the camera driver.'
        )
    if step < columns * channels:
        raise InvalidRecordError(
            f'image has a step of {step} bytes; expected at least {columns * channels} for '
            f'{columns} pixels of {message.encoding}. Check the camera driver.'
        )
    if len(message.data) != rows * step:
        raise InvalidRecordError(
            f'image has {len(message.data)} bytes; expected {rows * step} for {rows} rows of '
            f'{step} bytes. Check the camera driver.'
        )
    raw = from_wire(message.data, 'B').reshape(rows, step)
    pixels = raw[:, : columns * channels].reshape(rows, columns, channels)
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    if message.encoding.startswith('bgr'):
        return np.ascontiguousarray(pixels[:, :, 2::-1])
    return np.ascontiguousarray(pixels[:, :, :3])


def array_to_image(pixels: np.ndarray, stamp: float, frame_id: str = '') -> Image:
    """Return an rgb8 message of uint8 rgb, [rows, columns, 3]."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InvalidRecordError(
            f'image is {pixels.dtype} {pixels.shape}; expected uint8 [rows, columns, 3].'
        )
    message = Image(encoding='rgb8', is_bigendian=0)
    message.header.stamp = seconds_to_stamp(stamp)
    message.header.frame_id = frame_id
    message.height, message.width = pixels.shape[:2]
    message.step = message.width * 3
    message.data = to_wire(pixels, 'B')
    return message


def joint_positions(message: JointState, names: Sequence[str]) -> dict[str, float]:
    """Return the positions of those of ``names`` that a joint state has."""
    if len(message.position) != len(message.name):
        # Of a driver that tells velocities or efforts alone.
        raise (InvalidRecordError if len(message.position) else AbsentNamesError)(
            f'joint state has {len(message.position)} positions for {len(message.name)} names; '
            'expected one position a name. Check the robot driver.'
        )
    index = {name: i for i, name in enumerate(message.name)}
    if len(index) != len(message.name):
        twice = [name for name, count in Counter(message.name).items() if count > 1]
        raise InvalidRecordError(
            f'joint state has the names {", ".join(message.name)}; expected {twice[0]} once. '
            'Check the robot driver.'
        )
    found = {name: message.position[index[name]] for name in names if name in index}
    bad = [name for name, value in found.items() if not math.isfinite(value)]
    if bad:
        raise InvalidRecordError(
            f'joint state holds a value that is not finite for {", ".join(bad)}. '
            'Check the robot driver.'
        )
    return found


def joint_values(message: JointState, names: Sequence[str]) -> np.ndarray:
    """Return the positions of ``names`` in their order, float64, [len(names)]."""
    found = joint_positions(message, names)
    if len(found) < len(names):
        raise AbsentNamesError(
            f'joint state has the names {", ".join(message.name) or "(none)"}; expected each of '
            f'{", ".join(names)} once. Check the robot driver or use the policy of this robot.'
        )
    return np.array([found[name] for name in names], np.float64)


def joint_state(
    names: Sequence[str], position: np.ndarray, stamp: float, velocity: np.ndarray | None = None
) -> JointState:
    """Return a joint state message."""
    message = JointState(name=list(names), position=to_wire(position, 'd'))
    message.header.stamp = seconds_to_stamp(stamp)
    if velocity is not None:
        message.velocity = to_wire(velocity, 'd')
    return message


def tokens_to_message(tokens: VisualTokens) -> msg.VisualTokens:
    """Return the message of visual tokens."""
    message = msg.VisualTokens(
        count=len(tokens.features),
        width=tokens.features.shape[1],
        features=to_wire(tokens.features, 'f'),
        grid_rows=tokens.grid[0],
        grid_columns=tokens.grid[1],
    )
    return _write(tokens, message, TOKEN_FIELDS)


def message_to_tokens(message: msg.VisualTokens) -> VisualTokens:
    """Return the visual tokens of a message."""
    return VisualTokens(
        features=_matrix('visual tokens', message.features, message.count, message.width),
        grid=(message.grid_rows, message.grid_columns),
        **_read(message, TOKEN_FIELDS),
    )


def plan_to_message(plan: Plan) -> msg.Plan:
    """Return the message of a plan."""
    message = msg.Plan(
        queries=plan.latents.shape[0],
        width=plan.latents.shape[1],
        latents=to_wire(plan.latents, 'f'),
        valid_for=seconds_to_duration(plan.valid_for),
        protected_tokens=to_wire(plan.protected, 'i'),
    )
    return _write(plan, message, PLAN_FIELDS)


def message_to_plan(message: msg.Plan) -> Plan:
    """Return the plan of a message."""
    return Plan(
        latents=_matrix('plan', message.latents, message.queries, message.width),
        valid_for=stamp_to_seconds(message.valid_for),
        protected=from_wire(message.protected_tokens, 'i'),
        **_read(message, PLAN_FIELDS),
    )


def chunk_to_message(chunk: ActionChunk) -> msg.ActionChunk:
    """Return the message of an action chunk."""
    layout = layout_of(chunk)
    message = msg.ActionChunk(
        horizon=len(chunk.actions),
        names=list(chunk.names),
        actions=to_wire(chunk.actions, 'f'),
        kinds=list(layout.kinds),
        units=list(layout.units),
        references=list(layout.references),
        rotation=layout.rotation,
        frame=layout.frame,
        dt=seconds_to_duration(chunk.dt),
        plan_stamp=seconds_to_stamp(chunk.plan_stamp),
    )
    if chunk.plan_valid_for < math.inf:
        message.plan_valid_for = seconds_to_duration(chunk.plan_valid_for)
    return _write(chunk, message, CHUNK_FIELDS)


def message_to_chunk(message: msg.ActionChunk) -> ActionChunk:
    """Return the action chunk of a message."""
    rows = _matrix('action chunk', message.actions, message.horizon, len(message.names))
    layout = ColumnLayout(
        tuple(message.names),
        tuple(_constant(Kind, 'kind', number) for number in message.kinds),
        tuple(message.units),
        tuple(_constant(Reference, 'reference', number) for number in message.references),
        message.rotation,
        message.frame,
    )
    dt = stamp_to_seconds(message.dt)
    form = canonical(layout, rows, _observed(message, layout), dt)
    return ActionChunk(
        dt=dt,
        plan_stamp=stamp_to_seconds(message.plan_stamp),
        plan_valid_for=stamp_to_seconds(message.plan_valid_for) or math.inf,
        **form._asdict(),
        **_read(message, CHUNK_FIELDS),
    )


def _observed(message: msg.ActionChunk, layout: ColumnLayout) -> np.ndarray | None:
    """Return where the rows of a message count from [A'], as the rows of a record have it."""
    state = from_wire(message.observation_state, 'd')
    if not len(state):
        return None
    if len(state) != len(layout.names) or not np.isfinite(state).all():
        raise InvalidRecordError(
            f'action chunk has the observation_state {state}; expected a finite number for each of '
            f'{", ".join(layout.names)}, or none. Check the sender.'
        )
    return observed_row(layout, state)


Constant = TypeVar('Constant', bound=IntEnum)


def _constant(kind: type[Constant], what: str, number: int) -> Constant:
    """Return a constant of the interface."""
    if number not in set(kind):
        raise InvalidRecordError(
            f'action chunk has a column of {what} {number}; expected one of '
            f'{[int(known) for known in kind if known]}. Build sender and receiver from the same '
            'sources.'
        )
    return kind(number)


def _write(record: Any, message: Any, fields: Mapping[str, str]) -> Any:
    """Return ``message`` with the stamp of ``record`` and the fields of the same name."""
    message.header.stamp = seconds_to_stamp(record.stamp)
    for name, code in fields.items():
        value = getattr(record, name)
        setattr(
            message, name, to_wire(value, code) if code else type(getattr(message, name))(value)
        )
    return message


def _read(message: Any, fields: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``_write`` wrote."""
    values = {name: getattr(message, name) for name in fields}
    arrays = {name: from_wire(values[name], code) for name, code in fields.items() if code}
    return {'stamp': stamp_to_seconds(message.header.stamp), **values, **arrays}


def write_execution(execution: Execution, message: msg.ControllerStatus) -> None:
    """Write how a chunk is executed into a status of the same time."""
    message.observation_stamp = seconds_to_stamp(execution.stamp)
    message.row = float(execution.row)
    message.time_scale = float(execution.time_scale)
    message.delay_steps = float(execution.delay)
    message.blending = execution.blending


def message_to_execution(message: msg.ControllerStatus) -> Execution:
    """Return how the active chunk of a status is executed."""
    return Execution(
        stamp=stamp_to_seconds(message.observation_stamp),
        time=stamp_to_seconds(message.header.stamp),
        row=message.row,
        time_scale=message.time_scale,
        delay=message.delay_steps,
        blending=message.blending,
        help=head_help(message.blending),
    )


def _matrix(name: str, values: Any, rows: int, columns: int) -> np.ndarray:
    """Return float32 [rows, columns] of a flattened field."""
    if rows < 1 or columns < 1 or len(values) != rows * columns:
        raise InvalidRecordError(
            f'{name} has {len(values)} values for {rows} rows of {columns}; expected rows and '
            'columns above 0 and rows times columns values. Check the sender.'
        )
    return from_wire(values, 'f').reshape(rows, columns)
