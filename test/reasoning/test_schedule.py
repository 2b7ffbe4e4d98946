# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which frames the plan before answers: FlashVLA's trigger and SP-VLA's scheduler, by hand."""

import math

import numpy as np
import pytest

from efficient_vla.reasoning.schedule import PassSchedule
from efficient_vla.reasoning.settings import ScheduleSettings

NAMES = ('x', 'y', 'z', 'gripper')
STEADY = ScheduleSettings('steady', angle=0.1, overlap=0.75)
LEVEL = ScheduleSettings('intuitive', max_skipped=10)
TOKENS = np.arange(8)


def go(schedule, settings, steps, kept=TOKENS, grip=1.0, start=(0.0, 0.0, 0.0), stamp=0.0):
    """Plan after each displacement; return whether each was answered by the plan before."""
    place, skipped = np.array(start), []
    for index, step in enumerate(steps):
        place = place + np.array(step)
        state = np.append(place, grip[index] if isinstance(grip, list) else grip)
        reason = schedule.judge(stamp + 0.1 * index, place, state, settings)
        schedule.note(None if reason else kept[index] if isinstance(kept, list) else kept)
        skipped.append(bool(reason))
    return skipped


STRAIGHT = (0.01, 0.0, 0.0)


def test_steady_motion_skips_as_soon_as_two_actions_and_two_passes_are_known():
    assert go(PassSchedule(NAMES), STEADY, [STRAIGHT] * 8) == [False] * 2 + [True] * 3 + [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(('angle', 'skips'), [(0.0, True), (0.09, True), (0.11, False)])
def test_the_angle_between_the_last_two_actions_decides(angle, skips):
    turned = (0.02 * math.cos(angle), 0.02 * math.sin(angle), 0.0)
    assert go(PassSchedule(NAMES), STEADY, [(0, 0, 0), STRAIGHT, turned]) == [False, False, skips]


@pytest.mark.parametrize(
    ('before', 'now', 'skips'),
    [
        (range(8), range(2, 10), True),  # 6 of 8
        (range(8), range(3, 11), False),  # 5 of 8
        (range(16), range(8), True),  # all of the newer set
        (range(8), range(16), False),  # half of it
    ],
)
def test_the_share_of_the_newer_set_that_the_older_one_had_decides(before, now, skips):
    kept = [np.array(before), np.array(now), TOKENS]
    assert go(PassSchedule(NAMES), STEADY, [STRAIGHT] * 3, kept) == [False, False, skips]


def test_a_robot_that_stands_has_no_direction():
    assert go(PassSchedule(NAMES), STEADY, [(0.0009, 0, 0)] * 4) == [False] * 4


@pytest.mark.parametrize(('settings', 'steps'), [(STEADY, 3), (LEVEL, 7)])
def test_a_gripper_that_moves_asks_for_a_pass(settings, steps):
    grip = [1.0] * (steps - 1)
    assert go(PassSchedule(NAMES), settings, [STRAIGHT] * steps, grip=[*grip, 0.96])[-1]
    assert not go(PassSchedule(NAMES), settings, [STRAIGHT] * steps, grip=[*grip, 0.94])[-1]


def test_a_clock_that_jumps_back_and_a_reset_forget_the_motion():
    schedule = PassSchedule(NAMES)
    assert go(schedule, STEADY, [STRAIGHT] * 3)[-1]
    assert go(schedule, STEADY, [STRAIGHT] * 3, stamp=-5.0) == [False, False, True]
    schedule.reset()
    assert go(schedule, STEADY, [STRAIGHT] * 3, stamp=9.0) == [False, False, True]


def test_no_more_than_max_skipped_in_a_row():
    settings = ScheduleSettings('steady', max_skipped=1)
    assert go(PassSchedule(NAMES), settings, [STRAIGHT] * 6) == [False] * 2 + [True, False] * 2


def test_level_motion_skips_while_two_thirds_of_the_last_six_plans_are_passes():
    # Six passes, then 6/6, 5/6 and 4/6 of passes; with 3/6 a pass, which makes it 3/6 again until
    # the first skipped one has left the six.
    expected = [False] * 6 + [True] * 3 + [False] * 4 + [True]
    assert go(PassSchedule(NAMES), LEVEL, [STRAIGHT] * 14) == expected


@pytest.mark.parametrize(
    ('step', 'skips'),
    [
        ((0.01, 0.0, 0.0039), True),
        ((0.0, -0.01, -0.0039), True),
        ((0.01, 0.01, 0.0041), False),  # a share of the greater of both, not of their length
        ((0.06, 0.0, 0.0235), True),  # 0.235 m/s upwards
        ((0.07, 0.0, 0.0245), False),  # 0.245 m/s
        ((0.0009, 0.0, 0.0), False),
        ((0.0, 0.0, 0.01), False),
    ],
)
def test_level_means_little_height_beside_the_way_and_a_slow_rise(step, skips):
    assert go(PassSchedule(NAMES), LEVEL, [STRAIGHT] * 6 + [step])[-1] == skips
