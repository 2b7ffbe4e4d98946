# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A simulated arm behind the stand-in of its driver and a controller, a process each.

Both are started as ``efficient-vla up --robot`` starts them. The rig is their policy: it moves two
joints at a constant speed, and hears what they say.
"""

import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import rclpy
from control_msgs.msg import JointTrajectoryControllerState
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from benchmarks.drivers.faulty import CLOCK, VARIABLE, shared
from efficient_vla import msg
from efficient_vla.bringup.graph import Selection, describe
from efficient_vla.bringup.supervisor import Supervisor
from efficient_vla.nodes.base.conversions import chunk_to_message
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, report_qos, state_qos
from efficient_vla.sim.catalogue import node_name, simulation
from efficient_vla.types import ActionChunk, ControlMode

SPEED = 0.3
"""Of the two joints [rad/s]."""
DT, ROWS, CHUNK_S = 0.02, 25, 0.1
REACH = np.array([1.2, 0.4])
"""So far from where they began the two joints turn back [rad]."""
PATIENCE_S, START_S = 60.0, 240.0
WINDOW_S = 0.25
STILL, STILL_S = 0.002, 0.5
"""A joint that moves less in so long stands still [rad]."""
Status = msg.ControllerStatus


class FaultRig:
    """The processes of ``robot`` and what is heard of them; a context that ends them."""

    def __init__(self, robot: str, folder: Path) -> None:
        self.robot, self.about = node_name(robot), simulation(robot)
        driver = self.about.driver
        assert driver is not None
        self.driver = driver
        file = folder / 'faults'
        self.faults = shared(file, 'w+')
        light = {'camera.size': 16, 'camera.rate': 0.1, 'task': 'push', 'max_steps': 10**9}
        chosen = Selection(
            robot=robot,
            log_level='warn',
            overrides={f'{self.robot}.{name}': value for name, value in light.items()},
        )
        graph = describe(chosen)
        program = (str(Path(__file__).with_name('faulty.py')),)
        processes = tuple(
            replace(process, program=program)
            for process in graph.processes
            if process.name in (self.robot, 'controller')
        )
        self.settings = graph.parameters['controller']
        self.supervisor = Supervisor(replace(graph, processes=processes), folder)
        self._file = str(file)
        self.moving = False
        """Whether the policy sends chunks."""
        self.speed = SPEED
        self.track: deque[tuple[float, Any]] = deque(maxlen=2000)
        """When a state came by the steady clock [s], and the places of the arm's joints."""
        self.status: Any = None
        self.reference = np.zeros(0)
        """Where the driver wants the arm's joints to be [J]."""
        self.diagnosed = ''
        """What /diagnostics says of the controller."""
        self._home: Any = None
        self._moved = [0, len(self.driver.joints) - 1]
        self._way: Any = np.ones(2)
        self._due, self._sequence = 0.0, 0

    def __enter__(self) -> 'FaultRig':
        # Of what the supervisor starts again, too.
        os.environ[VARIABLE] = self._file
        self._listen()
        try:
            self.supervisor.start()
            self.wait(lambda: self.track and self.status, 'states of arm and controller', START_S)
            # Where one in this domain was stopped before, so is this one.
            self.reset_stop()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.environ.pop(VARIABLE)
        self.supervisor.stop()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def _listen(self) -> None:
        self.context = rclpy.Context()
        quiet = SignalHandlerOptions.NO
        rclpy.init(args=[], context=self.context, signal_handler_options=quiet)
        self.node = rclpy.create_node('fault_rig', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        hear = self.node.create_subscription
        hear(JointState, 'joint_states', self._state, state_qos())
        hear(msg.ControllerStatus, 'controller_status', self._told, latched_qos())
        topic = f'{self.driver.controller}/controller_state'
        hear(JointTrajectoryControllerState, topic, self._wanted, state_qos())
        hear(DiagnosticArray, '/diagnostics', self._diagnosis, report_qos())
        self._chunks = self.node.create_publisher(msg.ActionChunk, 'action_chunk', newest_qos())

    @property
    def state(self) -> int:
        """State of the controller."""
        return int(self.status.state)

    @property
    def place(self) -> np.ndarray:
        """Where the arm's joints are [J]."""
        return self.track[-1][1]

    def pace(self) -> float:
        """Return the speed of the faster joint lately [rad/s], NaN where nothing was heard."""
        lately = self._lately(WINDOW_S)
        if len(lately) < 5:
            return float('nan')
        (begin, first), (end, last) = lately[0], lately[-1]
        return float(np.abs(last - first).max() / max(end - begin, 1e-3))

    def returning(self) -> bool:
        """Return whether the first joint goes to where it began, so that it is far from an end."""
        return float((self.place - self._home)[0] * self._way[0]) < 0

    def still(self) -> bool:
        """Return whether the arm stands, as far as is heard."""
        places = [place for _, place in self._lately(STILL_S)]
        return len(places) > 4 and bool(np.ptp(places, axis=0).max() < STILL)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> float:
        """Live until ``condition`` holds; return after how long [s]."""
        begin = monotonic()
        while not condition():
            if monotonic() - begin > seconds:
                said = self.status.reason if self.status else 'nothing'
                raise AssertionError(f'{self.robot}: not within {seconds} s: {what}; said: {said}')
            self.live()
        return monotonic() - begin

    def live_for(self, seconds: float) -> None:
        """Live for so long."""
        end = monotonic() + seconds
        while monotonic() < end:
            self.live()

    def live(self) -> None:
        """Handle what came, and send a chunk where it is time."""
        self.executor.spin_once(timeout_sec=0.01)
        self.supervisor.poll()
        if self.moving and self.track and monotonic() >= self._due:
            self._due = monotonic() + CHUNK_S
            self._send_chunk()

    def go(self) -> None:
        """Let the arm move at full speed."""
        self.moving = True
        self.wait(lambda: self.pace() > 0.8 * self.speed, 'the arm moves')
        self.live_for(WINDOW_S)

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        """Return the answer of a service; it is asked again where none comes."""
        client = self.node.create_client(kind, name)
        try:
            while True:
                self.wait(client.service_is_ready, f'service {name}')
                answer = client.call_async(kind.Request(**fields))
                due = monotonic() + 5.0
                self.wait(lambda d=due, a=answer: a.done() or monotonic() > d, f'answer of {name}')  # type: ignore[misc]
                if answer.done():
                    return answer.result()
        finally:
            self.node.destroy_client(client)

    def enable(self) -> None:
        """Enable the controller, as soon as it may be."""
        end = monotonic() + PATIENCE_S
        while not (answer := self.call(SetBool, 'controller/set_enabled', data=True)).success:
            assert monotonic() < end, answer.message
            self.live_for(0.2)

    def reset_stop(self) -> None:
        """Let a stopped controller be enabled again, and enable it."""
        end = monotonic() + PATIENCE_S
        while self.state == Status.STATE_STOPPED:
            # While the set-point still goes back to where the arm is, it is refused.
            answer = self.call(Trigger, 'controller/reset_stop')
            assert answer.success or monotonic() < end, answer.message
            self.live_for(0.2)
        self.enable()

    def set_slider(self, share: float) -> None:
        """Move the speed slider of the robot."""
        wanted = Parameter('speed_slider', value=share).to_parameter_msg()
        name = f'{self.robot}/set_parameters'
        (result,) = self.call(SetParameters, name, parameters=[wanted]).results
        assert result.successful, result.reason

    def kill_driver(self) -> None:
        """Kill the process of the robot's driver; the supervisor starts it again."""
        entry = next(c for c in self.supervisor.children if c.process.name == self.robot)
        assert entry.running is not None
        os.kill(entry.running.pid, signal.SIGKILL)

    def _lately(self, seconds: float) -> list[tuple[float, np.ndarray]]:
        begin = monotonic() - seconds
        return [sample for sample in self.track if sample[0] >= begin]

    def _state(self, message: JointState) -> None:
        values = dict(zip(message.name, message.position, strict=True))
        place = np.array([values[name] for name in self.driver.joints])
        self._home = place if self._home is None else self._home
        self.track.append((monotonic(), place))

    def _wanted(self, message: JointTrajectoryControllerState) -> None:
        self.reference = np.array(message.reference.positions)

    def _told(self, message: Any) -> None:
        self.status = message

    def _diagnosis(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith('/controller:'):
                self.diagnosed = '; '.join([status.message, *(v.value for v in status.values)])

    def _send_chunk(self) -> None:
        off = (self.place - self._home)[self._moved]
        self._way = np.where(np.abs(off) > REACH, -np.sign(off), self._way)
        names = tuple(self.settings['names'])
        row = np.zeros(len(names))
        row[self._moved] = self._way * self.speed * DT
        self._sequence += 1
        now = self.node.get_clock().now().nanoseconds * 1e-9 + float(self.faults[CLOCK])
        chunk = ActionChunk(
            actions=np.tile(row, (ROWS, 1)),
            dt=DT,
            names=names,
            control_mode=ControlMode.JOINT_DELTA,
            stamp=now,
            sequence=self._sequence,
            plan_stamp=now,
        )
        self._chunks.publish(chunk_to_message(chunk))
