# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from efficient_vla.serving.observation import (
    Keys,
    StatePart,
    image_keys,
    put,
    read,
    state_parts,
)
from efficient_vla.serving.protocol import packed, unpacked
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import InvalidRecordError

KEYS = Keys(
    {'high': 'images.cam_high', 'wrist': 'observation/wrist_image'},
    (StatePart('joints', ('a', 'b')), StatePart('grip', ('c',))),
    'prompt',
)


def observation() -> dict:
    return {
        'images': {'cam_high': np.arange(3 * 16 * 20, dtype=np.uint8).reshape(3, 16, 20)},
        'observation/wrist_image': np.zeros((16, 18, 3), np.uint8),
        'joints': np.array([1.0, 2.0]),
        'grip': 0.5,
        'prompt': 'pick it up',
        'other': 1,
    }


def test_keys_without_a_choice_are_those_of_the_examples_of_openpi() -> None:
    assert image_keys(['front']) == {'front': 'observation/image'}
    assert image_keys(['a', 'b']) == {'a': 'observation/a', 'b': 'observation/b'}
    assert state_parts(['x', 'y']) == (StatePart('observation/state', ('x', 'y')),)
    assert state_parts([]) == ()


def test_keys_share_out_the_state() -> None:
    assert state_parts(['a', 'b', 'c'], ['joint:2', 'grip:1']) == (
        StatePart('joint', ('a', 'b')),
        StatePart('grip', ('c',)),
    )


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (['joint', 'grip'], 'expected KEY:COUNT'),
        (['joint:2', 'grip:2'], 'counts that add up'),
        (['joint:x', 'grip:1'], "'joint:x' is not of the form"),
        (['joint:1', 'joint:2'], 'none empty or twice'),
        (['a..b'], 'none empty or twice'),
    ],
)
def test_keys_that_do_not_share_out_the_state_are_refused(given: list, said: str) -> None:
    with pytest.raises(InvalidSettingError, match=said):
        state_parts(['a', 'b', 'c'], given)


def test_image_keys_have_to_be_one_a_camera() -> None:
    with pytest.raises(InvalidSettingError, match='for the cameras a, b; expected one a camera'):
        image_keys(['a', 'b'], ['one'])


def test_an_observation_is_read_from_nested_maps_and_either_order_of_sides() -> None:
    found = read(observation(), KEYS)
    assert found.images['high'].shape == (16, 20, 3)
    assert found.images['high'][1, 2].tolist() == [22, 22 + 320 - 256, 22 + 640 - 512]
    assert found.images['wrist'].shape == (16, 18, 3)
    assert found.images['high'].flags.c_contiguous
    assert found.state.tolist() == [1.0, 2.0, 0.5]
    assert found.prompt == 'pick it up'


@pytest.mark.parametrize(
    ('changed', 'said'),
    [
        ({'images': {}}, "lacks 'images.cam_high'; it has images, observation/wrist_image"),
        ({'images': 3}, "lacks 'images.cam_high'"),
        ({'observation/wrist_image': np.zeros((16, 18, 3))}, 'is float64 .16, 18, 3.; expected'),
        ({'observation/wrist_image': np.zeros((16, 18), np.uint8)}, 'expected an image of uint8'),
        ({'observation/wrist_image': [1]}, 'is list; expected an image'),
        ({'joints': np.zeros(3)}, r"'joints' is float64 of shape \[3\]; expected 2 numbers: a, b"),
        ({'joints': np.zeros((1, 2))}, r'of shape \[1, 2\]'),
        ({'joints': [1, [2]]}, "'joints' is object"),
        ({'joints': 'ab'}, "'joints' is <U2"),
        ({'grip': True}, "'grip' is bool"),
        ({'prompt': 7}, "'prompt' is of type int; expected one sentence"),
    ],
)
def test_an_observation_that_lacks_something_is_refused(changed: dict, said: str) -> None:
    with pytest.raises(InvalidRecordError, match=said):
        read(observation() | changed, KEYS)


def test_a_dot_is_a_step_into_a_nested_map() -> None:
    message: dict = {}
    put(message, 'images.cam_high', 1)
    put(message, 'images.cam_low', 2)
    put(message, 'observation/state', 3)
    assert message == {'images': {'cam_high': 1, 'cam_low': 2}, 'observation/state': 3}


def test_an_image_that_came_over_the_wire_can_be_written_to() -> None:
    sent = unpacked(packed(observation(), 10_000))
    for image in read(sent, KEYS).images.values():
        assert image.flags.writeable
