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
from efficient_vla.control.laid import Laid
from efficient_vla.nodes.base.conversions import chunk_to_message, joint_state
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, state_qos
from efficient_vla.nodes.controller.examiner import Examiner
from efficient_vla.nodes.controller.messages import received, timed
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

    def make_chunk(self, way: tuple[float, float, float]) -> msg.ActionChunk:
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
        return chunk_to_message(chunk)

    def send(self, way: tuple[float, float, float]) -> None:
        self.chunks.publish(self.make_chunk(way))
        self.graph.until(self._answered)

    def examine(self, publisher: bytes) -> None:
        """Check a chunk beside the loop; the next tick finds the answer."""
        message = self.make_chunk((0.002, 0.0, -0.001))
        controller, now = self.node._controller, self.graph.now
        chunk = timed(received(message).chunk, self.node._motion_clock, now)
        examine = controller.examine(chunk, now)
        self.node._examiner.submit((message, publisher), examine)
        assert self.node._examiner._worker.wait_idle(5.0)

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


@pytest.fixture
def gids(graph: Any) -> list[bytes]:
    """Return the GIDs of two publishers of chunks."""
    for _ in range(2):
        graph.peer.create_publisher(msg.ActionChunk, 'action_chunk', newest_qos())
    find = graph.peer.get_publishers_info_by_topic
    graph.until(lambda: len(find('action_chunk')) == 2)
    return [bytes(found.endpoint_gid)[:16] for found in find('action_chunk')]


def test_of_two_whose_first_chunks_are_checked_at_once_one_drives(
    graph: Any, description: Path, gids: list[bytes]
) -> None:
    arm = JointArm(graph, description)
    for publisher in gids:
        arm.examine(publisher)
    arm.node._tick()
    assert arm.node._source._publisher == gids[0]
    assert arm.node._controller.report(graph.now).chunk_sequence == 1
    assert 'expected one publisher' in arm.node.health.message('chunk')


def test_a_chunk_whose_check_ends_while_the_driver_holds_is_not_taken(
    graph: Any, description: Path
) -> None:
    arm = JointArm(graph, description)
    arm.examine(b'')
    arm.node._feedback.share = 0.0
    arm.node._tick()
    assert arm.node._controller.report(graph.now).chunk_sequence == 0
    assert arm.node._controller.state == Status.STATE_WAITING


def test_a_check_that_ends_after_the_controller_was_disabled_is_no_complaint(
    graph: Any, description: Path
) -> None:
    arm = JointArm(graph, description)
    arm.examine(b'')
    arm.node.disable(graph.now)
    arm.node._tick()
    assert not arm.node.health.message('chunk')


def test_a_check_that_ends_while_a_node_is_missing_leaves_the_complaint_of_before(
    graph: Any, description: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = JointArm(graph, description)
    arm.send((0.0, 0.0, -0.1))
    said = arm.node.health.message('chunk')
    assert said.startswith('chunk moves the tool at 5 m/s')
    arm.examine(b'')
    monkeypatch.setattr(arm.node._liveliness, 'missing', lambda: ['actor'])
    arm.node._tick()
    assert arm.node.health.message('chunk') == said


def test_a_fault_that_waits_is_heard_before_a_chunk_that_was_checked_is_accepted(
    graph: Any, description: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = JointArm(graph, description)
    arm.send((0.002, 0.0, -0.001))
    node, accepted = arm.node, []
    assert node._controller is not None
    monkeypatch.setattr(node._controller, 'accept', lambda *given: accepted.append(given))
    arm.examine(node._source._publisher)
    node._tick()
    assert len(accepted) == 1
    arm.examine(node._source._publisher)
    faults = node._feedback._faults
    monkeypatch.setattr(node._inlet, 'drain', lambda: faults.update(program='it fell'))
    node._tick()
    assert len(accepted) == 1
    assert node._controller.reason == 'it fell'


def test_checks_beside_the_loop_tell_what_they_found_and_what_failed() -> None:
    examiner = Examiner[str]()
    chunk = arms.rows_of(np.zeros((2, 3)))
    over = []
    gate = threading.Event()

    def check() -> Laid:
        gate.wait(5.0)
        return Laid(Checked(chunk))

    def fail() -> Laid:
        raise ValueError('no such joint')

    examiner.submit('first', check)
    assert not list(examiner.over())
    gate.set()
    assert examiner._worker.wait_idle(5.0)
    examiner.submit('second', fail)
    assert examiner._worker.wait_idle(5.0)
    over = list(examiner.over())
    assert [o.cause for o in over] == ['first', 'second']
    assert over[0].laid is not None
    assert over[0].laid.checked.chunk is chunk
    assert over[1].error == "ValueError('no such joint')"
    examiner.close()
