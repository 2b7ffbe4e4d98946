# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the control loop says about itself: its status, and the statistics of its ticks."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from efficient_vla import msg
from efficient_vla.control.controller import Controller
from efficient_vla.control.motion_clock import MotionClock
from efficient_vla.control.state import ControllerReport, State
from efficient_vla.nodes.base.conversions import seconds_to_stamp
from efficient_vla.nodes.base.efficiency import efficiency_message
from efficient_vla.nodes.base.qos import latched_qos, report_qos
from efficient_vla.nodes.controller import messages
from efficient_vla.nodes.controller.beside import Beside
from efficient_vla.nodes.controller.latch import StopLatch
from efficient_vla.statistics import LatencyWindow, PeriodMeter, TimeHistogram
from efficient_vla.types import Stamp

if TYPE_CHECKING:
    from efficient_vla.nodes.controller.node import ControllerNode

STATUS_PERIOD_S = 0.1
TICK_BIN_MS = 0.01
SPARE = 0.5
"""A tick that took this share of its period leaves what it has to tell to the next one."""
LONGEST_UNTOLD_S = 0.02


class Telling:
    """Publishes the status when it changes and ten times a second, and a tick's statistics.

    Messages are made and sent ``beside`` the loop. ``authority`` returns the node whose chunks may
    move the robot.
    """

    def __init__(
        self,
        node: 'ControllerNode',
        controller: Callable[[], Controller | None],
        latch: StopLatch,
        clock: MotionClock,
        beside: Beside,
        authority: Callable[[], str],
    ) -> None:
        publisher = node.create_lifecycle_publisher
        self.status = publisher(msg.ControllerStatus, 'controller_status', latched_qos())
        self.efficiency = publisher(msg.EfficiencyStats, 'efficiency', report_qos())
        self.periods = PeriodMeter()
        self.ticks = TimeHistogram(TICK_BIN_MS)
        """What a tick took, all of it, since `restart`."""
        self.latency = LatencyWindow()
        self.turned_away = 0
        """Chunks that never reached the control core."""
        self._node, self._controller, self._latch = node, controller, latch
        self._clock, self._beside, self._authority = clock, beside, authority
        self._observed = Stamp(0)
        self._fresh: tuple[Stamp, float] | None = None
        """Capture time [s] and transport [ms] of a chunk that came since the last tick."""
        self._status_due = 0.0
        self._untold = math.inf
        self._reported: tuple[Any, ...] = ()

    def restart(self) -> None:
        """Begin the statistics anew."""
        self.periods.restart()
        self.ticks.restart()
        self.latency = LatencyWindow()

    def took(self, begin: float) -> None:
        """Count a tick that began at ``begin`` by the steady clock [s] and ends now."""
        spent_ms = (time.monotonic() - begin) * 1e3
        self.latency.add(spent_ms)
        self.ticks.add(spent_ms)

    def drives(self, stamp: Stamp, transport_ms: float) -> None:
        """Take note that a chunk drives the robot that was observed at ``stamp``."""
        self._observed = stamp
        self._fresh = stamp, transport_ms

    def soon(self, now: float) -> None:
        """Publish the status in one of the next ticks.

        At once where a robot in lockstep waits for it before its clock goes on.
        """
        if self._node.get_clock().ros_time_is_active:
            self.publish(now)
        else:
            self._status_due = min(self._status_due, time.monotonic())

    def tell(self, begin: float, now: float) -> None:
        """Publish what is new, soon, one message a tick and in one that has time for it.

        The tick began at ``begin`` by the steady clock [s].
        """
        changed = self._reported != self._notable() or begin >= self._status_due
        if not changed and self._fresh is None:
            return
        lockstep = self._node.get_clock().ros_time_is_active
        self._untold = min(self._untold, begin)
        busy = time.monotonic() - begin > SPARE / self._node.settings.rate
        if busy and begin - self._untold < LONGEST_UNTOLD_S and not lockstep:
            return
        self._untold = math.inf
        if changed:
            self.publish(now)
        if lockstep or not changed:
            self._publish_pass()

    def publish(self, now: float) -> None:
        """Publish the status; a stop is remembered and told as a fault."""
        controller = self._controller()
        if controller is None:
            return
        report, health = controller.report(now), self._node.health
        stopped = controller.state == State.STOPPED
        if stopped:
            self._latch.set(controller.reason)
        why = f'{controller.reason.rstrip(".")}. Call reset_stop, then set_enabled.'
        health.error('stopped', why if stopped else None)
        self._reported = self._notable()
        self._status_due = time.monotonic() + STATUS_PERIOD_S
        refused, stamp = health.message('chunk'), self._clock.stamp(now)
        told = report, refused, stamp, self._observed, self._authority()
        self._beside.do('status', partial(self._send, *told))

    def _send(
        self, report: ControllerReport, refused: str, stamp: Stamp, observed: Stamp, authority: str
    ) -> None:
        message = messages.status_message(report, self.periods, self.turned_away, refused, stamp)
        if report.execution is not None:
            message.observation_stamp = seconds_to_stamp(observed)
        message.authority = authority
        self.status.publish(message)

    def _notable(self) -> tuple[Any, ...]:
        """Return what is published at once when it changes."""
        controller = self._controller()
        if controller is None:
            return ()
        chunk = controller.chunk
        return controller.state, controller.reason, chunk.sequence if chunk else 0

    def _publish_pass(self) -> None:
        """Publish the statistics of the tick that first used a chunk."""
        if self._fresh is None:
            return
        (stamp, transport_ms), self._fresh = self._fresh, None
        age_ms = (self._node.now() - stamp) * 1e3
        self._beside.do('pass', partial(self._send_pass, stamp, transport_ms, age_ms))

    def _send_pass(self, stamp: Stamp, transport_ms: float, age_ms: float) -> None:
        statistics = efficiency_message(
            msg.EfficiencyStats.STAGE_CONTROLLER,
            f'blending={self._node.settings.blending.method}',
            self.latency,
            self.periods.rate_hz(),
            stamp,
            transport_ms=transport_ms,
            age_ms=age_ms,
        )
        self.efficiency.publish(statistics)
