# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The motion gate gives tokens back where the robot does fine work."""

import numpy as np

from efficient_vla.reasoning.gate import MotionGate
from efficient_vla.reasoning.settings import GateSettings

NAMES = ('x', 'y', 'z', 'gripper')
SPEED = GateSettings(method='speed', slow=0.05, fast=0.1)


def moved(gate, speed, start=0.0, seconds=1.0, x=0.0, step=0.0125):
    """Move along x at ``speed``; return the last stamp and place."""
    stamps = start + step * np.arange(1, round(seconds / step) + 1)
    for stamp in stamps:
        gate.observe(np.array([x + speed * (stamp - start), 0, 0, 1.0]), float(stamp))
    return float(stamps[-1]), x + speed * seconds


def test_speed_is_that_of_the_end_effector_and_not_of_the_gripper():
    gate = MotionGate(NAMES)
    for step in range(40):
        state = np.array([0.003 * step, 0.004 * step, 0.0, step % 2])
        gate.observe(state, 0.0125 * step)
    assert abs(gate.speed(39 * 0.0125) - 0.4) < 1e-9


def test_speed_has_hysteresis():
    gate = MotionGate(NAMES)
    seen = []
    stamp, x = 0.0, 0.0
    for speed in (0.2, 0.07, 0.03, 0.07, 0.2):
        stamp, x = moved(gate, speed, stamp, x=x)
        seen.append(bool(gate.judge(stamp, SPEED)))
    assert seen == [False, False, True, True, False]


def test_unknown_or_old_motion_counts_as_fine():
    gate = MotionGate(NAMES)
    assert gate.judge(0.0, SPEED) == 'motion unknown'
    stamp, _ = moved(gate, 0.2)
    assert gate.judge(stamp, SPEED) == ''
    assert gate.judge(stamp + 0.6, SPEED) == 'motion unknown'


def test_a_clock_that_jumps_back_starts_anew():
    gate = MotionGate(NAMES)
    moved(gate, 0.2, start=100.0)
    gate.observe(np.zeros(4), 1.0)
    assert gate.judge(1.0, SPEED) == 'motion unknown'


def test_no_gate_never_gives_tokens_back():
    gate = MotionGate(NAMES)
    assert gate.judge(0.0, GateSettings()) == ''


def windows(settings, centimetres, seconds=0.5):
    """Judge once a window; return whether each is seen in full."""
    gate = MotionGate(NAMES)
    stamp, x = moved(gate, 0.0, 0.0, 0.5)
    gate.judge(stamp, settings)
    seen = []
    for distance in centimetres:
        stamp, x = moved(gate, distance / (100 * seconds), stamp, seconds, x, step=0.125)
        seen.append(bool(gate.judge(stamp, settings)))
    return seen


def test_extrema_by_hand():
    """Plans that lie 5, 4, 6, 5.5, 1, 2, 7 cm apart: two to compare with come first."""
    settings = GateSettings(method='extrema', max_pruned=10)
    # 6 >= max(5, 4): pruned. 5.5 between 4 and 6: held. 1 < min: full. 2 between: held. 7: pruned.
    expected = [True, True, False, False, True, True, False]
    assert windows(settings, (5, 4, 6, 5.5, 1, 2, 7)) == expected


def test_a_window_ends_at_the_first_plan_after_its_least_length():
    settings = GateSettings(method='extrema', window=0.9, max_pruned=10)
    # Pairs move 3, 2 and 4 cm; only the third can be pruned.
    assert windows(settings, (1, 2, 1, 1, 2, 2)) == [True] * 5 + [False]


def test_what_a_window_moved_is_its_net_displacement():
    gate, settings = MotionGate(NAMES), GateSettings(method='extrema')
    stamp, x, seen = 0.0, 0.0, []
    gate.observe(np.zeros(4), 0.0)
    gate.observe(np.zeros(4), 0.01)
    gate.judge(0.01, settings)
    # The third window goes 9 cm and comes back to 1 cm: less than 2 and 3, so seen in full; the
    # fourth goes straight for 4 cm.
    for places in ((0.02,), (0.03,), (0.09, 0.01), (0.04,)):
        for place in places:
            stamp += 0.2
            gate.observe(np.array([x + place, 0, 0, 1.0]), stamp)
        x += places[-1]
        seen.append(bool(gate.judge(stamp, settings)))
    assert seen == [True, True, True, False]


def test_extrema_sees_one_window_in_full_after_max_pruned():
    settings = GateSettings(method='extrema', max_pruned=2)
    expected = [True, True, False, False, True, False, False, True, False]
    assert windows(settings, range(1, 10)) == expected


def test_the_paper_compares_two_windows_and_prunes_three_in_a_row():
    assert windows(GateSettings(method='extrema'), range(1, 8)) == [True] * 2 + [False] * 3 + [
        True,
        False,
    ]


def test_the_vertical_part_has_a_sign_and_joints_have_none():
    gate = MotionGate(NAMES)
    for step in range(20):
        gate.observe(np.array([0.0, 0.003 * step, -0.004 * step, 0.0]), 0.01 * step)
    assert abs(gate.vertical(0.19) + 0.4) < 1e-9
    assert abs(gate.speed(0.19) - 0.5) < 1e-9
    joints = MotionGate(('a', 'b', 'c'))
    for step in range(20):
        joints.observe(np.array([0.1, 0.1, 0.1]) * step, 0.01 * step)
    assert np.isnan(joints.vertical(0.19))


def test_joints_stand_in_where_the_state_is_not_cartesian():
    gate = MotionGate(('shoulder', 'elbow', 'gripper'))
    for step in range(20):
        gate.observe(np.array([0.01 * step, 0.0, step % 2]), 0.01 * step)
    assert abs(gate.speed(0.19) - 1.0) < 1e-9
