# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A controller of joints that knows its arm takes chunks of the tool's rows."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from control.kinematics import arms
from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.control.kinematics.checks import Checked
from efficient_vla.nodes.base.conversions import chunk_to_message, joint_state
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, state_qos
from efficient_vla.nodes.controller.examiner import Examiner
from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.types import ActionChunk, ControlMode

TOOL = (0.0, 0.0, 0.1)
JOINTS = tuple(f'j{k}' for k in range(6))
HOME = arms.forward(arms.UR5E, TOOL, arms.UR5E_HOME)[:3, 3]
Status = msg.ControllerStatus


class JointArm:
    """An arm of six joints that is where it was last sent to."""

    def __init__(self, graph: Any, description: Path, **values: Any) -> None:
        self.graph = graph
        self.joints = arms.UR5E_HOME
        self.sequence = 0
        self.node = graph.add(
            ControllerNode,
            names=[*JOINTS, 'gripper'],
            arming='auto',
            kinematics__description=str(description),
            limits__max_velocity=[3.0],
            following_error=0.0,
            watchdog__chunk_timeout=2.0,
            **values,
        )
        graph.peer.create_subscription(JointState, 'command', self._follow, newest_qos())
        self.tools: list[np.ndarray] = []
        self.status = graph.hear(Status, 'controller_status', latched_qos())
        self.states = graph.publisher(JointState, 'robot_state', state_qos())
        self.chunks = graph.publisher(msg.ActionChunk, 'action_chunk', newest_qos())
        graph.until(self.node._status.get_subscription_count)
        graph.run(0.3, each=self.report)
        graph.until(lambda: self.node._command is not None)
        assert self.node.enable(graph.now) is None

    def report(self) -> None:
        self.states.publish(joint_state(JOINTS, self.joints, self.graph.now))

    def _follow(self, message: JointState) -> None:
        self.joints = np.array(message.position[:6])
        self.tools.append(arms.forward(arms.UR5E, TOOL, self.joints)[:3, 3])
        self.report()

    def send(self, way: tuple[float, float, float]) -> None:
        self.sequence += 1
        rows = np.tile([*way, -1.0], (30, 1)).astype(np.float32)
        chunk = ActionChunk(
            rows,
            0.02,
            ('x', 'y', 'z', 'gripper'),
            ControlMode.EE_DELTA,
            self.graph.now,
            sequence=self.sequence,
            plan_stamp=self.graph.now,
        )
        self.chunks.publish(chunk_to_message(chunk))
        self.graph.until(self._answered)

    def _answered(self) -> bool:
        newest = self.status[-1]
        return newest.chunk_sequence == self.sequence or 'refused' in newest.reason


@pytest.fixture
def description(tmp_path: Path) -> Path:
    path = tmp_path / 'arm.urdf'
    path.write_text(arms.ur5e())
    return path


def test_rows_of_the_tool_drive_the_joints(graph: Any, description: Path) -> None:
    arm = JointArm(graph, description)
    arm.send((0.002, 0.0, -0.001))
    graph.run(0.8)
    way = arm.tools[-1] - HOME
    assert np.linalg.norm(way) > 0.05
    across = np.cross(way, [0.002, 0.0, -0.001]) / np.linalg.norm([0.002, 0.0, -0.001])
    assert np.linalg.norm(across) < 1e-3


def test_the_rule_that_stops_the_arm_is_in_status_and_diagnostics(
    graph: Any, description: Path
) -> None:
    arm = JointArm(graph, description, collision__table=[float(HOME[2]) - 0.07])
    arm.send((0.0, 0.0, -0.003))
    assert arm.status[-1].state == Status.STATE_TRACKING
    assert arm.status[-1].reason.startswith('table: row ')
    assert arm.node.report()['kinematics'].startswith('table: row ')
    assert 'table' in arm.node.health.message('kinematics')
    graph.run(1.0)
    assert arm.status[-1].state == Status.STATE_HOLDING
    assert arm.status[-1].reason.startswith('table: row ')
    arm.send((0.0, 0.0, -0.01))
    assert 'chunk refused: table: row 0' in arm.status[-1].reason


def test_checks_beside_the_loop_tell_what_they_found_and_what_failed() -> None:
    examiner = Examiner[str]()
    chunk = arms.rows_of(np.zeros((2, 3)))
    over = []
    gate = threading.Event()

    def check() -> Checked:
        gate.wait(5.0)
        return Checked(chunk)

    def fail() -> Checked:
        raise ValueError('no such joint')

    examiner.submit('first', check)
    assert not list(examiner.over())
    gate.set()
    assert examiner._worker.wait_idle(5.0)
    examiner.submit('second', fail)
    assert examiner._worker.wait_idle(5.0)
    over = list(examiner.over())
    assert [o.cause for o in over] == ['first', 'second']
    assert over[0].checked is not None
    assert over[0].checked.chunk is chunk
    assert over[1].error == 'ValueError: no such joint'
    examiner.close()
