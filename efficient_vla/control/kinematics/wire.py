# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of chunks as bytes, for a model of the arm in another process.

A message is a line of JSON and the numbers of arrays behind it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from efficient_vla.control.kinematics.checks import Checked, Finding, Model, Ranges
from efficient_vla.control.kinematics.loading import DescribedArm
from efficient_vla.control.kinematics.settings import CollisionSettings, KinematicsSettings
from efficient_vla.types import ActionChunk, ControlMode


class CheckFailedError(Exception):
    """The other process could not check a chunk."""


def pack(head: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()) -> bytes:
    """Return ``head``, which JSON can say, and ``arrays`` as one message."""
    shapes = [[array.dtype.str, array.shape] for array in arrays]
    line = json.dumps({**head, 'arrays': shapes}).encode()
    return b'\n'.join([line, b''.join(array.tobytes() for array in arrays)])


def unpack(data: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return what ``pack`` was given; lists for tuples."""
    line, numbers = data.split(b'\n', 1)
    head = json.loads(line)
    arrays, offset = [], 0
    for kind, shape in head.pop('arrays'):
        count = int(np.prod(shape))
        array = np.frombuffer(numbers, kind, count, offset).reshape(shape)
        offset += array.nbytes
        arrays.append(array)
    return head, arrays


def pack_arm(arm: DescribedArm) -> bytes:
    """Return ``arm`` as a message."""
    return pack(asdict(arm))


def unpack_arm(data: bytes) -> DescribedArm:
    """Return the arm of a message."""
    head = _with_tuples(unpack(data)[0])
    kinematics = KinematicsSettings(**_with_tuples(head.pop('kinematics')))
    collision = CollisionSettings(**_with_tuples(head.pop('collision')))
    return DescribedArm(kinematics=kinematics, collision=collision, **head)


def pack_request(
    chunk: ActionChunk, anchor: np.ndarray, ranges: Ranges, rested: np.ndarray
) -> bytes:
    """Return what ``Model.check`` and ``Model.rest`` are told as a message."""
    limits = [getattr(ranges, name) for name in RANGES]
    return pack(_head_of(chunk), [chunk.actions, anchor, rested, *limits])


def answer(model: Model, data: bytes) -> bytes:
    """Return what ``model`` says to a request, as a message."""
    head, (actions, anchor, rested, *limits) = unpack(data)
    try:
        model.rest(rested)
        checked = model.check(_chunk_of(head, actions), anchor, Ranges(*limits))
    except Exception as error:
        return pack({'error': f'{type(error).__name__}: {error}'})
    finding = asdict(checked.finding) if checked.finding else None
    told = {'chunk': _head_of(checked.chunk), 'finding': finding, 'refused': checked.refused}
    return pack(told, [checked.chunk.actions])


def unpack_answer(data: bytes) -> Checked:
    """Return the answer of a message; raises ``CheckFailedError`` where it is none."""
    head, arrays = unpack(data)
    if 'error' in head:
        raise CheckFailedError(head['error'])
    finding = Finding(**head['finding']) if head['finding'] else None
    return Checked(_chunk_of(head['chunk'], arrays[0]), finding, head['refused'])


RANGES = tuple(field.name for field in fields(Ranges))


def _head_of(chunk: ActionChunk) -> dict[str, Any]:
    return {
        field.name: getattr(chunk, field.name) for field in fields(chunk) if field.name != 'actions'
    }


def _chunk_of(head: Mapping[str, Any], actions: np.ndarray) -> ActionChunk:
    told = _with_tuples(head)
    return ActionChunk(actions, **{**told, 'control_mode': ControlMode(told['control_mode'])})


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
