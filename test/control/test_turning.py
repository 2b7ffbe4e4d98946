# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Tools that turn: the way between rows, seams, averages, anchors, limits, and what is refused."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from efficient_vla.control.attitude import Attitude
from efficient_vla.control.blending import METHODS
from efficient_vla.control.horizon import Horizon
from efficient_vla.control.moment import Moment
from efficient_vla.control.rotations import UNTURNED
from efficient_vla.control.settings import (
    BLENDING_METHODS,
    INTERPOLATIONS,
    BlendingSettings,
    HorizonSettings,
)
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.settings import build
from efficient_vla.types import ControlMode

NAMES = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'gripper')
MOTION = np.array([0, 1, 2, 3, 4, 5])
DT = 0.1
START = (0.1, 0.6, 0.2, 0.0, 0.0, 0.0, 1.0, -1.0)
TURNED = Rotation.from_rotvec([0.4, -0.3, 1.1])
HAND = slice(3, 7)


def rows_of(rotations, places=None):
    """Return rows [H, A] of these rotations."""
    rows = np.zeros((len(rotations), len(NAMES)))
    rows[:, HAND] = rotations.as_quat()
    if places is not None:
        rows[:, :3] = places
    return rows


def turns(*vectors):
    """Return rows that turn by these rotation vectors."""
    return rows_of(Rotation.from_rotvec(np.array(vectors)))


@pytest.fixture
def path(make_chunk):
    """Make a trajectory of rows of `DT`, and what tells its rotation and rates at a time."""

    def make(rows, interpolation='cubic', mode=ControlMode.EE_DELTA, start=0.0, **fields):
        attitude = Attitude(NAMES)
        chunk = make_chunk(rows, start, dt=DT, mode=mode, names=NAMES, **fields)
        anchor = np.zeros(6)
        found = Trajectory(chunk, MOTION, 7, anchor, start, interpolation, None, attitude, UNTURNED)

        def tell(time):
            attitude.turned = tuple(attitude.turned_at(found.at(time)[0, 3:].tolist()))
            motion = found.at(time)[:, 3:]
            return Rotation.from_quat(attitude.turned), motion[1], motion[2]

        return found, tell

    return make


def angle(one, other):
    return (one.inv() * other).magnitude()


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
@pytest.mark.parametrize('frame', ['base', 'tool'])
def test_rows_that_turn_end_at_their_rotation(path, interpolation, frame):
    steps = Rotation.from_rotvec(np.random.default_rng(0).normal(0, 0.3, (12, 3)))
    _, tell = path(rows_of(steps), interpolation, frame=frame)
    wanted = Rotation.identity()
    for k, step in enumerate(steps):
        wanted = step * wanted if frame == 'base' else wanted * step
        assert angle(tell((k + 1) * DT)[0], wanted) < 1e-6


