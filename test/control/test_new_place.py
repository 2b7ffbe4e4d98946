# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A robot without a set-point of its own is believed after a reset once it says where it is."""

import numpy as np

from efficient_vla.control.limits import AxisLimits
from efficient_vla.control.whereabouts import SETTLED_S, Whereabouts

LIMITS = [AxisLimits(3.0, 20.0, 1000.0, 20.0, -2.0, 2.0)]


def standing(at: float) -> Whereabouts:
    """Return what is known of a robot that stood ``at`` until second 10."""
    watch = Whereabouts(('pan',), np.array([False]))
    for stamp in (9.0, 10.0):
        watch.read(np.array([at]), None, stamp, stamp, LIMITS, 0.5)
    return watch


def test_what_it_said_before_an_episode_began_is_not_believed() -> None:
    watch = standing(0.3)
    assert watch.doubted(10.1) is None
    watch.notice(10.1)
    assert 'an episode began' in str(watch.doubted(10.15))
    watch.read(np.array([0.3]), None, 10.09, 10.15, LIMITS, 0.5)
    assert 'an episode began' in str(watch.doubted(10.15))


def test_its_new_place_is_believed_once_it_settled() -> None:
    watch = standing(0.3)
    watch.notice(10.1)
    watch.read(np.array([1.6]), None, 10.12, 10.12, LIMITS, 0.5)
    assert 'leapt' in str(watch.doubted(10.15))
    assert watch.doubted(10.13 + SETTLED_S) is None


def test_a_robot_that_did_not_leap_is_believed_at_its_first_word() -> None:
    watch = standing(0.3)
    watch.notice(10.1)
    watch.read(np.array([0.31]), None, 10.1, 10.12, LIMITS, 0.5)
    assert watch.doubted(10.12) is None
