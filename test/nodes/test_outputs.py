# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of robot interface gets the same motion, and a dry run gets none."""

import math

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from nodes.arm import HOME, SPEED, Arm, Status
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from efficient_vla.control.controller import Controller
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.nodes.base.conversions import joint_state, stamp_to_seconds
from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.nodes.controller.outputs.drawing import DRAWN_S
from efficient_vla.nodes.controller.outputs.output import ZEROS_S
from efficient_vla.settings import build
from efficient_vla.types import ActionChunk, ControlMode

JOINTS = ('shoulder', 'elbow', 'gripper')
PERIOD = 0.01
DT = 0.0125


class JointArm(Arm):
    """A robot of two joints and a gripper."""

    def locate(self):
        def report():
            values = np.array([0.5, -0.5, 1.0])
            self.states.publish(joint_state(JOINTS, values, self.graph.now))

        # A measured position is believed when it has not leapt for a while.
        self.graph.run(0.3, each=report)
        self.graph.until(lambda: self.node._command is not None)

    def make_chunk(self, **fields):
        row = np.array([SPEED * DT, -SPEED * DT, 1.0], np.float32)
        values = {
            'actions': np.tile(row, (40, 1)),
            'names': JOINTS,
            'control_mode': ControlMode.JOINT_DELTA,
        }
        return super().make_chunk(**{**values, **fields})


def follow(arm, seconds=0.3):
    """Enable, send one chunk and let it run."""
    arm.locate()
    assert arm.enable().success
    arm.send_chunk()
    arm.run(seconds)
    assert arm.state == Status.STATE_TRACKING


def quintic(begin, end, duration, time):
    """Return position, velocity and acceleration between two states, as ros2_controllers does."""
    p, v, a = begin
    rows = [[duration**k * _falling(k, d) / duration**d for k in (3, 4, 5)] for d in range(3)]
    known = np.array(
        [
            end[0] - p - v * duration - a * duration**2 / 2,
            end[1] - v - a * duration,
            end[2] - a,
        ]
    )
    c3, c4, c5 = np.linalg.solve(np.array(rows), known)
    polynomial = np.polynomial.Polynomial([p, v, a / 2, c3, c4, c5])
    return np.array([polynomial.deriv(d)(time) if d else polynomial(time) for d in range(3)])


def _falling(power, order):
    return np.prod([power - i for i in range(order)]) if order else 1.0


class TrajectoryPlayer:
    """One joint under a joint_trajectory_controller: from where it is, through the points."""

    STEP = 0.001

    def __init__(self, start, now):
        self.now = now
        self.states = [np.array([start, 0.0, 0.0])]
        self.knots = [(now, self.states[0])]

    def take(self, message, joint):
        begin = stamp_to_seconds(message.header.stamp)
        self.knots = [(self.now, self.states[-1])]
        for point in message.points:
            time = begin + stamp_to_seconds(point.time_from_start)
            values = (point.positions, point.velocities, point.accelerations)
            if time > self.now:
                self.knots.append((time, np.array([value[joint] for value in values])))

    def play_until(self, end):
        while self.now < end:
            self.now += self.STEP
            self.states.append(self._at(self.now))

    def _at(self, time):
        for (begin, before), (end, after) in zip(self.knots[:-1], self.knots[1:], strict=True):
            if time <= end:
                return quintic(before, after, end - begin, time - begin)
        return self.knots[-1][1]


@pytest.fixture
def trajectories(graph):
    arm = JointArm(graph, output='joint_trajectory', names=list(JOINTS))
    arm.trajectories = graph.hear(
        JointTrajectory, 'joint_trajectory_controller/joint_trajectory', report_qos()
    )
    arm.gripper = graph.hear(Float64MultiArray, 'gripper_command', report_qos())
    graph.until(arm.node._output._publisher.get_subscription_count)
    graph.until(arm.node._output.gripper.publisher.get_subscription_count)
    return arm


