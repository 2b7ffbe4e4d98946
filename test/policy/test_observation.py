# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``Policy.act`` takes what people have, and refuses what it would have to guess."""

import time

import numpy as np
import pytest
import torch
from fixtures.policies import write_policy
from PIL import Image

from efficient_vla.perception.preprocess import pixels, shrink, squared
from efficient_vla.policy import Policy
from efficient_vla.types import Frame, InvalidRecordError

SENTENCE = 'open the drawer'
STATE = [0.0, 0.6, 0.2, 1.0]
IMAGE = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
REFERENCE = Frame({'corner2': IMAGE}, np.array(STATE, np.float32), 0.0)


@pytest.fixture(scope='module')
def policy(folder):
    return Policy.from_pretrained(folder)


@pytest.mark.parametrize(
    'image',
    [IMAGE, IMAGE.tolist(), Image.fromarray(IMAGE), torch.tensor(IMAGE), {'corner2': IMAGE}],
    ids=['array', 'list', 'PIL', 'torch', 'dictionary'],
)
@pytest.mark.parametrize('state', [STATE, np.array(STATE)], ids=['list', 'array'])
def test_images_and_states_of_any_kind_are_the_same_observation(policy, image, state):
    policy.reset()
    expected = policy.act(REFERENCE, SENTENCE).actions
    policy.reset()
    assert np.array_equal(policy.act(image, SENTENCE, state=state).actions, expected)


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({'observation': IMAGE}, 'no state was given; the policy expects 4 numbers: x, y, z'),
        ({'observation': IMAGE, 'state': [1, 2]}, r'a state of shape \[2\] was given'),
        ({'observation': IMAGE, 'state': 'home'}, "state is 'home'; expected a list of numbers"),
        ({'observation': IMAGE, 'state': STATE, 'stamp': float('nan')}, 'stamp is nan; expected'),
        ({'observation': {'wrist': IMAGE}, 'state': STATE}, "camera 'corner2' is missing"),
        (
            {'observation': {'corner2': IMAGE, 'wrist': IMAGE}, 'state': STATE},
            "unknown camera 'wrist'; the policy expects corner2",
        ),
        ({'observation': IMAGE / 255, 'state': STATE}, "'corner2' is float64"),
        ({'observation': (IMAGE / 255).tolist(), 'state': STATE}, "'corner2' is float64"),
        (
            {'observation': (IMAGE > 127).astype(int).tolist(), 'state': STATE},
            "'corner2' holds only 0 and 1; expected 0 to 255",
        ),
        (
            {'observation': Image.fromarray(IMAGE[..., 0].astype(np.uint16) * 257), 'state': STATE},
            "'corner2' has mode I;16 of PIL",
        ),
        (
            {'observation': IMAGE, 'state': [True] * 4},
            r'state is \[True.*list of numbers',
        ),
        (
            {'observation': IMAGE, 'state': [True, 0.5, 0.5, 1]},
            r'state is \[True.*list of numbers',
        ),
        ({'observation': IMAGE, 'state': ['0', '1', '2', '3']}, "state is .*'0'.* list of numbers"),
        ({'observation': IMAGE, 'state': STATE, 'stamp': True}, 'stamp is True; expected'),
        ({'observation': IMAGE, 'state': STATE, 'stamp': '1'}, "stamp is '1'; expected"),
        ({'observation': [[1, 2], [3]], 'state': STATE}, "image of camera 'corner2' is no array"),
        ({'observation': (IMAGE.astype(int) + 9).tolist(), 'state': STATE}, "'corner2' is int64"),
        (
            {'observation': torch.ones(16, 16, 3, requires_grad=True), 'state': STATE},
            "image of camera 'corner2' is no array",
        ),
        (
            {'observation': IMAGE, 'state': torch.tensor(STATE, requires_grad=True)},
            r'state is tensor.*requires_grad.*expected a list of numbers',
        ),
        (
            {'observation': IMAGE, 'state': [1e38, 0, 0, 0]},
            r'robot state is \[1.*e\+38.*at most 1e',
        ),
        ({'observation': IMAGE, 'state': [1e300, 0, 0, 0]}, 'robot state holds 1 values that'),
        ({'observation': REFERENCE, 'state': STATE}, 'a Frame was given with state or stamp'),
    ],
)
@pytest.mark.filterwarnings('error')
def test_what_would_have_to_be_guessed_is_refused(policy, given, expected):
    with pytest.raises(InvalidRecordError, match=expected):
        policy.act(instruction=SENTENCE, **given)


