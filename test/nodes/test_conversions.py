# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Records survive the wire, and bad messages are named at the edge."""

import copy
import dataclasses
import math
from array import array

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image, JointState

from efficient_vla.nodes.base import conversions as convert
from efficient_vla.types import (
    ActionChunk,
    ControlMode,
    InvalidRecordError,
    Plan,
    VisualTokens,
)

STAMP = 1_700_000_000.123456


def tokens() -> VisualTokens:
    count = 6
    return VisualTokens(
        features=np.arange(count * 3, dtype=np.float32).reshape(count, 3),
        camera=np.zeros(count, np.int32),
        row=np.arange(count, dtype=np.int32) // 3,
        column=np.arange(count, dtype=np.int32) % 3,
        position=np.arange(5, 5 + count, dtype=np.int32),
        age=np.array([0, 0, 0.5, 0, 0, 0], np.float32),
        grid=(2, 3),
        stamp=STAMP,
        epoch=4,
        latency_ms=12.5,
        refresh_reason='frame changed',
        contour=np.linspace(0, 1, count, dtype=np.float32),
        saliency=np.linspace(2, 3, count, dtype=np.float32),
    )


def chunk() -> ActionChunk:
    return ActionChunk(
        actions=np.arange(8, dtype=np.float32).reshape(2, 4),
        dt=0.0125,
        names=('x', 'y', 'z', 'gripper'),
        control_mode=ControlMode.EE_DELTA,
        stamp=STAMP,
        sequence=7,
        plan_sequence=3,
        plan_stamp=STAMP - 0.25,
        plan_valid_for=2.5,
        instruction='open the drawer',
        latency_ms=3.5,
    )


def plan() -> Plan:
    return Plan(
        latents=np.arange(6, dtype=np.float32).reshape(2, 3),
        instruction='open the drawer',
        stamp=STAMP,
        valid_for=2.0,
        sequence=9,
        text='reach first',
        subtask='open the upper drawer',
        kept=np.array([5, 7, 8], np.int32),
        tokens_total=6,
        latency_ms=80.5,
        reused=np.array([6, 8], np.int32),
        reused_age=np.array([0.25, 1.5], np.float32),
        protected=np.array([7], np.int32),
        reason='fastv kept 3 of 6 after layer 2, 1 protected',
        saved_ms=-1.5,
    )


def same(left, right) -> None:
    for name in left.__dataclass_fields__:
        a, b = getattr(left, name), getattr(right, name)
        if isinstance(a, np.ndarray):
            assert np.array_equal(a, b), name
            assert a.dtype == b.dtype, name
        elif isinstance(a, float):
            assert a == pytest.approx(b, abs=1e-6), name
        else:
            assert a == b, name


def test_tokens_survive_the_wire():
    same(tokens(), convert.message_to_tokens(convert.tokens_to_message(tokens())))


def test_plan_survives_the_wire():
    same(plan(), convert.message_to_plan(convert.plan_to_message(plan())))


def test_what_was_not_computed_is_empty_on_the_wire_or_not_a_number():
    bare = dataclasses.replace(
        tokens(), contour=np.zeros(0, np.float32), saliency=np.zeros(0, np.float32)
    )
    same(bare, convert.message_to_tokens(convert.tokens_to_message(bare)))
    unknown = convert.plan_to_message(dataclasses.replace(plan(), saved_ms=math.nan))
    assert math.isnan(convert.message_to_plan(unknown).saved_ms)


def test_chunk_survives_the_wire():
    same(chunk(), convert.message_to_chunk(convert.chunk_to_message(chunk())))


def test_chunk_without_a_limit_of_its_plan_has_none_behind_the_wire():
    unlimited = dataclasses.replace(chunk(), plan_valid_for=math.inf)
    message = convert.chunk_to_message(unlimited)
    assert convert.message_to_chunk(message).plan_valid_for == math.inf
    message.plan_valid_for.sec = -1
    with pytest.raises(InvalidRecordError, match='valid for -1'):
        convert.message_to_chunk(message)