def test_trajectory_begins_at_the_set_point_and_ends_at_rest(trajectories):
    follow(trajectories)
    command = trajectories.node._command
    message = trajectories.trajectories[-1]
    assert message.joint_names == ['shoulder', 'elbow']
    assert stamp_to_seconds(message.header.stamp) == pytest.approx(trajectories.graph.now)
    times = [stamp_to_seconds(point.time_from_start) for point in message.points]
    assert times[:2] == pytest.approx([PERIOD, 2 * PERIOD])
    assert min(np.diff(times)) > 1e-4
    assert list(message.points[1].positions) == pytest.approx(command[:2])
    assert list(message.points[1].velocities) == pytest.approx([SPEED, -SPEED], rel=0.05)
    assert not any(message.points[-1].velocities)
    assert not any(message.points[-1].accelerations)
    assert message.points[-1].positions[0] > command[0]


def test_trajectories_of_two_chunks_never_stop_at_the_seam(graph, trajectories):
    follow(trajectories, 0.35)
    begin = len(trajectories.trajectories)
    trajectories.send_chunk()
    trajectories.run(0.35)
    speeds = [m.points[1].velocities[0] for m in trajectories.trajectories[begin:]]
    assert len(speeds) >= 30
    assert min(speeds) > 0.9 * SPEED


def test_robot_that_plays_the_trajectories_stays_inside_the_limits_and_stops_by_itself(
    trajectories,
):
    follow(trajectories)
    messages = trajectories.trajectories
    begin = stamp_to_seconds(messages[0].header.stamp)
    player = TrajectoryPlayer(0.5, begin)
    told = []
    for number, message in enumerate(messages):
        stamp = stamp_to_seconds(message.header.stamp)
        # Messages arrive late by up to most of a period.
        player.play_until(stamp + (0.0, 0.002, 0.008, 0.003)[number % 4])
        player.take(message, 0)
        newest = message.points[min(number, 1)]
        told.append((stamp + 2 * PERIOD, newest.positions[0]))
    player.play_until(player.now + 0.3)
    times = begin + np.arange(len(player.states)) * player.STEP
    positions, speeds, accelerations = np.array(player.states).T
    arrivals, expected = np.array(told).T
    assert np.interp(arrivals, times, positions) == pytest.approx(expected, abs=1e-6)
    assert expected[-1] - expected[0] > 0.04
    limits = trajectories.node.settings.limits
    assert abs(speeds).max() <= limits.max_velocity[0]
    assert abs(accelerations).max() <= 1.01 * limits.max_acceleration[0]
    assert player.states[-1][1:] == pytest.approx([0.0, 0.0], abs=1e-9)


@pytest.mark.parametrize('periods', [1, 3, 5, 12])
def test_robot_that_plays_the_trajectories_stays_inside_the_limits_when_a_tick_is_late(
    graph, trajectories, periods
):
    follow(trajectories)
    graph.set_time(graph.now + periods * PERIOD)
    graph.settle()
    trajectories.run(0.1)
    messages = trajectories.trajectories
    player = TrajectoryPlayer(0.5, stamp_to_seconds(messages[0].header.stamp))
    for message in messages:
        player.play_until(stamp_to_seconds(message.header.stamp))
        player.take(message, 0)
    player.play_until(player.now + 0.3)
    _, speeds, accelerations = np.array(player.states).T
    limits = trajectories.node.settings.limits
    assert abs(speeds).max() <= limits.max_velocity[0]
    assert abs(accelerations).max() <= 1.05 * limits.max_acceleration[0]


def test_trajectory_of_a_robot_that_stands_stays_there(trajectories):
    trajectories.locate()
    assert trajectories.enable().success
    trajectories.run(0.05)
    message = trajectories.trajectories[-1]
    assert [list(point.positions) for point in message.points] == [[0.5, -0.5]] * 2


def test_gripper_stays_as_it_is_until_a_chunk_says_more(graph):
    arm = JointArm(graph, output='joint_trajectory', names=list(JOINTS))
    gripper = graph.hear(Float64MultiArray, 'gripper_command', report_qos())
    arms = graph.hear(JointTrajectory, 'joint_trajectory_controller/joint_trajectory', report_qos())
    graph.until(arm.node._output.gripper.publisher.get_subscription_count)
    arm.locate()
    assert arm.enable().success
    arm.run(0.2)
    graph.until(lambda: arms)
    assert not gripper
    arm.send_chunk()
    arm.run(0.1)
    graph.until(lambda: gripper)
    assert list(gripper[0].data) == pytest.approx([1.0])


