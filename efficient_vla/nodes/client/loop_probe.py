# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Play robot and actor for a controller in another process, and watch how well it keeps time.

Run as ``python -m efficient_vla.nodes.client.loop_probe``; prints one JSON object when done.
``benchmarks.motion.timing`` starts it beside the controller.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from efficient_vla import msg
from efficient_vla.nodes.base.conversions import chunk_to_message, joint_state, stamp_to_seconds
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, report_qos, state_qos
from efficient_vla.nodes.client.probe import run_probe
from efficient_vla.types import ActionChunk, ControlMode, Stamp

NAMES = ('x', 'y', 'z', 'gripper')
HOME = np.array([0.0, 0.6, 0.2])
REACH_M = 0.1
SWING_S = 2.0
CHUNK_PERIOD_S = 0.1
CHUNK_DELAY_S = 0.15
SEAM_M = 0.01
"""Chunks disagree by twice this, in turn."""
ARM_SHARE = 0.1
"""Those of an arm of joints, whose acceleration is lower, by this share of it."""
ROWS = 40
DT = 0.0125
STATE_PERIOD_S = 0.02
STOP_SPEED = 0.15
"""A stop is asked for while the robot is faster than this [m/s]."""
WARM_UP_S = 1.0
PROBE_NICE = -10
PATIENCE_S = 30.0
LATE = 1.5
"""A set-point that comes so many periods after the one before has missed its turn."""
DEPTH = 5000
"""The listener may be held up by the load; no set-point shall be lost to that."""
LIMITS = ('max_velocity', 'max_acceleration', 'max_jerk', 'position_low', 'position_high')
ROUNDING = {'velocity': 1e-3, 'acceleration': 1e-3, 'jerk': 0.01}
"""Shares by which the differences of set-points may be off: a stamp counts nanoseconds."""


