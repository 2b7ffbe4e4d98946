# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The tick keeps nothing: hours of control take no more memory than its first second."""

import gc
import sys

import numpy as np
import pytest

from efficient_vla.control.settings import BLENDING_METHODS

RATE = 500.0
TICKS = 10_000
CHUNK_TICKS = 25
"""A chunk every 50 ms."""


def drive(controller, straight, begin, ticks):
    """Tick on from tick ``begin``, with chunks that differ and come 40 ms late."""
    for k in range(begin, begin + ticks):
        now = k / RATE
        if k % CHUNK_TICKS == 0:
            speed = 0.1 if k % (2 * CHUNK_TICKS) else -0.1
            controller.accept(straight((speed, 0.05, 0), max(now - 0.04, 0.0), k), now)
        controller.tick(now + 1 / RATE)


@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_ten_thousand_ticks_leave_nothing_behind(make_controller, straight, method):
    controller = make_controller(
        {'rate': RATE, 'blending.method': method, 'horizon.method': 'adaptive'}
    )
    drive(controller, straight, 0, 1000)
    gc.collect()
    before = sys.getallocatedblocks()
    drive(controller, straight, 1000, TICKS)
    gc.collect()
    assert sys.getallocatedblocks() - before < TICKS / 20


def test_a_robot_that_braked_by_itself_goes_on_from_there(make_controller, straight, run):
    controller = make_controller(covers=0.02)
    controller.accept(straight((0.4, 0.0, 0.0)), 0.0)
    run(controller, 0.0, 0.2)
    times, states = controller.brake_path(4)
    times, way = np.array([*times]), np.array(states)[:, 0, 0]
    late = controller.tick(0.2 + times[-1] + 0.02)
    # It stood there; from rest it gets no further in 20 ms than the limits allow.
    assert abs(late.position[0] - way[-1]) <= 1500 * 0.02**3 / 6 + 1e-9