def test_the_output_command_names_no_gripper_until_a_chunk_says_what_it_does(graph):
    arm = Arm(graph)
    arm.locate()
    assert arm.enable().success
    arm.run(0.1)
    assert {tuple(c.name) for c in arm.commands} == {('x', 'y', 'z')}
    assert {(len(c.position), len(c.velocity)) for c in arm.commands} == {(3, 3)}
    assert list(arm.commands[-1].position) == pytest.approx(HOME)
    arm.send_chunk()
    arm.run(0.1)
    assert arm.commands[-1].name == ['x', 'y', 'z', 'gripper']
    assert arm.commands[-1].position[3] == -1.0


def test_new_episode_leaves_the_gripper_as_it_is(graph):
    arm = JointArm(graph, output='joint_trajectory', names=list(JOINTS))
    gripper = graph.hear(Float64MultiArray, 'gripper_command', report_qos())
    graph.until(arm.node._output.gripper.publisher.get_subscription_count)
    follow(arm, 0.1)
    place = arm.node._command

    def report():
        arm.states.publish(joint_state(JOINTS, place, graph.now))

    def follow_on():
        nonlocal place
        place = arm.node._command
        report()

    graph.run(1.0, each=follow_on)
    assert gripper
    arm.success.publish(Bool(data=False))
    graph.until(lambda: math.isfinite(arm.node._watch._noticed))
    place = np.array([0.9, -0.9, 1.0])
    graph.run(0.4, each=report)
    assert arm.node._command[0] == pytest.approx(0.9)
    assert arm.state == Status.STATE_WAITING
    assert {message.data[0] for message in gripper} == {1.0}


def test_trajectory_to_a_robot_that_was_moved_does_not_lead_through_the_place_before(trajectories):
    arm = trajectories
    follow(arm)
    arm.node._anchor(0.0, arm.graph.now)
    count = len(arm.trajectories)
    arm.run(0.02)
    places = [list(p.positions) for m in arm.trajectories[count:] for p in m.points]
    assert places
    assert places == [[0.5, -0.5]] * len(places)


def test_gripper_goes_its_own_way_in_its_own_units(graph):
    arm = JointArm(graph, output='joint_trajectory', names=list(JOINTS), gripper_values=[0.04, 0.0])
    gripper = graph.hear(Float64MultiArray, 'gripper_command', report_qos())
    graph.until(arm.node._output.gripper.publisher.get_subscription_count)
    follow(arm, 0.05)
    assert list(gripper[-1].data) == pytest.approx([0.0])
    arm.send_chunk(arm.make_chunk(actions=np.array([[0.0, 0.0, 0.5]] * 40, np.float32)))
    arm.run(0.05)
    assert list(gripper[-1].data) == pytest.approx([0.01])


def test_brake_path_is_the_way_that_braking_takes():
    controller = Controller(build(ControllerSettings, {'ramp_time': 0.0}), JOINTS)
    controller.reset(np.array([0.5, -0.5, 1.0]), 10.0)
    assert controller.enable(10.0) is None
    row = np.array([0.3 * DT, -0.1 * DT, 1.0], np.float32)
    actions = np.tile(row, (40, 1))
    chunk = ActionChunk(actions, DT, JOINTS, ControlMode.JOINT_DELTA, 10.0, 1, plan_stamp=10.0)
    assert controller.accept(chunk, 10.0) is None
    now = 10.0
    for _ in range(2):
        now += PERIOD
        command = controller.tick(now)
    times, states = controller.brake_path(5)
    assert times[0] == 0
    assert states[0, 0] == pytest.approx(command.position[:2], abs=0)
    assert states[0, 1] == pytest.approx(command.velocity[:2], abs=0)
    assert abs(states[0, 2]).max() > 1, 'the axes still accelerate'
    controller.stop(now)
    for time, state in zip(times[1:], states[1:], strict=True):
        command = controller.tick(now + time)
        assert state[0] == pytest.approx(command.position[:2], abs=1e-9)
        assert state[1] == pytest.approx(command.velocity[:2], abs=1e-6)
    assert not command.velocity.any()
    assert not states[-1, 1:].any()
    times, states = controller.brake_path(5)
    assert states.shape == (1, 3, 2)


