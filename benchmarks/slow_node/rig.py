# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A graph whose slow side, the reasoner or its server of subtasks, is a process apart.

Without hosts both sides are on this machine, and only the process can fail.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import rclpy
from lifecycle_msgs.msg import TransitionEvent
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool

from benchmarks.slow_node import answers, elsewhere, hosts
from efficient_vla import msg
from efficient_vla.bringup.graph import Graph, Selection, describe
from efficient_vla.bringup.supervisor import Supervisor
from efficient_vla.nodes.base.conversions import seconds_to_stamp, stamp_to_seconds
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, report_qos
from efficient_vla.nodes.client.graph_listener import STATES

TASK, SUBTASK = 'tidy up the table', 'close the window'
PORT = 8077
PATIENCE_S, START_S = 90.0, 240.0
FAST = ('perception', 'actor', 'controller', 'metaworld_robot')


class SlowNodeRig:
    """Both sides, and what is heard of them; a context that ends them."""

    def __init__(
        self,
        folder: Path,
        slow: str,
        overrides: dict[str, Any],
        policy: str = '',
        network: hosts.TwoHosts | None = None,
    ) -> None:
        """Put ``slow``, 'reasoner' or 'server', on the slow one of the hosts of ``network``."""
        self.slow, self.network = slow, network
        given = dict(overrides)
        if slow == 'server':
            address = hosts.SLOW_ADDRESS if network else '127.0.0.1'
            given |= {
                'reasoner.subtasks.server': f'http://{address}:{PORT}',
                'reasoner.subtasks.model': 'any',
                'reasoner.subtasks.period': 1.0,
                'reasoner.subtasks.timeout': 2.0,
                'reasoner.subtasks.max_age': 3.0,
            }
        here, there = (
            describe(Selection(policy=policy, overrides=given, log_level='warn', only=only))
            for only in (FAST, ('reasoner',))
        )
        self._supervisors = [
            Supervisor(here, folder),
            Supervisor(self._moved(there) if slow == 'reasoner' else there, folder),
        ]
        self._server: subprocess.Popen[bytes] | None = None
        self.chunks: list[tuple[float, float]] = []
        """When a chunk came, and the capture time of the frame behind its plan [s]."""
        self.plans: list[tuple[float, float, str]] = []
        """When a plan came, its capture time [s] and subtask."""
        self.states: list[tuple[float, str]] = []
        """When the controller said its state, and that."""
        self.killed = self.returned = 0.0
        """When a reasoner was last killed, and was first seen to work again, or 0 [s]."""

    def __enter__(self) -> 'SlowNodeRig':
        self._listen()
        try:
            if self.slow == 'server':
                self.start_server()
            for supervisor in self._supervisors:
                supervisor.start()
            self.wait(lambda: self.states, 'the controller speaks', START_S)
            self._enable()
            instruction = msg.Instruction(text=TASK, sequence=1)
            instruction.header.stamp = seconds_to_stamp(time.time())
            self._instruction.publish(instruction)
            self.wait(self.healthy, 'the arm follows plans', START_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for supervisor in self._supervisors:
            supervisor.stop()
        self.kill_server()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def healthy(self) -> bool:
        """Return whether the arm follows a chunk of a fresh plan, made as the slow side wants."""
        return self.followed(time.time() - 1.0)

    def followed(self, since: float) -> bool:
        """Return whether the arm follows a chunk whose plan saw a frame after ``since`` [s]."""
        read = self.slow != 'server' or (self.plans and self.plans[-1][2] == SUBTASK)
        fresh = self.chunks and self.chunks[-1][1] > since
        return bool(read and fresh and self.states[-1][1] == 'tracking')

    def live_for(self, seconds: float) -> None:
        """Live for so long."""
        end = monotonic() + seconds
        while monotonic() < end:
            self.live()

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> None:
        """Live until ``condition`` holds."""
        end = monotonic() + seconds
        while not condition():
            said = self.states[-1:] + self.plans[-1:]
            assert monotonic() < end, f'not within {seconds} s: {what}; heard last: {said}'
            self.live()

    def live(self) -> None:
        """Hear what is said, and start again what died."""
        self.executor.spin_once(timeout_sec=0.01)
        for supervisor in self._supervisors:
            for event in supervisor.poll():
                assert not supervisor.failed, f'{event.process}: {event.text} {event.log_tail}'

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process of the slow side."""
        if self._server is not None:
            self._server.send_signal(number)
        else:
            (child,) = self._supervisors[1].children
            os.killpg(child.pid, number)

    def start_server(self) -> None:
        """Start the server of subtasks."""
        begin = hosts.on_host(self.network.slow) if self.network else []
        words = [sys.executable, answers.__file__, str(PORT), SUBTASK]
        self._server = subprocess.Popen([*begin, *words])

    def kill_reasoner(self) -> None:
        """Kill the reasoner, which its supervisor starts again."""
        self.killed, self.returned = time.time(), 0.0
        self.send(signal.SIGKILL)

    def kill_server(self) -> None:
        """End it without a word."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        self._server = None

    def _moved(self, graph: Graph) -> Graph:
        """Return the graph with its processes on the slow host."""
        if self.network is None:
            return graph
        program = (elsewhere.__file__, self.network.slow)
        return replace(
            graph, processes=tuple(replace(each, program=program) for each in graph.processes)
        )

    def _listen(self) -> None:
        self.context = rclpy.Context()
        quiet = SignalHandlerOptions.NO
        rclpy.init(args=[], context=self.context, signal_handler_options=quiet)
        self.node = rclpy.create_node('slow_node_rig', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        hear = self.node.create_subscription
        hear(msg.ActionChunk, 'action_chunk', self._chunk, newest_qos())
        hear(msg.Plan, 'plan', self._plan, latched_qos())
        hear(msg.ControllerStatus, 'controller_status', self._status, latched_qos())
        hear(TransitionEvent, 'reasoner/transition_event', self._changed, report_qos())
        self._instruction = self.node.create_publisher(
            msg.Instruction, 'instruction', latched_qos()
        )

    def _enable(self) -> None:
        client = self.node.create_client(SetBool, 'controller/set_enabled')
        self.wait(client.service_is_ready, 'the controller can be enabled')
        enabled = False
        while not enabled:
            asked = client.call_async(SetBool.Request(data=True))
            self.wait(asked.done, 'the controller answers')
            enabled = asked.result().success
            self.live_for(0.2)

    def _chunk(self, message: Any) -> None:
        self.chunks.append((time.time(), float(stamp_to_seconds(message.plan_stamp))))

    def _plan(self, message: Any) -> None:
        stamp = float(stamp_to_seconds(message.header.stamp))
        self.plans.append((time.time(), stamp, message.subtask))
        if stamp > self.killed and not self.returned:
            # Its transitions may pass before they are listened to.
            self.returned = time.time()

    def _status(self, message: Any) -> None:
        self.states.append((time.time(), STATES[message.state]))

    def _changed(self, message: Any) -> None:
        if message.goal_state.label == 'active' and not self.returned:
            self.returned = time.time()
