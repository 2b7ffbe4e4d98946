# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Bytes on the wire, written out by hand."""

import numpy as np
import pytest

from efficient_vla.serving.protocol import ProtocolError, packed, unpacked

ARRAY = (
    b'\x81\xa1a\x84'
    b'\xc4\x0b__ndarray__\xc3'
    b'\xc4\x04data\xc4\x08\x00\x00\x80?\x00\x00\x00\xc0'
    b'\xc4\x05dtype\xa3<f4'
    b'\xc4\x05shape\x92\x01\x02'
)
"""{'a': [[1, -2]]} of float32."""
SCALAR = (
    b'\x81\xa1s\x83\xc4\x0d__npgeneric__\xc3\xc4\x04data\xcb@\x04\x00\x00\x00\x00\x00\x00'
    b'\xc4\x05dtype\xa3<f4'
)
"""{'s': 2.5} of float32."""


def array(dtype: bytes, data: bytes, shape: bytes) -> bytes:
    """Return a frame with one array; all lengths are below 16."""
    return (
        b'\x81\xa1a\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4'
        + bytes([len(data)])
        + data
        + b'\xc4\x05dtype'
        + bytes([0xA0 + len(dtype)])
        + dtype
        + b'\xc4\x05shape'
        + shape
    )


def test_an_array_is_packed_as_a_map_of_byte_strings() -> None:
    assert packed({'a': np.array([[1, -2]], np.float32)}, 1000) == ARRAY


def test_an_array_is_read_with_its_type_and_shape() -> None:
    found = unpacked(ARRAY)['a']
    assert (found.dtype, found.tolist()) == (np.float32, [[1.0, -2.0]])


def test_a_scalar_of_numpy_keeps_its_type() -> None:
    assert packed({'s': np.float32(2.5)}, 1000) == SCALAR
    found = unpacked(SCALAR)['s']
    assert (type(found), found) == (np.float32, 2.5)


def test_an_array_of_the_other_byte_order_is_read() -> None:
    assert unpacked(array(b'>i2', b'\x01\x02', b'\x91\x01'))['a'].tolist() == [258]


@pytest.mark.parametrize(
    ('frame', 'said'),
    [
        (array(b'|O8', b'\x80\x04N.....', b'\x91\x01'), r"type '\|O8'; expected numbers"),
        (array(b'|V4', b'\x00' * 4, b'\x91\x01'), r"type '\|V4'"),
        (array(b'<c8', b'\x00' * 8, b'\x91\x01'), "type '<c8'"),
        (array(b'|b8', b'\x00' * 8, b'\x91\x01'), r"unknown type '\|b8'"),
        (array(b'f4,f4', b'\x00' * 8, b'\x91\x01'), "type 'f4,f4'"),
        (array(b'<f4', b'\x00' * 4, b'\x91\x02'), 'has 4 bytes; expected 8'),
        (array(b'<f4', b'', b'\x92\xce\xff\xff\xff\xff\xce\xff\xff\xff\xff'), 'has 0 bytes'),
        (array(b'<f4', b'\x00' * 4, b'\x91\xff'), r'shape \[-1\]; expected sides'),
        (array(b'<f4', b'\x00' * 4, b'\x91\xc3'), r'shape \[True\]'),
        (array(b'<f4', b'\x00' * 4, b'\x99' + b'\x01' * 9), 'expected sides'),
        (array(b'<f4', b'\x00' * 4, b'\x01'), 'shape 1; expected sides'),
        (SCALAR.replace(b'\xcb@\x04\0\0\0\0\0\0', b'\xa11'), 'scalar is a str'),
        (b'\x93\x01\x02\x03', 'holds a list; expected a map'),
        (b'\x81\x01\x02', 'is not msgpack'),
        (b'\x81\xa1a\xc7\x01\x05x', 'is not msgpack'),
        (b'\xc1', 'is not msgpack'),
        (b'', 'is not msgpack'),
        (ARRAY[:-1], 'is not msgpack'),
        (ARRAY + b'\x00', 'is not msgpack'),
        (b'\x91' * 2000, 'is not msgpack'),
        (b'\x81\xa1a\xdc\x01\x01' + b'\x80' * 257, 'more than 256 maps'),
        (b'\x81\xa1a\xdc\x00\x80' + b'\x90' * 128, 'more than 64 lists'),
        (b'\x81\xa1a\xdd\x00\x00\x10\x01' + b'\x01' * 4097, 'is not msgpack'),
        ('{}', 'frame holds text'),
    ],
)
def test_a_frame_that_is_none_is_refused_in_one_sentence(frame: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        unpacked(frame)


@pytest.mark.parametrize(
    'value', [np.array([None]), np.array(['a']), np.array([1j]), object(), {1, 2}]
)
def test_what_others_would_pickle_is_not_packed(value: object) -> None:
    with pytest.raises(ProtocolError, match=r'numbers|cannot be packed'):
        packed({'a': value}, 1000)


def test_a_message_that_is_too_long_is_not_sent() -> None:
    assert len(packed({'a': np.zeros(8, np.uint8)}, 54)) == 54
    with pytest.raises(ProtocolError, match='message has 55 bytes; expected at most 54'):
        packed({'a': np.zeros(9, np.uint8)}, 54)