def test_in_the_frame_of_the_tool_the_way_goes_along_its_axes(path):
    rows = turns((0, 0, math.pi / 2), (0, 0, 0), (math.pi / 2, 0, 0), (0, 0, 0))
    rows[1::2, 1] = 0.1
    found, _ = path(rows, frame='tool')
    # After a quarter about z its y is -x of the base; after one more about its x it is z.
    np.testing.assert_allclose(found.at(2 * DT)[0, :3], [-0.1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.at(4 * DT)[0, :3], [-0.1, 0, 0.1], atol=1e-6)


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
def test_between_two_knots_the_way_is_the_geodesic(path, interpolation):
    _, tell = path(turns((0.7, -0.5, 1.2)), interpolation)
    for share in (0.1, 0.5, 0.8):
        turned, rate, change = tell(share * DT)
        assert angle(turned, Rotation.from_rotvec(np.array([0.7, -0.5, 1.2]) * share)) < 1e-6
        np.testing.assert_allclose(rate, np.array([0.7, -0.5, 1.2]) / DT, rtol=1e-5)
        np.testing.assert_allclose(change, 0, atol=1e-4)


def test_about_one_axis_the_angle_is_the_natural_spline(path):
    # Angles 0, 1, 1, as in the test of a spline: slopes 1.25 and 0.5, a bend of -1.5 between.
    axis = np.array([0.6, 0.0, 0.8])
    _, tell = path(turns(axis, 0 * axis))
    turned, rate, change = tell(DT)
    assert angle(turned, Rotation.from_rotvec(axis)) < 1e-6
    np.testing.assert_allclose(rate, 0.5 / DT * axis, atol=1e-5)
    np.testing.assert_allclose(change, -1.5 / DT**2 * axis, atol=1e-3)
    assert angle(tell(DT / 2)[0], Rotation.from_rotvec((1.25 / 2 - 0.25 / 8) * axis)) < 1e-6


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
@pytest.mark.parametrize('mode', [ControlMode.EE_DELTA, ControlMode.EE_POSITION])
def test_two_turns_about_z_go_on_through_half_a_turn(path, interpolation, mode):
    step = 4 * math.pi / 40
    angles = step * np.arange(1, 41)
    rows = turns(*[(0, 0, step)] * 40)
    if mode == ControlMode.EE_POSITION:
        rows = turns(*[(0, 0, value) for value in angles])
    _, tell = path(rows, interpolation, mode)
    went = 0.0
    before = tell(0.0)[0]
    for time in np.linspace(0, 40 * DT, 500)[1:]:
        turned, rate, _ = tell(time)
        np.testing.assert_allclose(rate, [0, 0, step / DT], atol=1e-4)
        went += (before.inv() * turned).as_rotvec()[2]
        before = turned
    assert went == pytest.approx(4 * math.pi, abs=1e-5)


def test_rate_and_its_change_are_continuous_at_the_knots_and_those_of_the_rotation(path):
    steps = np.random.default_rng(3).normal(0, 0.3, (8, 3))
    _, tell = path(turns(*steps))
    near = 1e-6
    for k in range(1, 8):
        before, after = tell(k * DT - 1.1e-4 * DT - near), tell(k * DT + near)
        np.testing.assert_allclose(before[1], after[1], atol=5e-3)
        np.testing.assert_allclose(before[2], after[2], atol=0.5)
    step = 1e-5
    for time in np.linspace(0.013, 0.771, 25):
        behind, ahead, (_, rate, change) = tell(time - step), tell(time + step), tell(time)
        went = (behind[0].inv() * ahead[0]).as_rotvec() / (2 * step)
        np.testing.assert_allclose(went, rate, atol=1e-4)
        np.testing.assert_allclose((ahead[1] - behind[1]) / (2 * step), change, atol=1e-1)


@pytest.mark.parametrize('seed', range(5))
def test_straight_between_rows_is_no_longer_than_the_geodesic(path, seed):
    rng = np.random.default_rng(seed)
    knots = Rotation.from_rotvec(np.cumsum(rng.normal(0, 0.4, (9, 3)), axis=0))
    _, tell = path(rows_of(knots[1:]), 'linear', ControlMode.EE_POSITION)
    geodesic = Slerp(np.arange(9) * DT, knots)
    times = np.linspace(DT, 8 * DT, 400)
    told = Rotation.concatenate([tell(time)[0] for time in times])
    assert angle(told, geodesic(times)).max() < 1e-3 * DT + 1e-3
    shortest = angle(knots[1:-1], knots[2:]).sum()
    assert angle(told[:-1], told[1:]).sum() <= 1.01 * shortest


def test_two_orientations_around_half_a_turn_average_to_half_a_turn(path, make_chunk):
    ensemble = METHODS['temporal_ensemble'](build(BlendingSettings, {'ensemble_decay': 0.0}))
    attitude = Attitude(NAMES)
    for value in (math.pi - 0.05, -(math.pi - 0.05)):
        rows = turns((0, 0, value), (0, 0, value))
        chunk = make_chunk(rows, dt=DT, mode=ControlMode.EE_POSITION, names=NAMES)
        trajectory = Trajectory(
            chunk, MOTION, 7, np.zeros(6), 0.0, 'cubic', None, attitude, UNTURNED
        )
        ensemble.add(trajectory, Moment(0.0, 0.0), np.zeros((3, 6)))
    # Also as a set-point sees them that is not turned at all.
    place = ensemble.at(Moment(0.05, 0.05))[0, 3:]
    assert abs(place[2]) == pytest.approx(math.pi, abs=1e-6)
    np.testing.assert_allclose(place[:2], 0, atol=1e-6)


@pytest.mark.parametrize('seed', range(4))
def test_what_is_put_together_comes_apart(seed):
    rng = np.random.default_rng(seed)
    attitude = Attitude(NAMES)
    attitude.turned = tuple(TURNED.as_quat().tolist())
    motion, offset = rng.normal(0, 0.7, (2, 3, 6))
    back = attitude.apart(attitude.joined(motion, offset), motion)
    np.testing.assert_allclose(back, offset, atol=1e-12)


@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_references_have_the_rates_of_their_rotation(path, make_chunk, method):
    rng = np.random.default_rng(5)
    attitude = Attitude(NAMES)
    blending = METHODS[method](build(BlendingSettings, {'fade_time': 0.3}))
    for start in (0.0, 0.1):
        rows = turns(*rng.normal(0, 0.2, (8, 3)))
        chunk = make_chunk(rows, start, dt=DT, mode=ControlMode.EE_DELTA, names=NAMES)
        anchor = tuple(Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_quat().tolist())
        trajectory = Trajectory(
            chunk, MOTION, 7, np.zeros(6), start, 'cubic', None, attitude, anchor
        )
        motion = np.zeros((3, 6))
        motion[1:, 3:] = rng.normal(0, 0.5, (2, 3))
        blending.add(trajectory, Moment(start, start), motion)
    step = 1e-5
    for time in (0.13, 0.22, 0.29, 0.35):
        behind, here, ahead = (
            blending.at(Moment(time + k * step, time + k * step))[:, 3:] for k in (-1, 0, 1)
        )
        places = [Rotation.from_quat(attitude.turned_at(m[0])) for m in (behind, ahead)]
        went = (places[0].inv() * places[1]).as_rotvec() / (2 * step)
        np.testing.assert_allclose(went, here[1], atol=1e-4)
        np.testing.assert_allclose((ahead[1] - behind[1]) / (2 * step), here[2], atol=1e-2)


def drive(controller, begin, end, period=0.01):
    return [
        controller.tick(begin + k * period) for k in range(1, round((end - begin) / period) + 1)
    ]


def rotations(commands):
    return Rotation.from_quat([command.position[HAND] for command in commands])


@pytest.mark.parametrize('frame', ['base', 'tool'])
@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_a_chunk_from_its_own_stamp_turns_as_its_rows_say(
    make_controller, make_chunk, unlimited, method, frame
):
    values = {**unlimited, 'blending.method': method, 'rate': 80.0}
    start = (*START[:3], *TURNED.as_quat(), -1.0)
    controller = make_controller(values, NAMES, start)
    steps = Rotation.from_rotvec(np.random.default_rng(1).normal(0, 0.05, (20, 3)))
    assert controller.accept(make_chunk(rows_of(steps), names=NAMES, frame=frame), 0.0) is None
    told = rotations(drive(controller, 0.0, 0.25, 0.0125))
    wanted = TURNED
    for turned, step in zip(told, steps, strict=True):
        wanted = step * wanted if frame == 'base' else wanted * step
        assert angle(turned, wanted) < 1e-6


def test_rows_that_turn_go_on_from_the_set_point_that_was_observed(
    make_controller, make_chunk, unlimited
):
    controller = make_controller({**unlimited, 'blending.method': 'latest_only'}, NAMES, START)
    spin = turns(*[(0, 0, 0.02)] * 40)
    assert controller.accept(make_chunk(spin, dt=0.01, names=NAMES), 0.0) is None
    drive(controller, 0.0, 0.1)
    # It saw 0.1 rad about z at 0.05 s and turns about x since; what was turned meanwhile is kept.
    late = turns(*[(0.02, 0, 0)] * 40)
    assert controller.accept(make_chunk(late, 0.05, 2, dt=0.01, names=NAMES), 0.1) is None
    turned = rotations(drive(controller, 0.1, 0.2))[-1]
    wanted = Rotation.from_rotvec([0.02 * 15, 0, 0]) * Rotation.from_rotvec([0, 0, 0.02 * 5])
    assert angle(turned, wanted) < 1e-6


def test_a_seam_of_another_orientation_is_faded_without_a_kink(make_controller, make_chunk):
    controller = make_controller({'rate': 500.0}, NAMES, START)
    spin = turns(*[(0.003, 0.004, 0.0)] * 200)
    assert controller.accept(make_chunk(spin, dt=0.01, names=NAMES), 0.0) is None
    period = 0.002
    commands = drive(controller, 0.0, 0.3, period)
    last = rotations(commands)[-1] * Rotation.from_rotvec([0.0, 0.03, 0.04])
    rows = rows_of(
        Rotation.concatenate([last * Rotation.from_rotvec([0, 0, 0.005 * k]) for k in range(1, 41)])
    )
    rows[:, :3] = START[:3]
    chunk = make_chunk(rows, 0.3, 2, dt=0.01, mode=ControlMode.EE_POSITION, names=NAMES)
    assert controller.accept(chunk, 0.3) is None
    commands += drive(controller, 0.3, 0.6, period)
    told = rotations(commands)
    rates = (told[:-1].inv() * told[1:]).as_rotvec() / period
    change = np.diff(rates, axis=0) / period
    jerk = np.diff(change, axis=0) / period
    assert np.abs(change).max() <= 20.0 * (1 + 1e-6)
    assert np.abs(jerk).max() <= 1500.0 * (1 + 1e-4)
    wanted = last * Rotation.from_rotvec([0, 0, 0.005 * 30])
    assert angle(told[-1], wanted) < 1e-5


def test_the_velocity_of_a_command_is_the_rate_of_its_quaternion(make_controller, make_chunk):
    start = (*START[:3], *TURNED.as_quat(), -1.0)
    controller = make_controller({'rate': 80.0}, NAMES, start)
    chunk = make_chunk(turns(*[(0.0, 0.0, 0.00625)] * 60), names=NAMES)
    assert controller.accept(chunk, 0.0) is None
    command = drive(controller, 0.0, 0.5, 0.0125)[-1]
    # 0.5 rad/s about z of the base.
    x, y, z, w = command.position[HAND]
    np.testing.assert_allclose(command.velocity[HAND], [-y / 4, x / 4, w / 4, -z / 4], atol=1e-5)
    np.testing.assert_allclose(
        controller.attitude.rates(command.position, command.velocity), [0, 0, 0.5], atol=1e-5
    )


def test_a_tool_that_turns_keeps_the_limit_of_its_angular_velocity(make_controller, make_chunk):
    values = {'limits.max_velocity': (5.0,), 'tool.max_angular_velocity': 1.0, 'rate': 200.0}
    controller = make_controller(values, NAMES, START)
    steps = np.random.default_rng(2).normal(0, 0.03, (60, 3)) + [0.03, -0.03, 0.02]
    assert controller.accept(make_chunk(turns(*steps), names=NAMES), 0.0) is None
    told = rotations(drive(controller, 0.0, 0.5, 0.005))
    rates = angle(told[:-1], told[1:]) / 0.005
    assert 0.97 < rates.max() <= 1 + 1e-6


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_a_chunk_that_turns_nothing_moves_as_for_a_robot_without_rotation(
    make_controller, make_chunk, method, interpolation
):
    values = {'blending.method': method, 'interpolation': interpolation, 'tool.max_velocity': 0.6}
    # Whatever the limits of the rotation are.
    both = {
        'limits.max_velocity': (0.8,) * 3 + (1.0,) * 3,
        'limits.max_acceleration': (20.0,) * 3 + (5.0,) * 3,
        'limits.stop_deceleration': (20.0,) * 3 + (5.0,) * 3,
        'limits.max_jerk': (1500.0,) * 3 + (50.0,) * 3,
    }
    names = ('x', 'y', 'z', 'gripper')
    alone = make_controller(values, names, (*START[:3], -1.0))
    turned = make_controller({**values, **both}, NAMES, (*START[:3], *TURNED.as_quat(), -1.0))
    rng = np.random.default_rng(9)
    for step in range(90):
        now = step * 0.01
        if step % 12 == 0 and step < 60:
            rows = np.zeros((30, len(NAMES)))
            rows[:, :3] = rng.normal(0.002, 0.006, (30, 3))
            rows[:, 6] = 1.0
            told = max(now - 0.05, 0.0), step + 1
            assert alone.accept(make_chunk(rows[:, [0, 1, 2, 7]], *told, names=names), now) is None
            assert turned.accept(make_chunk(rows, *told, names=NAMES), now) is None
        if step == 75:
            alone.stop(now)
            turned.stop(now)
        one, other = alone.tick(now + 0.01), turned.tick(now + 0.01)
        np.testing.assert_array_equal(one.position[:3], other.position[:3])
        np.testing.assert_array_equal(one.velocity[:3], other.velocity[:3])
    assert angle(Rotation.from_quat(other.position[HAND]), TURNED) < 1e-12


QUARTER = Rotation.from_rotvec([0.3, 0.9, -0.5])


@pytest.mark.parametrize(
    ('sent', 'mode', 'words'),
    [
        (
            np.tile([0, 0, 0, 1], (4, 1)),
            ControlMode.EE_POSITION,
            'that is how far it turns, taken for where to',
        ),
        (
            np.roll(np.tile(QUARTER.as_quat(), (4, 1)), 1, axis=1),
            ControlMode.EE_POSITION,
            'its quaternion has w first, taken for one with w last',
        ),
        (
            np.tile(QUARTER.inv().as_quat(), (4, 1)),
            ControlMode.EE_POSITION,
            'its rotation is the inverse one',
        ),
        (
            np.tile(QUARTER.as_quat(), (4, 1)),
            ControlMode.EE_DELTA,
            'that is an orientation, taken for how far it turns',
        ),
        (
            np.tile((QUARTER * Rotation.from_rotvec([0, 0.5, 0])).as_quat(), (4, 1)),
            ControlMode.EE_POSITION,
            'expected at most 0.35 rad',
        ),
    ],
)
def test_a_first_orientation_that_is_not_meant_for_the_robot_is_refused(
    make_controller, make_chunk, sent, mode, words
):
    controller = make_controller(names=NAMES, start=(*START[:3], *QUARTER.as_quat(), 0.0))
    rows = np.zeros((4, len(NAMES)))
    rows[:, HAND] = sent
    rows[:, :3] = START[:3] if mode == ControlMode.EE_POSITION else 0.0
    refused = controller.accept(make_chunk(rows, mode=mode, names=NAMES), 0.0)
    assert refused is not None
    assert words in refused


def test_rows_that_turn_far_too_fast_are_refused(make_controller, make_chunk):
    controller = make_controller(names=NAMES, start=START)
    # 2 rad in 12.5 ms are 160 rad/s.
    rows = turns(*[(0, 0.1, 0)], *[(0, 2.0, 0)] * 9)
    refused = controller.accept(make_chunk(rows, names=NAMES), 0.0)
    assert 'chunk turns by 144.8 rad a second' in refused


def test_a_pose_of_which_a_part_is_absolute_is_refused(make_controller, make_chunk):
    controller = make_controller(names=NAMES, start=START)
    chunk = make_chunk(turns(*[(0, 0, 0.01)] * 4), names=NAMES, absolute=('x', 'y', 'z'))
    assert 'expected the tool to be moved by one of both' in controller.accept(chunk, 0.0)


def test_a_robot_is_not_taken_over_at_a_quaternion_of_another_length(make_controller):
    controller = make_controller(names=NAMES, start=START)
    with pytest.raises(ValueError, match=r'has the length 1\.1'):
        controller.reset(np.array([0, 0, 0, 0, 0, 0, 1.1, 0]), 1.0)


def test_a_way_along_the_tool_is_judged_in_the_box_of_the_base(make_controller, make_chunk):
    low, high = [-1.0, 0.4, 0.1, -1.0, -1.0, -1.0], [1.0, 0.8, 0.3, 1.0, 1.0, 1.0]
    values = {'limits.position_low': low, 'limits.position_high': high}
    down = Rotation.from_rotvec([0, math.pi / 2, 0])  # its z is x of the base
    controller = make_controller(values, NAMES, (*START[:3], *down.as_quat(), 0.0))
    rows = rows_of(Rotation.identity(60))
    rows[:, 2] = 0.008
    chunk = make_chunk(rows, names=NAMES, frame='tool')
    assert controller.accept(chunk, 0.0) is None
    drive(controller, 0.0, 0.4)
    assert controller.motion[0, 0] > 0.25
    assert controller.motion[0, 2] == pytest.approx(START[2], abs=1e-6)


def test_chunks_on_both_sides_of_half_a_turn_do_not_disagree(make_chunk):
    attitude = Attitude(NAMES)

    def spinning(angle):
        rows = turns(*[(0, 0, angle + 0.1 * k) for k in range(1, 9)])
        chunk = make_chunk(rows, dt=DT, mode=ControlMode.EE_POSITION, names=NAMES)
        return Trajectory(chunk, MOTION, 7, np.zeros(6), 0.0, 'cubic', None, attitude, UNTURNED)

    horizon = Horizon(
        build(HorizonSettings, {'method': 'adaptive', 'low': 0.2, 'disagreement': 0.05})
    )
    horizon.compare(spinning(math.pi - 0.405), spinning(math.pi - 0.395), 0.0)
    newest = spinning(math.pi - 0.405)
    assert horizon.end(newest, 0.0)[0] == newest.end
