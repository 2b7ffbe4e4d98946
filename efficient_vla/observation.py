# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What people hand to ``Policy.act`` -> a ``Frame``, or one sentence on what is wrong with it."""

import math
import time
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from efficient_vla.types import Frame, InvalidRecordError


def frame_of(
    given: Any,
    state: Any,
    stamp: float | None,
    cameras: Sequence[str],
    state_names: Sequence[str],
) -> Frame:
    """Return the observation as the record of the stages, all of whose parts are there.

    Arguments are those of ``Policy.act``; ``cameras`` and ``state_names`` are the policy's.
    Raises ``InvalidRecordError`` where something is missing, unknown or of another shape.
    """
    if isinstance(given, Frame):
        if state is not None or stamp is not None:
            raise InvalidRecordError(
                'a Frame was given with state or stamp beside it; expected them inside of it. '
                'Leave them out.'
            )
        _check_cameras(tuple(given.images), cameras)
        return given
    if not isinstance(given, Mapping):
        if len(cameras) != 1:
            raise InvalidRecordError(
                f'one image was given; the policy expects those of {", ".join(cameras)}. Give '
                'a dictionary from camera to image.'
            )
        given = {cameras[0]: given}
    _check_cameras(tuple(given), cameras)
    now = time.monotonic() if stamp is None else stamp
    if not isinstance(now, Real) or isinstance(now, bool) or not math.isfinite(now):
        raise InvalidRecordError(f'stamp is {now!r}; expected a number of seconds.')
    images = {camera: _image(given[camera], camera) for camera in cameras}
    return Frame(images, _state(state, state_names), float(now))


def _check_cameras(given: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [camera for camera in wanted if camera not in given]
    unknown = [camera for camera in given if camera not in wanted]
    if missing or unknown:
        what = f'camera {missing[0]!r} is missing' if missing else f'unknown camera {unknown[0]!r}'
        raise InvalidRecordError(
            f'{what}; the policy expects {", ".join(wanted)}. Name the images after its cameras.'
        )


def _state(given: Any, names: Sequence[str]) -> np.ndarray:
    """Return the state as float32 [S]."""
    values = () if given is None else given
    try:
        state = np.asarray(values)
        flags = any(isinstance(value, (bool, np.bool_)) for value in values)
    except (RuntimeError, TypeError, ValueError):
        state, flags = np.array(None), True
    if flags or state.dtype.kind not in 'iuf':
        raise InvalidRecordError(f'state is {given!r}; expected a list of numbers.')
    if state.shape != (len(names),):
        found = 'no state' if given is None else f'a state of shape {list(state.shape)}'
        raise InvalidRecordError(
            f'{found} was given; the policy expects {len(names)} numbers'
            f'{": " if names else ""}{", ".join(names)}. Give them as state.'
        )
    with np.errstate(over='ignore'):
        return state.astype(np.float32)


def _image(given: Any, camera: str) -> np.ndarray:
    """Return an image as an array; whole numbers of a list that are intensities become uint8.

    A list whose largest number is 1 may as well mean intensities from 0 to 1, and is refused.
    """
    if str(getattr(given, 'mode', ''))[:1] in ('I', 'F'):
        raise InvalidRecordError(
            f'image of camera {camera!r} has mode {given.mode} of PIL, of more than 8 bits; '
            'expected RGB. Scale it to 0 to 255 first.'
        )
    try:
        image = np.asarray(given.convert('RGB') if hasattr(given, 'convert') else given)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InvalidRecordError(
            f'image of camera {camera!r} is no array: {error}. Give uint8 [rows, columns, 3].'
        ) from error
    plain = not isinstance(given, np.ndarray) and image.dtype.kind in 'iu'
    if plain and image.size and image.min() >= 0 and image.max() <= 255:
        if image.dtype != np.uint8 and image.max() == 1:
            raise InvalidRecordError(
                f'image of camera {camera!r} holds only 0 and 1; expected 0 to 255. Multiply it '
                'by 255.'
            )
        return image.astype(np.uint8)
    return image
