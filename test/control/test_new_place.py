# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A robot without a set-point of its own is believed after a reset once it says where it is."""

from types import SimpleNamespace

import numpy as np

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.control.limits import AxisLimits
from efficient_vla.control.whereabouts import SETTLED_S, Whereabouts
from efficient_vla.nodes.controller.robot_state import keeps_setpoint
from efficient_vla.settings import build

LIMITS = [AxisLimits(3.0, 20.0, 1000.0, 20.0, -2.0, 2.0)]


GIVEN = {'names': ['pan'], 'reset_distance': [0.1]}


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


def test_an_episode_begins_until_the_robot_is_taken_as_it_stands() -> None:
    watch = standing(0.3)
    assert not watch.begins
    watch.notice(10.1)
    assert watch.begins
    watch.anchored(10.4)
    assert not watch.begins


def test_a_set_point_held_before_an_episode_is_not_gone_on_from() -> None:
    """States that came late, so that nothing leapt, of an axis that had only just come to rest."""
    watch, settings = standing(0.3), build(ControllerNodeSettings, GIVEN)
    controller = SimpleNamespace(motion=(np.array([0.3]), np.zeros(1), np.zeros(1)))
    watch.anchored(10.0)
    watch.notice(10.1)
    watch.read(np.array([1.0]), None, 10.5, 10.5, LIMITS, 0.5)
    assert watch.doubted(10.5) is None
    assert not keeps_setpoint(controller, watch, settings)
