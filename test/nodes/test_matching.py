# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One image a camera of about the same time, whichever comes first and however late."""

import pytest

from efficient_vla.nodes.stages.matching import KEPT, Matcher, misnamed

SLOP = 0.02


class Feed:
    """Adds images in the order of their arrival and keeps the sets that come of them."""

    def __init__(self, *names):
        self.matcher = Matcher(names)
        self.sets = []
        self.words = ''

    def __call__(self, name, stamp):
        self.matcher.add(name, stamp, f'{name} {stamp}')
        found, self.words = self.matcher.match(SLOP)
        if found is not None:
            self.sets.append({camera: stamp for camera, (stamp, _) in found.items()})


@pytest.mark.parametrize('order', [('left', 'right'), ('right', 'left')])
def test_two_cameras_of_the_same_instants_make_a_set_of_each_instant(order):
    feed = Feed('left', 'right')
    for number in range(3):
        for name in order:
            feed(name, number * 0.25)
            assert not feed.words
    assert feed.sets == [{'left': t, 'right': t} for t in (0.0, 0.25, 0.5)]


def test_images_that_come_late_meet_those_of_their_own_time():
    feed = Feed('front', 'wrist')
    for number in range(12):
        feed('front', number * 0.033)
        if number >= 4:
            feed('wrist', (number - 4) * 0.033)
    assert [found['front'] - found['wrist'] for found in feed.sets] == [0.0] * 8


def test_frames_come_as_often_as_images_of_the_slowest_camera_and_each_image_once():
    feed = Feed('fast', 'slow')
    for number in range(12):
        feed('fast', number * 0.03)
        if number % 4 == 3:
            feed('slow', number * 0.03 + 0.01)
    assert feed.sets == [{'fast': 0.03 * n, 'slow': 0.03 * n + 0.01} for n in (3, 7, 11)]


def test_camera_that_lags_is_named_with_what_the_nearest_images_differ_by():
    feed = Feed('front', 'wrist', 'top')
    feed('front', 1.0)
    feed('top', 1.01)
    assert not feed.words
    feed('wrist', 0.7)
    assert feed.words == 'wrist lags by 0.310 s and the nearest images differ by 0.310 s'
    assert not feed.sets
    feed('wrist', 1.005)
    assert feed.sets == [{'front': 1.0, 'wrist': 1.005, 'top': 1.01}]
    assert not feed.words


def test_newest_set_is_taken_and_older_images_are_forgotten():
    feed = Feed('left', 'right')
    for number in range(KEPT + 4):
        feed('left', number * 0.01)
    feed('right', (KEPT + 3) * 0.01)
    assert feed.sets == [{'left': (KEPT + 3) * 0.01, 'right': (KEPT + 3) * 0.01}]
    feed('right', KEPT * 0.01)
    assert len(feed.sets) == 1


def test_clock_that_was_set_back_begins_anew():
    feed = Feed('left', 'right')
    feed('left', 100.0)
    feed('left', 5.0)
    feed('right', 5.0)
    assert feed.sets == [{'left': 5.0, 'right': 5.0}]


def test_frame_that_any_camera_may_have_calls_none():
    names = ('camera', 'wrist')
    assert misnamed('camera_color_optical_frame', 'wrist', names) is None
    assert misnamed('wrist_camera_optical_frame', 'camera', names) == 'wrist'


@pytest.mark.parametrize(
    ('frame', 'name', 'other'),
    [
        ('front_camera_color_optical_frame', 'wrist', 'front'),
        ('wrist_left_optical', 'front', 'wrist_left'),
        ('wrist_left_optical', 'wrist_left', None),
        ('Front-Camera/rgb', 'wrist_left', 'front'),
        ('camera_color_optical_frame', 'wrist_left', None),
        ('', 'front', None),
        ('front_wrist_left', 'front', None),
    ],
)
def test_an_image_that_is_called_by_another_camera_is_known(frame, name, other):
    names = ('front', 'wrist_left') if 'left' in frame + name else ('front', 'wrist')
    assert misnamed(frame, name, names) == other