@pytest.mark.parametrize('interface', ['position', 'velocity'])
def test_forward_sends_plain_numbers_in_the_order_of_the_columns(graph, interface):
    arm = JointArm(graph, output='forward', names=list(JOINTS), output_interface=interface)
    heard = graph.hear(Float64MultiArray, 'forward_command_controller/commands', report_qos())
    graph.until(arm.node._output._publisher.get_subscription_count)
    follow(arm)
    expected = arm.node._command[:2] if interface == 'position' else [SPEED, -SPEED]
    assert list(heard[-1].data) == pytest.approx(expected, rel=0.05)
    assert arm.enable(False).success
    arm.run(0.2 + ZEROS_S)
    still = arm.node._command[:2] if interface == 'position' else [0.0, 0.0]
    assert list(heard[-1].data) == pytest.approx(still, abs=1e-6)
    if interface == 'velocity':
        assert list(heard[-1].data) == [0.0, 0.0]


@pytest.fixture
def servo(graph):
    arm = Arm(graph, output='twist', frame_id='base_link')
    arm.twists = graph.hear(TwistStamped, 'servo_node/delta_twist_cmds', report_qos())
    graph.until(arm.node._output._publisher.get_subscription_count)
    return arm


def test_twist_is_the_velocity_of_the_set_point(graph, servo):
    follow(servo)
    message = servo.twists[-1]
    assert message.header.frame_id == 'base_link'
    assert stamp_to_seconds(message.header.stamp) == pytest.approx(graph.now)
    assert message.twist.linear.y == pytest.approx(SPEED, rel=0.05)
    assert message.twist.linear.x == pytest.approx(0, abs=1e-9)
    travelled = sum(m.twist.linear.y for m in servo.twists) * PERIOD
    assert travelled == pytest.approx(servo.node._command[1] - HOME[1], rel=0.05)


def test_twist_without_a_unit_is_a_share_of_the_scale_of_servo(graph):
    servo = Arm(
        graph, output='twist', servo_units='unitless', servo_scale=0.5, limits__max_velocity=[0.5]
    )
    twists = graph.hear(TwistStamped, 'servo_node/delta_twist_cmds', report_qos())
    graph.until(servo.node._output._publisher.get_subscription_count)
    follow(servo)
    assert twists[-1].twist.linear.y == pytest.approx(SPEED / 0.5, rel=0.05)


def test_robot_that_drifted_is_taken_over_from_where_it_stands(graph, servo):
    follow(servo)
    drifted = np.array([HOME[0], HOME[1] + 0.05, HOME[2]])
    servo.states.publish(graph.state(drifted))
    servo.run(0.02)
    assert servo.state == Status.STATE_TRACKING, 'not while it moves'
    servo.run(0.4)
    assert servo.node.at_rest
    servo.states.publish(graph.state(drifted))
    graph.until(lambda: servo.node._command[1] == pytest.approx(drifted[1]))
    servo.run(0.02)
    count = len(servo.twists)
    servo.send_chunk()
    servo.run(0.2)
    assert servo.node._command[1] > drifted[1] + 0.005
    assert max(m.twist.linear.y for m in servo.twists[count:]) <= 2 * SPEED


