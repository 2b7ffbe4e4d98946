# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every setting of the controller changes what it does.

Those of robots that lag, of joints without an end and of the first chunk: test_stopping.py,
test_angles.py, test_first_motion.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from efficient_vla.control.controller import Controller
from efficient_vla.control.settings import BLENDING_METHODS, ControllerSettings
from efficient_vla.settings import build, specs

BASE = {'blending.method': 'offset_fade', 'ramp_time': 0.0, 'watchdog.chunk_timeout': 1.0}
CHANGES = {
    'rate': {'rate': 50.0},
    'robot_delay': {'robot_delay': 0.03},
    'blending.method': {'blending.method': 'latest_only'},
    'blending.fade_time': {'blending.fade_time': 0.4},
    'ramp_time': {'ramp_time': 0.5},
    'interpolation': {'interpolation': 'linear'},
    'horizon.method': {'horizon.method': 'adaptive'},
    'horizon.low': {'horizon.low': 0.4},
    'horizon.high': {'horizon.high': 0.2},
    'horizon.disagreement': {'horizon.disagreement': 3.0},
    'blending.average_time': {'blending.average_time': 0.05},
    'blending.ensemble_decay': {'blending.ensemble_decay': 2.0},
    'time_scaling.low': {'time_scaling.low': 1.0},
    'limits.max_velocity': {'limits.max_velocity': (0.15,)},
    'limits.max_acceleration': {'limits.max_acceleration': (30.0,)},
    'limits.max_jerk': {'limits.max_jerk': (3000.0,)},
    'limits.stop_deceleration': {'limits.stop_deceleration': (15.0,)},
    'limits.position_low': {'limits.position_low': (-0.02,)},
    'limits.position_high': {'limits.position_high': (0.65,)},
    'tool.max_velocity': {'tool.max_velocity': 0.3},
    'watchdog.chunk_timeout': {'watchdog.chunk_timeout': 0.3},
    'watchdog.max_future': {'watchdog.max_future': 0.5},
}


METHOD = {
    'blending.ensemble_decay': 'temporal_ensemble',
    'blending.average_time': 'weighted_average',
}
"""Settings that only one blending reads."""


def behaviour(make_chunk, values):
    """Set-points and counters of a run with seams, stale ends, an early chunk and late ticks."""
    controller = Controller(build(ControllerSettings, values), ('x', 'y', 'z', 'gripper'))
    controller.reset(np.array([0.1, 0.6, 0.2, 0.0]), 0.0)
    controller.enable(0.0)
    positions = []
    for step in range(1, 200):
        now = step * 0.01 + (0.04 if step > 30 else 0.0)
        if step in (1, 11, 21, 31, 91, 151):
            row = np.array([-0.006, 0.004, 0.002, 0.0]) * (1 + min(step, 31) / 30)
            rows = np.tile(row, (40, 1)) * (1 + 0.2 * np.sin(np.arange(40)))[:, None]
            controller.accept(
                make_chunk(rows, max(now - (0.4 if step == 151 else 0.06), 0), step), now
            )
        if step == 120:
            controller.accept(make_chunk([[0.0, 0.002, 0, 0]] * 40, now + 0.2, step), now)
        positions.append(controller.tick(now).position)
    return np.concatenate([np.ravel(positions), [controller.rejected, controller.underruns]])


def test_the_table_of_changes_is_complete():
    elsewhere = {'stop_tolerance', 'continuous', 'contract.first_angle', 'contract.first_length'}
    elsewhere.add('tool.max_angular_velocity')
    names = {name for name, _, _ in specs(ControllerSettings)}
    of_model = {name for name in names if name.startswith(('kinematics.', 'collision.'))}
    assert set(CHANGES) | elsewhere | of_model == names


@pytest.mark.parametrize('name', CHANGES)
def test_setting_is_used(make_chunk, name):
    base = {**BASE}
    if name in METHOD:
        base['blending.method'] = METHOD[name]
    if name.startswith('horizon.'):
        base['horizon.disagreement'] = 0.05
        if name != 'horizon.method':
            base['horizon.method'] = 'adaptive'
    if name == 'time_scaling.low':
        # Rows that the limits slow down last until the next chunk comes.
        base['limits.max_velocity'] = (2.0,)
    before = behaviour(make_chunk, base)
    after = behaviour(make_chunk, {**base, **CHANGES[name]})
    assert np.abs(before - after).max() > 1e-4


@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_a_change_that_is_none_of_blending_leaves_the_motion_as_it_was(
    make_controller, straight, run, method
):
    paths = []
    for changed in (False, True):
        controller = make_controller({'blending.method': method})
        for number in range(4):
            speed = (0.3 - 0.1 * number, 0.0, 0.0)
            controller.accept(straight(speed, 0.1 * number, number + 1), 0.1 * number)
            path = run(controller, 0.1 * number, 0.1 * number + 0.05)
            if changed and number == 3:
                watchdog = replace(controller.settings.watchdog, max_future=0.07)
                controller.configure(replace(controller.settings, watchdog=watchdog))
            path = np.concatenate([path, run(controller, 0.1 * number + 0.05, 0.1 * number + 0.1)])
        paths.append(path)
    np.testing.assert_array_equal(*paths)