class LoopProbe:
    """A robot that swings, an actor with seams and a delay, and an operator who stops.

    With ``joints`` the robot is an arm that stands at ``home`` [M], and chunks move its tool about
    ``place`` [3], where it is then.
    """

    def __init__(
        self,
        node: Node,
        joints: Sequence[str] = (),
        home: Sequence[float] = tuple(HOME),
        place: Sequence[float] = tuple(HOME),
    ) -> None:
        self.node = node
        self._joints = tuple(joints)
        self._home, self._place = np.array(home), np.array(place)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(node)
        self.stamps: list[Stamp] = []
        self.positions: list[Sequence[float]] = []
        self.velocities: list[Sequence[float]] = []
        self.status = msg.ControllerStatus()
        self.diagnostics: dict[str, str] = {}
        self._stopped = math.nan
        self._sequence = 0
        self._moves = False
        self._clients: dict[str, Any] = {}
        qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        node.create_subscription(JointState, 'command', self._command, qos)
        node.create_subscription(
            msg.ControllerStatus, 'controller_status', self._status, latched_qos()
        )
        node.create_subscription(DiagnosticArray, '/diagnostics', self._diagnose, report_qos())
        self._states = node.create_publisher(JointState, 'robot_state', state_qos())
        self._chunks = node.create_publisher(msg.ActionChunk, 'action_chunk', newest_qos())
        node.create_timer(STATE_PERIOD_S, self._send_state)
        node.create_timer(CHUNK_PERIOD_S, self._send_chunk)

    @property
    def now(self) -> float:
        """Time of the clock that stamps [s]."""
        return float(self.node.get_clock().now().nanoseconds * 1e-9)

    @property
    def speed(self) -> float:
        """Speed of the newest set-point [m/s]."""
        return max(map(abs, self.velocities[-1][: self.axes])) if self.velocities else 0.0

    @property
    def axes(self) -> int:
        """How many columns of a command are axes."""
        return len(self._home)

    def limits(self) -> dict[str, np.ndarray]:
        """Return the limits of the controller; its axes must share them but for the box."""
        values = self._parameters([f'limits.{name}' for name in LIMITS])
        found = [np.array(list(value.double_array_value)) for value in values]
        return dict(zip(LIMITS, found, strict=True))

    def period(self) -> float:
        """Return the period of the control loop [s]."""
        (rate,) = self._parameters(['rate'])
        return 1 / float(rate.double_value)

    def begin(self) -> None:
        """Enable the controller and let chunks come."""
        self.until(lambda: self.call(SetBool, 'controller/set_enabled', data=True).success)
        self._moves = True
        self.until(lambda: self.status.state == msg.ControllerStatus.STATE_TRACKING)

    def stop_latency(self) -> float:
        """Stop the moving robot; return the time to its first decelerating set-point [s].

        From the call of the client to the stamp of the set-point, which is when it was computed:
        the first one of the time at which the controller reported that it is stopped, or later.
        """
        self.until(lambda: self.speed > STOP_SPEED)
        begin = len(self.stamps)
        self._stopped = math.nan
        called = self.now
        self.call(Trigger, 'controller/stop')
        self._moves = False
        self.until(lambda: self.speed == 0 and math.isfinite(self._stopped))
        self.until(lambda: self.call(Trigger, 'controller/reset_stop').success)
        return min(s for s in self.stamps[begin:] if s >= self._stopped) - called

    def call(self, kind: type[Any], service: str, **fields: Any) -> Any:
        """Call a service and return its response."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
            self.until(self._clients[service].service_is_ready)
        future = self._clients[service].call_async(kind.Request(**fields))
        self.until(future.done)
        return future.result()

    def until(self, condition: Callable[[], Any], patience: float = PATIENCE_S) -> None:
        """Take part until ``condition`` holds; raises ``TimeoutError`` where it does not."""
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(
                    f'the controller did not answer in {patience:.0f} s; it is in state '
                    f'{self.status.state}: {self.status.reason}'
                )
            self.executor.spin_once(timeout_sec=0.01)

    def watch(self, seconds: float) -> None:
        """Take part for so long."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, 2 * seconds + PATIENCE_S)

    def _parameters(self, names: list[str]) -> Any:
        return self.call(GetParameters, 'controller/get_parameters', names=names).values

    def _command(self, message: JointState) -> None:
        self.stamps.append(stamp_to_seconds(message.header.stamp))
        self.positions.append(message.position)
        self.velocities.append(message.velocity)

    def _status(self, message: msg.ControllerStatus) -> None:
        self.status = message
        if message.state == msg.ControllerStatus.STATE_STOPPED and math.isnan(self._stopped):
            self._stopped = stamp_to_seconds(message.header.stamp)

    def _diagnose(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f'{self.node.get_namespace().rstrip("/")}/controller: health':
                self.diagnostics = {item.key: item.value for item in status.values}

    def _send_state(self) -> None:
        place = np.array(self.positions[-1][: self.axes]) if self.positions else self._home
        names = (*self._joints, 'gripper') if self._joints else NAMES
        self._states.publish(joint_state(names, np.append(place, 1.0), self.now))

    def _send_chunk(self) -> None:
        if not self._moves:
            return
        self._sequence += 1
        stamp = self.now - CHUNK_DELAY_S
        times = stamp + DT * np.arange(ROWS + 1)
        phases = np.array([[0.0], [math.pi / 2], [math.pi / 4]])
        swing = REACH_M * np.sin(2 * math.pi / SWING_S * times + phases).T  # [ROWS + 1, 3]
        rows = np.full((ROWS, 4), -1.0, np.float32)
        seam = SEAM_M * (ARM_SHARE if self._joints else 1.0)
        rows[:, :3] = self._place + swing[1:] + seam * (-1) ** self._sequence
        mode = ControlMode.EE_POSITION
        chunk = ActionChunk(rows, DT, NAMES, mode, stamp, self._sequence, plan_stamp=stamp)
        self._chunks.publish(chunk_to_message(chunk))


def violations(
    stamps: np.ndarray,
    positions: np.ndarray,
    velocities: np.ndarray,
    limits: dict[str, np.ndarray],
    period: float,
) -> int:
    """Return how many set-points break a limit.

    ``stamps`` [N], ``positions`` and ``velocities`` [N, M]. Differences of a motion that keeps a
    limit keep it too, whichever set-points of it are seen: slopes are means of velocity, slopes of
    velocity are means of acceleration, and divided differences of positions are means of jerk.
    Only a set-point that missed its turn may stay behind: it is one ``period`` [s] of motion from
    the one before, and never more.
    """
    elapsed = np.diff(stamps)
    elapsed = np.where(elapsed > LATE * period, period, elapsed)
    stamps = np.concatenate([[0.0], np.cumsum(elapsed)])
    steps = elapsed[:, None]
    broken = np.zeros(len(stamps), bool)
    slack = {name: 1 + share for name, share in ROUNDING.items()}
    fastest = slack['velocity'] * limits['max_velocity']
    broken |= (np.abs(velocities) > fastest).any(axis=1)
    low, high = limits['position_low'] - 1e-9, limits['position_high'] + 1e-9
    broken |= ((positions < low) | (positions > high)).any(axis=1)
    first = np.diff(positions, axis=0) / steps
    broken[1:] |= (np.abs(first) > fastest).any(axis=1)
    acceleration = np.diff(velocities, axis=0) / steps
    hardest = slack['acceleration'] * limits['max_acceleration']
    broken[1:] |= (np.abs(acceleration) > hardest).any(axis=1)
    second = np.diff(first, axis=0) / (stamps[2:] - stamps[:-2])[:, None]
    third = 6 * np.diff(second, axis=0) / (stamps[3:] - stamps[:-3])[:, None]
    broken[3:] |= (np.abs(third) > slack['jerk'] * limits['max_jerk']).any(axis=1)
    return int(broken.sum())


def measure(probe: LoopProbe, seconds: float, stops: int) -> dict[str, Any]:
    """Return period, set-points outside of limits and stop latencies of the controller."""
    limits, period = probe.limits(), probe.period()
    probe.begin()
    probe.watch(WARM_UP_S)
    # Disabling and enabling begins the statistics of the controller anew.
    probe.call(SetBool, 'controller/set_enabled', data=False)
    probe.until(lambda: probe.speed == 0)
    probe.diagnostics = {}
    probe.begin()
    memory = None
    begin = len(probe.stamps)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        probe.watch(min(1.0, max(end - time.monotonic(), 0.001)))
        memory = memory or float(probe.diagnostics.get('resident_mb', 0.0))
    probe.diagnostics = {}
    probe.until(lambda: probe.diagnostics)
    found = dict(probe.diagnostics)
    counted = slice(begin, None)
    nanoseconds = np.array([stamp.nanoseconds for stamp in probe.stamps[counted]])
    stamps = (nanoseconds - nanoseconds[0]) * 1e-9
    broken = violations(
        stamps,
        np.array([position[: probe.axes] for position in probe.positions[counted]]),
        np.array([velocity[: probe.axes] for velocity in probe.velocities[counted]]),
        limits,
        period,
    )
    underruns, max_jerk = probe.status.underruns, probe.status.max_jerk
    latencies_ms = []
    # Finding a service takes longer than any stop.
    probe.until(lambda: not probe.call(Trigger, 'controller/reset_stop').success)
    probe.call(SetBool, 'controller/set_enabled', data=False)
    probe.until(lambda: probe.speed == 0)
    probe.call(Trigger, 'controller/stop')
    probe.call(Trigger, 'controller/reset_stop')
    probe.begin()
    for number in range(stops):
        latencies_ms.append(probe.stop_latency() * 1e3)
        if number + 1 < stops:
            probe.begin()
    return {
        **{f'period_{name}_ms': float(found[f'period_{name}_ms']) for name in PERIODS},
        **{f'tick_{name}_ms': float(found[f'tick_{name}_ms']) for name in TICKS},
        'commands': len(stamps),
        'limit_violations': broken,
        'max_jerk': float(max_jerk),
        'underruns': int(underruns),
        'stops': stops,
        'stop_p50_ms': float(np.median(latencies_ms)) if stops else math.nan,
        'stop_max_ms': max(latencies_ms, default=math.nan),
        'resident_growth_mb': float(found['resident_mb']) - (memory or math.nan),
    }


PERIODS = ('p50', 'p99', 'p999', 'max')
TICKS = ('p50', 'p99')


def main(words: list[str] | None = None) -> int:
    """Measure and print the result; 1 where the controller does not do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--stops', type=int, default=10)
    parser.add_argument('--namespace', default='')
    parser.add_argument('--joints', nargs='*', default=[])
    parser.add_argument('--home', nargs='*', type=float, default=HOME.tolist())
    parser.add_argument('--place', nargs=3, type=float, default=HOME.tolist())
    options = parser.parse_args(words)
    # Where that is allowed: its own wait for a core would look like the controller's.
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PROBE_NICE)
    return run_probe(
        'loop_probe',
        lambda node: measure(
            LoopProbe(node, options.joints, options.home, options.place),
            options.seconds,
            options.stops,
        ),
        namespace=options.namespace,
        start_parameter_services=False,
    )


if __name__ == '__main__':
    sys.exit(main())
