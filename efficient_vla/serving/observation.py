# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which key of an observation holds which camera and which part of the robot's state.

Keys are data: every harness and every server has its own. A dot is a step into a nested map, so
that ``images.cam_high`` is ``{'images': {'cam_high': ...}}``, and a slash is part of a name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import InvalidRecordError


class StatePart(NamedTuple):
    """One key of the state, and the numbers in it."""

    key: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the parts of an observation stand."""

    images: Mapping[str, str]
    """Camera -> key."""
    state: tuple[StatePart, ...]
    prompt: str

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of all numbers of the state, in order."""
        return tuple(name for part in self.state for name in part.names)


class Observation(NamedTuple):
    """What a client sent."""

    images: dict[str, np.ndarray]
    """Camera -> uint8 [rows, columns, 3]."""
    state: np.ndarray
    """[S]."""
    prompt: str


def image_keys(cameras: Sequence[str], given: Sequence[str] = ()) -> dict[str, str]:
    """Return camera -> key; ``given`` are keys in the order of the cameras.

    Without, they are those of openpi's examples: ``observation/image`` for one camera,
    ``observation/NAME`` for several. Raises ``InvalidSettingError`` where the numbers differ.
    """
    if given and len(given) != len(cameras):
        raise InvalidSettingError(
            f'{len(given)} image keys ({", ".join(given)}) for the cameras '
            f'{", ".join(cameras) or "(none)"}; expected one a camera, in their order.'
        )
    single = ['observation/image'] if len(cameras) == 1 else []
    keys = list(given) or single or [f'observation/{name}' for name in cameras]
    _refuse_double(keys)
    return dict(zip(cameras, keys, strict=True))


def state_parts(names: Sequence[str], given: Sequence[str] = ()) -> tuple[StatePart, ...]:
    """Return the keys of the state: ``KEY``, or ``KEY:COUNT`` where several share the numbers.

    Without any the whole state stands under ``observation/state``. Raises ``InvalidSettingError``
    where the counts do not add up.
    """
    words = list(given) or (['observation/state'] if names else [])
    counts, keys = [], []
    for word in words:
        key, colon, count = word.rpartition(':')
        keys.append(key if colon else word)
        if colon and not count.isdecimal():
            raise InvalidSettingError(
                f'state key {word!r} is not of the form KEY or KEY:COUNT; write for example '
                'observation/joint_position:7.'
            )
        counts.append(int(count) if colon else len(names) if len(words) == 1 else -1)
    if min(counts, default=0) < 0 or sum(counts) != len(names):
        raise InvalidSettingError(
            f'state keys {", ".join(words)} do not share out the {len(names)} numbers '
            f'{", ".join(names)}; expected KEY:COUNT for each, with counts that add up.'
        )
    _refuse_double(keys)
    parts, rest = [], tuple(names)
    for key, size in zip(keys, counts, strict=True):
        parts.append(StatePart(key, rest[:size]))
        rest = rest[size:]
    return tuple(parts)


def put(message: dict[str, Any], key: str, value: Any) -> None:
    """Write a value under a key, whose dots are steps into nested maps."""
    *steps, last = key.split('.')
    for step in steps:
        message = message.setdefault(step, {})
    message[last] = value


def read(message: Mapping[str, Any], keys: Keys) -> Observation:
    """Return what a client sent; keys that nobody reads are left alone.

    Raises ``InvalidRecordError`` where a part is missing or of another shape.
    """
    images = {camera: _image(_found(message, key), key) for camera, key in keys.images.items()}
    parts = [_numbers(_found(message, part.key), part) for part in keys.state]
    prompt = _found(message, keys.prompt)
    if not isinstance(prompt, str):
        raise InvalidRecordError(
            f'{keys.prompt!r} is of type {type(prompt).__name__}; expected one sentence as a text.'
        )
    return Observation(images, np.concatenate(parts) if parts else np.zeros(0), prompt)


def _found(message: Mapping[str, Any], key: str) -> Any:
    inner: Any = message
    for step in key.split('.'):
        if not isinstance(inner, Mapping) or step not in inner:
            there = ', '.join(str(name)[:40] for name in list(message)[:20])
            raise InvalidRecordError(
                f'the observation lacks {key!r}; it has {there or "nothing"}. Send what the '
                'metadata of this server name.'
            )
        inner = inner[step]
    return inner


def _image(given: Any, key: str) -> np.ndarray:
    """Return an image as [rows, columns, 3], whichever way round it came."""
    if isinstance(given, np.ndarray) and given.dtype == np.uint8 and given.ndim == 3:
        # A copy, since what came is a view of the frame that nobody can write to.
        if given.shape[2] == 3:
            return given.copy()
        if given.shape[0] == 3:
            return np.moveaxis(given, 0, -1).copy()
    what = f'{given.dtype} {given.shape}' if isinstance(given, np.ndarray) else type(given).__name__
    raise InvalidRecordError(
        f'{key!r} is {what}; expected an image of uint8 in rgb order, [rows, columns, 3] or '
        '[3, rows, columns].'
    )


def _numbers(given: Any, part: StatePart) -> np.ndarray:
    count = len(part.names)
    try:
        values = np.atleast_1d(np.asarray(given))
    except (TypeError, ValueError):
        values = np.array(None)
    if values.dtype.kind not in 'iuf' or values.shape != (count,):
        raise InvalidRecordError(
            f'{part.key!r} is {values.dtype} of shape {list(values.shape)}; expected {count} '
            f'numbers: {", ".join(part.names)}.'
        )
    return values


def _refuse_double(keys: Sequence[str]) -> None:
    if len(set(keys)) < len(keys) or not all(all(key.split('.')) for key in keys):
        raise InvalidSettingError(
            f'keys of an observation are {", ".join(map(repr, keys))}; expected names, none empty '
            'or twice.'
        )
