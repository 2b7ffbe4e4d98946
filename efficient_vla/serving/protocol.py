# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages on the wire: msgpack, with arrays as openpi's client and server write them.

An array is a map of the byte strings ``__ndarray__``, ``data``, ``dtype`` and ``shape``, a scalar
of numpy one of ``__npgeneric__``, ``data`` and ``dtype``. Only numbers and truth values travel:
object arrays, which others pickle, have no type here.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

MAX_OBSERVATION = 32 * 2**20
"""Bytes of the longest observation: five images of 1920 x 1080."""
MAX_ANSWER = 8 * 2**20
"""Bytes of the longest metadata and of the longest answer."""
NUMBERS = re.compile(r'[<>|=]?([biu][1248]|f[248])')
"""``dtype.str`` of what travels."""
MAX_DIMENSIONS = 8
MAX_MAPS, MAX_LISTS, MAX_ITEMS = 256, 64, 4096
"""Maps and lists in one message, and items in one of them: a byte can stand for an empty map, which
takes 64 once it is one."""


class ProtocolError(ValueError):
    """A message is not what the protocol knows; the text says why."""


def packed(message: Mapping[str, Any], limit: int) -> bytes:
    """Return a message as bytes.

    Raises ``ProtocolError`` where it is longer than ``limit`` bytes or holds what cannot travel.
    """
    try:
        data: bytes = msgpack.packb(message, default=_plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f'message cannot be packed: {error}') from error
    if len(data) > limit:
        raise ProtocolError(
            f'message has {len(data)} bytes; expected at most {limit}. Send smaller images.'
        )
    return data


def unpacked(data: bytes | str) -> dict[str, Any]:
    """Return the message in a frame; arrays are read-only views of it.

    Raises ``ProtocolError`` for anything else than a map of numbers, texts, arrays, lists and maps.
    """
    if isinstance(data, str):
        raise ProtocolError('frame holds text; expected msgpack in a binary frame.')
    counted = _Counted()
    try:
        message = msgpack.unpackb(
            data,
            object_hook=counted.map,
            list_hook=counted.list,
            strict_map_key=True,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
        )
    except ProtocolError:
        raise
    except Exception as error:  # of many kinds, some of them of no base but Exception
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ProtocolError(f'frame is not msgpack: {reason[:200]}.') from error
    if not isinstance(message, dict):
        raise ProtocolError(f'frame holds a {type(message).__name__}; expected a map.')
    return message


class _Counted:
    """Turns maps into arrays and refuses a message of too many parts."""

    def __init__(self) -> None:
        self._maps = self._lists = 0

    def map(self, given: dict[Any, Any]) -> Any:
        self._maps += 1
        if self._maps > MAX_MAPS:
            raise ProtocolError(f'frame holds more than {MAX_MAPS} maps.')
        if b'__ndarray__' in given:
            return _array(given)
        if b'__npgeneric__' in given:
            return _dtype(given).type(_number(given.get(b'data')))
        return given

    def list(self, given: list[Any]) -> Any:
        self._lists += 1
        # The shape of an array is a list too.
        if self._lists > MAX_LISTS + self._maps:
            raise ProtocolError(f'frame holds more than {MAX_LISTS} lists.')
        return given


def _array(given: Mapping[Any, Any]) -> np.ndarray:
    dtype, data, shape = _dtype(given), given.get(b'data'), given.get(b'shape')
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_DIMENSIONS
        or not all(type(side) is int and side >= 0 for side in shape)
    ):
        raise ProtocolError(f'array has shape {str(shape)[:80]}; expected sides of at least 0.')
    size = math.prod(shape) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) != size:
        found = len(data) if isinstance(data, bytes) else type(data).__name__
        raise ProtocolError(
            f'array of shape {str(shape)[:80]} and type {dtype} has {found} bytes; expected {size}.'
        )
    array = np.frombuffer(data, dtype).reshape(shape)
    return array if dtype.isnative else array.astype(dtype.newbyteorder('='))


def _dtype(given: Mapping[Any, Any]) -> np.dtype:
    name = given.get(b'dtype')
    if not isinstance(name, str) or not NUMBERS.fullmatch(name):
        raise ProtocolError(
            f'array has the type {str(name)[:40]!r}; expected numbers or truth values, such as '
            "'<f4' or '|u1'."
        )
    try:
        return np.dtype(name)
    except TypeError as error:
        raise ProtocolError(f'array has the unknown type {name!r}.') from error


def _number(given: Any) -> Any:
    if not isinstance(given, (bool, int, float)):
        raise ProtocolError(f'scalar is a {type(given).__name__}; expected a number.')
    return given


def _plain(given: Any) -> Any:
    """Return what msgpack knows for an array or a scalar of numpy."""
    if isinstance(given, (np.ndarray, np.generic)):
        if not NUMBERS.fullmatch(given.dtype.str):
            raise ProtocolError(f'arrays of {given.dtype} do not travel; expected numbers.')
        if isinstance(given, np.generic):
            return {b'__npgeneric__': True, b'data': given.item(), b'dtype': given.dtype.str}
        return {
            b'__ndarray__': True,
            b'data': given.tobytes(),
            b'dtype': given.dtype.str,
            b'shape': given.shape,
        }
    raise TypeError(f'{type(given).__name__} is no number, text, array, list or map')