def test_set_point_becomes_a_joint_state():
    position, velocity = np.array([1.0, 2.0]), np.array([0.1, 0.2])
    message = convert.joint_state(('x', 'y'), position, STAMP, velocity)
    assert list(message.name) == ['x', 'y']
    assert list(message.velocity) == [0.1, 0.2]
    assert np.array_equal(convert.joint_values(message, ('y', 'x')), [2.0, 1.0])


@pytest.mark.parametrize('nanosec', [0, 1, 123_456_789, 987_654_321, 999_999_999])
def test_stamps_keep_their_nanoseconds_through_every_record(nanosec):
    stamp = Time(sec=1_795_939_563, nanosec=nanosec)
    for pack, unpack, made in (
        (convert.tokens_to_message, convert.message_to_tokens, tokens()),
        (convert.plan_to_message, convert.message_to_plan, plan()),
        (convert.chunk_to_message, convert.message_to_chunk, chunk()),
    ):
        message = pack(made)
        message.header.stamp = stamp
        if hasattr(message, 'plan_stamp'):
            message.plan_stamp = stamp
        again = pack(copy.deepcopy(unpack(message)))
        assert again.header.stamp == stamp
        assert getattr(again, 'plan_stamp', stamp) == stamp


def test_stamp_is_a_number_of_seconds_to_everybody_else():
    stamp = convert.stamp_to_seconds(Time(sec=100, nanosec=250_000_000))
    assert stamp == 100.25
    assert type(stamp + 1) is float
    assert convert.seconds_to_stamp(stamp + 1) == Time(sec=101, nanosec=250_000_000)


def test_stamps_carry_over_the_second():
    stamp = convert.seconds_to_stamp(1.9999999999)
    assert (stamp.sec, stamp.nanosec) == (2, 0)


@pytest.mark.parametrize('encoding', sorted(convert.CHANNELS))
def test_every_encoding_becomes_rgb(encoding: str):
    channels = convert.CHANNELS[encoding]
    pixel = {
        'rgb8': [1, 2, 3],
        'bgr8': [3, 2, 1],
        'rgba8': [1, 2, 3, 9],
        'bgra8': [3, 2, 1, 9],
        'mono8': [5],
    }[encoding]
    padding = 4
    row = pixel * 20 + [0] * padding
    message = Image(encoding=encoding, height=16, width=20, step=20 * channels + padding)
    message.data = array('B', row * 16)
    pixels = convert.image_to_array(message)
    assert pixels.shape == (16, 20, 3)
    assert (pixels == ([5, 5, 5] if encoding == 'mono8' else [1, 2, 3])).all()


def test_image_survives_the_wire():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    assert np.array_equal(
        convert.image_to_array(convert.array_to_image(pixels, STAMP, 'camera')), pixels
    )


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'encoding': '16UC1'}, 'encoding'),
        ({'encoding': ''}, 'encoding'),
        ({'height': 0, 'width': 0, 'step': 0, 'data': array('B')}, 'pixels'),
        ({'height': 1, 'width': 1, 'step': 3, 'data': array('B', [1, 2, 3])}, '1x1 pixels'),
        ({'step': 10}, 'step'),
        ({'height': 17}, 'bytes'),
        ({'data': array('B')}, '0 bytes'),
    ],
)
def test_bad_images_are_refused_with_the_reason(fields: dict, words: str):
    message = convert.array_to_image(np.zeros((16, 16, 3), np.uint8), STAMP)
    for name, value in fields.items():
        setattr(message, name, value)
    with pytest.raises(InvalidRecordError, match=words):
        convert.image_to_array(message)


