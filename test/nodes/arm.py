# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A controller node, and the robot, actor and operator around it."""

from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from efficient_vla import msg
from efficient_vla.nodes.base.conversions import chunk_to_message
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, state_qos
from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.types import ActionChunk, ControlMode

HOME = (0.0, 0.6, 0.2)
SPEED = 0.2
Status = msg.ControllerStatus


class Recorder:
    """Keeps what a publisher sends, without a cycle that would outlive its node."""

    def __init__(self, publisher: Any, messages: list[Any]) -> None:
        self._publisher, self._messages = publisher, messages

    def publish(self, message: Any) -> None:
        """Keep and send a message."""
        self._messages.append(message)
        self._publisher.publish(message)


class Arm:
    """The robot is wherever the last command says."""

    def __init__(self, graph: Any, **values: Any) -> None:
        self.graph = graph
        self.position = np.array(HOME)
        self.silent = False
        self.sequence = 0
        self.node = graph.add(ControllerNode, **{'arming': 'auto', **values})
        self.commands: list[JointState] = []
        """All that were sent; on a busy machine the topic keeps only the newest."""
        graph.peer.create_subscription(JointState, 'command', self._follow, newest_qos())
        self.status = graph.hear(msg.ControllerStatus, 'controller_status', latched_qos())
        self.states = graph.publisher(JointState, 'robot_state', state_qos())
        self.chunks = graph.publisher(msg.ActionChunk, 'action_chunk', newest_qos())
        self.success = graph.publisher(Bool, 'task_success', latched_qos())
        if self.node.settings.output == 'command' and not self.node.settings.dry_run:
            output = self.node._output
            graph.until(output._publisher.get_subscription_count)
            output._publisher = Recorder(output._publisher, self.commands)
        graph.until(self.node._status.get_subscription_count)

    def _follow(self, message: JointState) -> None:
        self.position = np.array(message.position[:3])
        if not self.silent:
            self.states.publish(self.graph.state(self.position))

    @property
    def state(self) -> int:
        """State of the controller."""
        return int(self.node._controller.state)

    def locate(self) -> None:
        """Report the robot's state until the controller knows where it is."""
        self.states.publish(self.graph.state(self.position))
        self.graph.until(lambda: self.node._command is not None)

    def enable(self, on: bool = True) -> Any:
        """Call set_enabled."""
        return self.graph.call(SetBool, 'controller/set_enabled', data=on)

    def stop(self) -> Any:
        """Call stop."""
        return self.graph.call(Trigger, 'controller/stop')

    def reset_stop(self) -> Any:
        """Call reset_stop."""
        return self.graph.call(Trigger, 'controller/reset_stop')

    def make_chunk(self, **fields: Any) -> msg.ActionChunk:
        """Return a chunk that moves along y, observed now."""
        self.sequence += 1
        row = [0.0, SPEED * 0.0125, 0.0, -1.0]
        values = {
            'actions': np.tile(np.array(row, np.float32), (40, 1)),
            'dt': 0.0125,
            'names': ('x', 'y', 'z', 'gripper'),
            'control_mode': ControlMode.EE_DELTA,
            'stamp': self.graph.now,
            'sequence': self.sequence,
            'plan_stamp': self.graph.now,
        }
        return chunk_to_message(ActionChunk(**{**values, **fields}))

    def send_chunk(self, message: msg.ActionChunk | None = None) -> None:
        """Send a chunk and wait for the status that answers it."""
        count = len(self.status)
        self.chunks.publish(self.make_chunk() if message is None else message)
        self.graph.until(lambda: len(self.status) > count)

    def moving(self) -> None:
        """Enable and follow a chunk until the robot moves at full speed."""
        self.locate()
        assert self.enable().success
        self.send_chunk()
        self.run(0.3)
        assert self.state == Status.STATE_TRACKING
        assert self.speed() > 0.1

    def run(self, seconds: float) -> None:
        """Let the control loop tick."""
        self.graph.run(seconds)

    def speed(self) -> float:
        """Return the speed of the last command."""
        return float(np.abs(self.commands[-1].velocity).max())