@pytest.mark.parametrize('how', ['hold', 'disable', 'deactivate'])
def test_twists_end_with_zeros_and_then_with_silence(servo, how):
    follow(servo)
    if how == 'disable':
        assert servo.enable(False).success
    if how == 'deactivate':
        servo.node.trigger_deactivate()
        servo.graph.until(lambda: not servo.node._output.pending)
        servo.graph.settle()
    else:
        servo.run(0.45 + ZEROS_S)
    zeros = [m.twist.linear.y == 0 for m in servo.twists]
    first = zeros.index(True, 1)
    assert all(zeros[first:])
    # The queue of the listener keeps ten of those that a deactivating node sends at its end.
    least = 10 if how == 'deactivate' else 0.9 * ZEROS_S / PERIOD
    assert least <= len(zeros) - first <= ZEROS_S / PERIOD + 1
    count = len(servo.twists)
    servo.run(0.2)
    assert len(servo.twists) == count


def test_dry_run_draws_and_sends_nothing_to_the_robot(graph):
    arm = Arm(graph, dry_run=True)
    markers = graph.hear(MarkerArray, 'dry_run/markers', report_qos())
    commands = graph.hear(JointState, 'dry_run/command', report_qos())
    graph.until(arm.node._output._markers.get_subscription_count)
    graph.until(arm.node._output._publisher.get_subscription_count)
    assert 'nothing is sent' in arm.node.health.message('dry_run')
    follow(arm)
    assert not arm.commands
    topics = {topic for topic, _ in graph.peer.get_topic_names_and_types()}
    assert not graph.peer.get_publishers_info_by_topic('/command')
    assert not topics & {'/joint_trajectory_controller/joint_trajectory', '/gripper_command'}
    assert commands[-1].position[1] > HOME[1] + 0.02
    line = markers[-1].markers[0]
    assert line.points[0].y == pytest.approx(HOME[1], abs=0.001)
    assert line.points[-1].y > HOME[1] + 0.02


def test_dry_run_starts_again_from_the_robot_that_never_moved(graph):
    arm = Arm(graph, dry_run=True)
    commands = graph.hear(JointState, 'dry_run/command', report_qos())
    graph.until(arm.node._output._publisher.get_subscription_count)
    follow(arm, 0.0)
    furthest = 0.0
    for _ in range(round(1.5 * DRAWN_S / 0.1)):
        arm.run(0.1)
        arm.states.publish(graph.state(HOME))
        arm.send_chunk(arm.make_chunk(stamp=graph.now - 0.05))
        furthest = max(furthest, commands[-1].position[1])
    assert furthest > HOME[1] + 0.9 * SPEED * DRAWN_S
    assert commands[-1].position[1] < HOME[1] + 0.6 * SPEED * DRAWN_S
    assert arm.status[-1].rejected_chunks == 0


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'output': 'joints'}, "output is 'joints'; expected one of command, joint_trajectory"),
        ({'output': 'twist', 'names': list(JOINTS)}, 'output is twist while names has shoulder'),
        (
            {'output': 'twist', 'servo_units': 'unitless'},
            'limits.max_velocity lets it go at 0.8 while servo_scale is 0.4',
        ),
        ({'gripper_axis': 'finger'}, "gripper_axis is 'finger'; expected one of x, y, z"),
        ({'driver__joint_names': ['x']}, 'expected column:=joint each'),
        ({'gripper_values': [0.0]}, 'gripper_values has 1 values; expected two'),
        ({'names': ['x', 'y', 'gripper', 'gripper']}, 'none empty or twice'),
        ({'names': ['x', 'x', 'z']}, "names is ['x', 'x', 'z']; expected a name for each column"),
        ({'names': ['x', ' ', 'z']}, 'expected a name for each column'),
        (
            {'output_interface': 'velocity'},
            'output_interface is velocity while output is command, which sends positions',
        ),
        (
            {'output_interface': 'velocity', 'output': 'joint_trajectory'},
            'Set output to forward, or output_interface to position',
        ),
        ({'cpu_affinity': [4000]}, 'cpu_affinity names core 4000; expected cores'),
        ({'cpu_affinity': [-1]}, 'cpu_affinity is -1; expected at least 0'),
    ],
)
def test_outputs_that_cannot_work_are_refused_with_the_reason(graph, values, words):
    node = graph.add(ControllerNode, start=False, **values)
    assert not node.autostart()
    assert words in node.health.status('', {}).message
