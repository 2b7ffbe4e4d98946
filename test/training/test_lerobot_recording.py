# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages of a graph become frames a fixed time apart, each with what belongs to its image."""

import numpy as np
import pytest

from efficient_vla.errors import EpisodeError
from efficient_vla.records import SentEpisode
from efficient_vla.training.lerobot_recording import resampled


def flow(stamps, rate=100.0, speed=0.5):
    """Images that show their number; a set-point that moves along x from 10 s on at ``speed``."""
    times = 9.95 + np.arange(int((max(stamps) - 9.9) * rate)) / rate
    return SentEpisode(
        [(stamp, np.full((2, 2, 3), number, np.uint8)) for number, stamp in enumerate(stamps)],
        [(time, np.array([time, -2 * time])) for time in times],
        [(time, np.array([speed * (time - 10), 0.0, time > 10.2])) for time in times],
    )


def test_images_at_the_rate_of_the_dataset_are_its_frames():
    found = resampled(flow([10.0, 10.1, 10.2, 10.3]), 10, 2)
    assert found.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert found.repeated == 0


def test_a_row_is_how_far_the_set_point_goes_until_the_next_frame():
    found = resampled(flow([10.0, 10.1, 10.2, 10.3]), 10, 2)
    assert found.action.dtype == np.float32
    assert found.action[:3, 0] == pytest.approx([0.05] * 3, abs=0.006)
    assert found.action[:, 1].tolist() == [0.0] * 4
    assert found.action[:3, 0].sum() == pytest.approx(0.15, abs=0.006)


def test_efforts_are_not_differences():
    found = resampled(flow([10.0, 10.1, 10.2, 10.3]), 10, 2)
    assert found.action[:, 2].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_the_state_is_that_of_the_capture_time():
    found = resampled(flow([10.004, 10.107, 10.196]), 10, 2)
    assert found.state[:, 0] == pytest.approx([10.004, 10.107, 10.196], abs=1e-5)
    assert found.state[:, 1] == pytest.approx([-20.008, -20.214, -20.392], abs=1e-5)


def test_an_image_that_came_late_belongs_to_the_frame_nearest_to_it():
    found = resampled(flow([10.0, 10.12, 10.19, 10.3]), 10, 2)
    assert found.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    # Its row is as long as the time to the next image.
    assert found.action[:3, 0] == pytest.approx([0.06, 0.035, 0.055], abs=0.006)


def test_where_no_image_came_the_last_is_shown_again_and_counted():
    found = resampled(flow([10.0, 10.1, 10.4, 10.5]), 10, 2)
    assert found.images[:, 0, 0, 0].tolist() == [0, 1, 1, 2, 2, 3]
    assert found.repeated == 2
    assert len(found.images) == 6
    assert found.action[:5, 0].sum() == pytest.approx(0.25, abs=0.01)


def test_more_images_than_frames_are_thinned_out():
    stamps = [10.0 + 0.025 * number for number in range(9)]
    found = resampled(flow(stamps), 10, 2)
    assert found.images[:, 0, 0, 0].tolist() == [0, 4, 8]


def test_messages_out_of_order_are_put_in_order():
    ordered = flow([10.0, 10.1, 10.2])
    mixed = SentEpisode(ordered.images[::-1], ordered.states[::-1], ordered.commands[::-1])
    first, second = resampled(ordered, 10, 2), resampled(mixed, 10, 2)
    assert np.array_equal(first.state, second.state)
    assert np.array_equal(first.action, second.action)
    assert np.array_equal(first.images, second.images)


@pytest.mark.parametrize('missing', ['images', 'states', 'commands'])
def test_an_episode_without_some_of_it_is_refused(missing):
    recorded = flow([10.0, 10.1])
    setattr(recorded, missing, [])
    with pytest.raises(EpisodeError, match=f'no {missing} were recorded'):
        resampled(recorded, 10, 2)