@pytest.mark.parametrize(
    ('names', 'positions', 'words'),
    [
        (['x', 'y'], [0.0, math.nan], 'not finite for y'),
        (['x', 'y'], [0.0, math.inf], 'not finite for y'),
        (['x', 'y'], [0.0], '1 positions for 2 names'),
        (['x', 'z'], [0.0, 1.0], 'expected each of x, y'),
        (['x', 'y', 'y'], [0.0, 1.0, 2.0], 'once'),
        ([], [], 'none'),
    ],
)
def test_bad_states_are_refused_with_the_reason(names: list, positions: list, words: str):
    with pytest.raises(InvalidRecordError, match=words):
        convert.joint_values(JointState(name=names, position=positions), ('x', 'y'))


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'actions': array('f', [math.nan] * 8)}, 'finite'),
        ({'horizon': 0, 'actions': array('f')}, 'rows'),
        ({'names': ['x', 'y', 'z']}, '8 values for 2 rows of 3'),
        ({'horizon': 3}, '8 values for 3 rows'),
        ({'kinds': [0, 0, 0, 0]}, 'column x is of kind UNKNOWN'),
        ({'kinds': [77, 2, 2, 4]}, r'column of kind 77; expected one of \[1, 2, 3, 4\]'),
        ({'kinds': [2, 2]}, 'expected one each a name'),
        ({'references': [0, 2, 2, 1]}, 'reference UNKNOWN'),
        ({'references': [3, 2, 2, 1]}, 'count from the observation, which is not there'),
        ({'units': ['inch', 'm', 'm', 'effort']}, "POSITION in 'inch'"),
        ({'frame': 'world'}, "frame 'world'; expected base or tool"),
        ({'frame': 'tool'}, 'frame of the tool'),
        ({'observation_state': array('d', [math.nan] * 4)}, 'observation_state'),
    ],
)
def test_bad_chunks_are_refused_with_the_reason(fields: dict, words: str):
    message = convert.chunk_to_message(chunk())
    for name, value in fields.items():
        setattr(message, name, value)
    with pytest.raises(InvalidRecordError, match=words):
        convert.message_to_chunk(message)


def test_chunk_without_duration_is_refused():
    message = convert.chunk_to_message(chunk())
    message.dt.sec = message.dt.nanosec = 0
    with pytest.raises(InvalidRecordError, match='dt'):
        convert.message_to_chunk(message)


def test_tokens_out_of_order_are_refused():
    message = convert.tokens_to_message(tokens())
    message.position = array('i', reversed(message.position))
    with pytest.raises(InvalidRecordError, match='reordered'):
        convert.message_to_tokens(message)


def test_plan_with_wrong_size_is_refused():
    message = convert.plan_to_message(plan())
    message.width = 4
    with pytest.raises(InvalidRecordError, match='plan has 6 values'):
        convert.message_to_plan(message)


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'kept': array('i', [5, 8, 7])}, 'kept position ids .* increasing'),
        ({'kept': array('i', [5, 7, 7])}, 'named one twice'),
        ({'reused': array('i', [8, 6])}, 'reused position ids'),
        ({'reused': array('i', [6])}, '2 ages for 1 reused'),
        ({'reused_age': array('f')}, '0 ages for 2 reused'),
        ({'reused_age': array('f', [0.1, math.nan])}, 'ages of reused tokens .* not finite'),
        ({'reused_age': array('f', [0.1, -2.0])}, '-2.0 s old'),
        ({'protected_tokens': array('i', [6])}, 'not kept'),
        ({'protected_tokens': array('i', [8, 7])}, 'protected position ids'),
        ({'saved_ms': math.inf}, 'saved inf ms'),
    ],
)
def test_bad_plans_are_refused_with_the_reason(fields: dict, words: str):
    message = convert.plan_to_message(plan())
    for name, value in fields.items():
        setattr(message, name, value)
    with pytest.raises(InvalidRecordError, match=words):
        convert.message_to_plan(message)


@pytest.mark.parametrize('name', ['contour', 'saliency'])
@pytest.mark.parametrize(
    ('values', 'words'), [([0.5], 'one value for each of 6'), ([math.nan] * 6, 'not finite')]
)
def test_signals_of_tokens_are_complete_and_finite_or_absent(name: str, values: list, words: str):
    message = convert.tokens_to_message(tokens())
    setattr(message, name, array('f', values))
    with pytest.raises(InvalidRecordError, match=words):
        convert.message_to_tokens(message)
