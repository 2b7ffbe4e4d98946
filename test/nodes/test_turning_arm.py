# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A robot that is commanded by its pose: turned by rows, measured, stopped, and told twists."""

from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from nodes.arm import HOME, Arm, Status
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.nodes.base.conversions import joint_state
from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.controller.node import ControllerNode

POSE = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
TURNED = Rotation.from_euler('xyz', [2.9, 0.2, -0.7])
"""A gripper that points down, turned by nearly half a turn."""
DT = 0.05


class PoseArm(Arm):
    """The robot's pose is whatever the last command says, and `off` from it."""

    def __init__(self, graph: Any, **values: Any) -> None:
        self.pose = np.array([*HOME, *TURNED.as_quat()])
        self.off = Rotation.identity()
        super().__init__(graph, **{'names': [*POSE, 'gripper'], 'frame_id': 'base_link', **values})

    def report(self) -> None:
        turned = Rotation.from_quat(self.pose[3:]) * self.off
        # A quaternion and its opposite are the same rotation.
        values = np.array([*self.pose[:3], *-turned.as_quat()])
        self.states.publish(joint_state(POSE, values, self.graph.now))

    def _follow(self, message: JointState) -> None:
        self.pose = np.array([message.position[message.name.index(name)] for name in POSE])
        self.report()

    def locate(self) -> None:
        # A measured position is believed when it has not leapt for a while.
        self.graph.run(0.3, each=self.report)
        self.graph.until(lambda: self.node._command is not None)

    def bridge_chunk(self, rows: Any) -> msg.ActionChunk:
        """Return rows as OpenVLA gives them: metres, roll, pitch, yaw about fixed axes, effort."""
        message = self.make_chunk()
        rows = np.asarray(rows, np.float32)
        message.horizon = len(rows)
        message.names = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper']
        message.actions = rows.ravel().tolist()
        message.kinds = [2, 2, 2, 3, 3, 3, 4]
        message.units = ['m'] * 3 + ['rad'] * 3 + ['effort']
        message.references = [2] * 6 + [1]
        message.rotation = 'euler_xyz'
        message.dt.nanosec = int(DT * 1e9)
        return message

    @property
    def turned(self) -> Rotation:
        return Rotation.from_quat(self.pose[3:])


def test_rows_of_roll_pitch_and_yaw_turn_the_tool(graph):
    arm = PoseArm(graph)
    arm.locate()
    assert arm.enable().success
    rows = np.tile([0.0, 0.004, 0.0, 0.01, -0.02, 0.015, 1.0], (8, 1))
    arm.send_chunk(arm.bridge_chunk(rows))
    arm.run(8 * DT - 0.01)
    assert arm.state == Status.STATE_TRACKING
    arm.run(0.4)
    assert arm.state == Status.STATE_HOLDING
    step = Rotation.from_euler('xyz', [0.01, -0.02, 0.015])
    wanted = step**8 * TURNED
    # It brakes after its last row, at 0.54 rad/s.
    assert (wanted * arm.turned.inv()).magnitude() < 0.03
    assert arm.pose[1] == pytest.approx(HOME[1] + 8 * 0.004, abs=3e-3)
    # One way all along: the axis is that of the rows.
    axis = (arm.turned * TURNED.inv()).as_rotvec()
    np.testing.assert_allclose(
        axis / np.linalg.norm(axis), step.as_rotvec() / step.magnitude(), atol=1e-4
    )
    assert arm.commands[-1].position[-1] == 1.0


def test_a_tool_that_does_not_turn_with_its_set_point_stops_the_controller(graph):
    arm = PoseArm(graph, following_error=0.1)
    arm.locate()
    assert arm.enable().success
    arm.send_chunk(arm.bridge_chunk(np.tile([0, 0, 0, 0, 0, 0.01, 0], (40, 1))))
    arm.run(0.1)
    # 0.09 about two axes are 0.127 rad.
    arm.off = Rotation.from_rotvec([0.09, 0.09, 0.0])
    arm.run(0.05)
    assert arm.state == Status.STATE_STOPPED
    assert 'robot is 0.127 from its set-point' in arm.status[-1].reason


def test_a_state_whose_quaternion_has_another_length_is_not_taken(graph):
    arm = PoseArm(graph)
    arm.pose[3:] *= 1.2
    arm.states.publish(joint_state(POSE, arm.pose, graph.now))
    graph.until(lambda: arm.node.health.message('robot_state'))
    assert 'has the length 1.2' in arm.node.health.message('robot_state')
    assert arm.node._command is None


@pytest.mark.parametrize('units', ['speed_units', 'unitless'])
def test_twist_has_the_angular_velocity_along_the_axes_of_the_base(graph, units):
    limits = [0.4, 0.4, 0.4, 0.8, 0.8, 0.8]
    arm = PoseArm(
        graph,
        output='twist',
        servo_units=units,
        limits__max_velocity=limits,
        tool__max_angular_velocity=0.8,
    )
    twists = graph.hear(TwistStamped, 'servo_node/delta_twist_cmds', report_qos())
    graph.until(arm.node._output._publisher.get_subscription_count)
    arm.locate()
    assert arm.enable().success
    arm.send_chunk(arm.bridge_chunk(np.tile([0.005, 0, 0, 0.0, 0.02, 0.0, 0], (40, 1))))
    arm.run(0.4)
    message = twists[-1]
    assert message.header.frame_id == 'base_link'
    angular, linear = message.twist.angular, message.twist.linear
    scale = 0.8 if units == 'unitless' else 1.0
    assert [angular.x, angular.y, angular.z] == pytest.approx([0, 0.4 / scale, 0], abs=1e-3)
    scale = 0.4 if units == 'unitless' else 1.0
    assert [linear.x, linear.y, linear.z] == pytest.approx([0.1 / scale, 0, 0], abs=1e-3)


def test_dry_run_of_a_tool_that_turns_is_drawn(graph):
    arm = PoseArm(graph, dry_run=True)
    drawn = graph.hear(JointState, 'dry_run/command', report_qos())
    graph.until(arm.node._output._publisher.get_subscription_count)
    arm.locate()
    assert arm.enable().success
    arm.send_chunk(arm.bridge_chunk(np.tile([0, 0, 0, 0, 0, 0.02, 0], (40, 1))))
    graph.run(0.3, each=arm.report)
    turned = Rotation.from_quat(drawn[-1].position[3:7])
    assert (turned * TURNED.inv()).magnitude() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'output': 'joint_trajectory'}, 'expected command, twist, or forward with positions'),
        (
            {'output': 'forward', 'output_interface': 'velocity'},
            'output is forward with velocities while names has qx, qy, qz, qw',
        ),
        ({'reset_distance': [0.02] * 7}, 'expected one, or one for each of x, y, z, rx, ry, rz'),
        ({'continuous': ['qx']}, 'continuous has qx'),
        (
            {'names': ['x', 'y', 'z'], 'tool__max_angular_velocity': 1.0},
            'expected 0 for a robot whose tool is not turned',
        ),
        (
            {'output': 'twist', 'servo_units': 'unitless', 'servo_scale': 1.0},
            'limits.max_velocity lets it go at 1.386 while servo_angular_scale is 0.5',
        ),
    ],
)
def test_settings_that_cannot_turn_a_tool_are_refused_with_the_reason(graph, values, words):
    values = {'names': [*POSE, 'gripper'], 'servo_angular_scale': 0.5, **values}
    node = graph.add(ControllerNode, start=False, **values)
    assert not node.autostart()
    assert words in node.health.status('', {}).message