def test_a_frame_without_a_time_or_with_a_state_of_words_is_refused():
    with pytest.raises(InvalidRecordError, match='frame has stamp nan; expected a finite'):
        Frame({'corner2': IMAGE}, np.zeros(4, np.float32), float('nan'))
    with pytest.raises(InvalidRecordError, match='frame has stamp None; expected a finite'):
        Frame({'corner2': IMAGE}, np.zeros(4, np.float32), None)
    with pytest.raises(InvalidRecordError, match="image of camera 'corner2' is list; expected"):
        Frame({'corner2': IMAGE.tolist()}, np.zeros(4, np.float32), 0.0)
    for state in (np.array(['a', 'b']), np.array([True, False]), STATE):
        with pytest.raises(InvalidRecordError, match='expected a vector of numbers'):
            Frame({'corner2': IMAGE}, state, 0.0)


@pytest.mark.parametrize('stamp', [np.int64(12), np.float32(12.5), np.float64(12.5), 12])
def test_stamps_may_be_numbers_of_numpy(policy, stamp):
    assert policy.act(IMAGE, SENTENCE, state=STATE, stamp=stamp).stamp == float(stamp)


def test_dark_and_black_images_are_taken(policy):
    for image in (
        Image.fromarray(np.minimum(IMAGE, 1)),
        np.minimum(IMAGE, 1),
        (IMAGE * 0).tolist(),
    ):
        policy.act(image, SENTENCE, state=STATE)


def test_one_image_for_two_cameras_is_refused(tmp_path):
    two = Policy.from_pretrained(write_policy(tmp_path, cameras=('left', 'right')))
    with pytest.raises(InvalidRecordError, match='expects those of left, right'):
        two.act(IMAGE, SENTENCE, state=STATE)
    chunk = two.act({'right': IMAGE, 'left': IMAGE}, SENTENCE, state=STATE)
    assert len(chunk.actions)


def test_the_stamp_is_now_or_what_is_given(policy):
    before = time.monotonic()
    first = policy.act(IMAGE, SENTENCE, state=STATE).stamp
    second = policy.act(IMAGE, SENTENCE, state=STATE).stamp
    assert before <= first < second <= time.monotonic()
    assert policy.act(IMAGE, SENTENCE, state=STATE, stamp=12.5).stamp == 12.5


def test_tokens_are_kept_no_longer_than_they_may_be_where_no_stamp_is_given(folder, monkeypatch):
    clock = iter([10.0, 10.3, 10.6])
    monkeypatch.setattr('efficient_vla.observation.time.monotonic', lambda: next(clock))
    policy = Policy.from_pretrained(folder, cache_method='skip', cache_max_age=0.5)
    plans = [policy.act(IMAGE, SENTENCE, state=STATE).plan_sequence for _ in range(3)]
    assert plans == [1, 1, 2]


def test_a_policy_is_loaded_by_its_shipped_name():
    assert Policy.from_pretrained('evla-nano').perception.cameras == ('corner2',)


def test_a_camera_of_another_shape_is_padded_and_not_stretched():
    wide = np.full((30, 50, 3), 200, np.uint8)
    square = squared(wide)
    assert square.shape == (50, 50, 3)
    assert (square[10:40] == 200).all()
    assert not square[:10].any()
    assert not square[40:].any()
    assert (squared(wide.swapaxes(0, 1)) == square.swapaxes(0, 1)).all()
    assert squared(IMAGE) is IMAGE
    assert np.array_equal(shrink(wide, 50), square)
    assert np.array_equal(pixels(wide, 50, [0] * 3, [1] * 3), pixels(square, 50, [0] * 3, [1] * 3))


def test_the_same_scene_on_a_wider_sensor_gives_the_same_actions(folder):
    """A black scene of 160 x 160 within 160 x 200 and within 200 x 200 is one and the same."""
    wide = np.zeros((160, 200, 3), np.uint8)
    wide[:, 20:180] = IMAGE
    square = np.zeros((200, 200, 3), np.uint8)
    square[20:180, 20:180] = IMAGE
    for cache in ('none', 'patch'):
        policies = [Policy.from_pretrained(folder, cache_method=cache) for _ in range(2)]
        for stamp in (0.0, 0.1):
            chunks = [
                p.act(image, SENTENCE, state=STATE, stamp=stamp)
                for p, image in zip(policies, (wide, square), strict=True)
            ]
            assert np.array_equal(chunks[0].actions, chunks[1].actions)
