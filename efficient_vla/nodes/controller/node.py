# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Action chunks in, one smooth command a tick out; the only node that moves the robot.

This process must not import torch: its timer would wait for torch's threads.
"""

import gc
import time
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from efficient_vla import msg
from efficient_vla.bringup.interfaces import moving
from efficient_vla.bringup.robot_limits import limit_lines
from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.columns import GRIPPER
from efficient_vla.control.controller import Controller
from efficient_vla.control.kinematics.checks import Checked
from efficient_vla.control.kinematics.loading import load_model
from efficient_vla.control.motion_clock import MotionClock
from efficient_vla.control.settings import braking_times
from efficient_vla.control.state import ControllerReport, State
from efficient_vla.control.whereabouts import Whereabouts
from efficient_vla.nodes.base.conversions import (
    AbsentNamesError,
    seconds_to_stamp,
    stamp_to_seconds,
)
from efficient_vla.nodes.base.efficiency import efficiency_message
from efficient_vla.nodes.base.joint_states import JointStates
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.liveliness import LivelinessWatch
from efficient_vla.nodes.base.qos import latched_qos, report_qos
from efficient_vla.nodes.base.scheduling import refuse_cores, tune_loop
from efficient_vla.nodes.base.source import ENABLE_ANEW, DriverWatch, OneSource, Rivals
from efficient_vla.nodes.controller import messages, robot_state
from efficient_vla.nodes.controller.description import DescriptionTopic
from efficient_vla.nodes.controller.examiner import Examiner
from efficient_vla.nodes.controller.feedback import DriverFeedback
from efficient_vla.nodes.controller.inputs import FEEDERS, expect_chunks, expect_state, make_inlet
from efficient_vla.nodes.controller.latch import StopLatch
from efficient_vla.nodes.controller.operator import OperatorServices
from efficient_vla.nodes.controller.outputs import make_output
from efficient_vla.nodes.controller.outputs.drawing import DRAWN_S
from efficient_vla.nodes.controller.task_server import TaskServer
from efficient_vla.settings import InvalidSettingError, flatten, refuse_locked
from efficient_vla.statistics import LatencyWindow, PeriodMeter
from efficient_vla.types import ActionChunk, InvalidRecordError, Stamp

STATUS_PERIOD_S = 0.1
COLLECT_PERIOD_S = 10.0
"""The garbage collector runs this often, and only while the robot stands still."""
REST_SPEED = 1e-6
"""Below this speed on every axis the set-point stands still."""
SETTLING_S = 0.5
"""Beyond the braking times, for the way back to where the robot can stop."""


class ControllerNode(ManagedNode[ControllerNodeSettings]):
    """The control loop, its services, and the action ExecuteTask."""

    def __init__(self, **options: Any) -> None:
        self._controller: Controller | None = None
        self._watch: Whereabouts | None = None
        self._states = JointStates(())
        self._command: np.ndarray | None = None
        self._effort = 0.0
        self._speed = 0.0
        self._anchored = 0.0
        self._held = False
        self._observed = Stamp(0)
        self._turned_away = 0
        self._periods = PeriodMeter()
        self._latency = LatencyWindow()
        self._fresh: tuple[Stamp, float] | None = None
        """Capture time [s] and transport [ms] of a chunk that came since the last tick."""
        self._status_due = 0.0
        self._collect_due = 0.0
        self._reported: tuple[Any, ...] = ()
        self._timer: Any = None
        super().__init__('controller', ControllerNodeSettings, **options)
        self._collects = False
        clock = self.get_clock()
        self._motion_clock = MotionClock(self.now, lambda: clock.ros_time_is_active)
        self._latch = StopLatch(
            self.get_fully_qualified_name(), self.context.get_domain_id(), self.get_logger()
        )
        publisher = self.create_lifecycle_publisher
        self._output = make_output(self, self.settings, self._brake_path, self._stamp)
        self._status = publisher(msg.ControllerStatus, 'controller_status', latched_qos())
        self._efficiency = publisher(msg.EfficiencyStats, 'efficiency', report_qos())
        self._inlet = make_inlet(
            self, self._state_received, self._chunk_received, self._success_received
        )
        self._feedback = DriverFeedback(
            self, self._inlet, self._followed, self._motion_clock.read, self._output.covers
        )
        self._state_expected = expect_state(self)
        self._chunk_expected = expect_chunks(self, lambda: self._controller)
        self._operator = OperatorServices(
            self, lambda: self._controller, self._latch, self._brake_at_once
        )
        self._tasks = TaskServer(self, self._inlet, self._operator)
        self._examiner = Examiner[tuple[msg.ActionChunk, bytes]]()
        self._liveliness = LivelinessWatch(self, FEEDERS)
        self._source = OneSource(self, 'action_chunk', 'chunks', ENABLE_ANEW, pinned=True)
        ways = moving(flatten(self.settings))
        self._rivals = Rivals(self, *(((), ()) if self.settings.dry_run else ways))
        self._drivers = DriverWatch(self, 'robot_state')
        self._description = DescriptionTopic(self)
        self._inlet.start()

    @property
    def at_rest(self) -> bool:
        """Whether the set-point stands still."""
        core = self._controller
        return self._speed < REST_SPEED and (core is None or core.at_rest)

    @property
    def braking_s(self) -> float:
        """Time in which the robot stands, from any motion inside the limits [s]."""
        return SETTLING_S + 2 * max(braking_times(self.settings.limits))

    def seconds(self) -> float:
        """Return the time by which the robot moves [s], no stamp: simulated or that of no clock.

        Whoever sets the clock of the system changes nothing of it.
        """
        now = self._motion_clock.now()
        return super().seconds() if self.get_clock().ros_time_is_active else now

    def setup(self) -> None:
        """Make the control core; it refuses limits that do not fit the robot's axes."""
        if not self.settings.names:
            raise InvalidSettingError('names is empty; expected the columns of the command.')
        refuse_cores(self.settings.cpu_affinity)
        settings = self._description.taken(self.settings)
        description = self._description.text or settings.robot_description
        called = dict(word.split(':=') for word in settings.driver.joint_names)
        model, about = load_model(settings, settings.names, description, called)
        if about:
            self.get_logger().info(about)
        self._controller = Controller(settings, settings.names, self._output.covers, model)
        for line in limit_lines(settings.names, settings.limits):
            self.get_logger().info(line)
        if self._latch.reason:
            self._controller.stop(self.seconds(), self._latch.reason)
            self.get_logger().warning(f'still stopped: {self._latch.reason}. Call reset_stop.')
        axes = tuple(name for name in settings.names if name != GRIPPER)
        self._watch = Whereabouts(axes, self._controller.continuous)
        self._states = JointStates(axes, settings.renamed)
        self._command = None
        self._speed = 0.0

    def start(self) -> None:
        """Start the control loop, disabled."""
        self._periods.restart()
        self._latency = LatencyWindow()
        # What the robot said of itself while nobody listened.
        self._inlet.drain()
        if self.settings.dry_run:
            self.health.warn('dry_run', 'nothing is sent to the robot, what would be is drawn')
        # Simulated time may stand still and must not be overtaken; otherwise the steady clock
        # keeps the period when somebody sets the system clock.
        simulated = self.get_clock().ros_time_is_active
        clock = self.get_clock() if simulated else Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1 / self.settings.rate, self._tick, clock=clock)

    def stop(self) -> None:
        """Brake inside the limits; the last command on the wire holds."""
        now = self.seconds()
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        self._tasks.abort('the controller was deactivated', now)
        if self._controller is None or self._command is None:
            return
        self.disable(now)
        period = 1 / self.settings.rate
        deadline = now + self.braking_s
        while (not self.at_rest or self._output.pending) and now < deadline:
            # The clock may be simulated and wait for this very callback.
            now += period
            self._send(now)
            time.sleep(period)
        self._publish_status(now)

    def teardown(self) -> None:
        """Forget the robot."""
        self._examiner.forget()
        self._controller = self._watch = self._command = None
        self._effort = 0.0

    def accept(self, settings: ControllerNodeSettings) -> None:
        """Refuse limits that do not fit, and what an enabled controller must keep."""
        controller = self._controller
        if controller is None:
            return
        if controller.state not in (State.DISABLED, State.STOPPED) or not self.at_rest:
            refuse_locked(self.settings, settings)
        controller.check(settings)

    def changed(self, earlier: ControllerNodeSettings, settings: ControllerNodeSettings) -> None:
        """Apply limits and thresholds from the next tick on."""
        if self._controller is not None:
            self._controller.configure(settings)

    def flush(self, reason: str) -> None:
        """Drop chunks of the time before; the robot brakes and holds."""
        now = self.now()
        if self._watch is not None:
            self._watch.clock_jumped(now)
        if self._controller is not None and self._command is not None:
            self._controller.tick(now)
            self._controller.flush(now, reason)

    def look(self) -> None:
        """Look for others who move the robot, too."""
        rivals, controller = self._rivals.found(), self._controller
        self.health.warn('rivals', rivals)
        if rivals and controller and controller.enabled and self.settings.rivals == 'stop':
            self._stop(controller, rivals, self.seconds())
        super().look()

    def report(self) -> dict[str, Any]:
        """Return what /diagnostics shows of the control loop."""
        if self._controller is None:
            return {}
        report = self._controller.report(self.seconds())
        shown = messages.values(report, self._periods, self._turned_away)
        return {
            **shown,
            'authority': self._authority,
            'braking_s': max(braking_times(self.settings.limits)),
        }

    def tune_process(self) -> None:
        """Keep the collector and other processes away from the loop; for an own process only.

        To be called on the thread that spins.
        """
        self._collects = True
        tune_loop(self.settings.cpu_affinity, self.settings.priority, self.get_logger())
        self._examiner.tune()

    def enable(self, now: float) -> str | None:
        """Let chunks drive the robot; return why that is refused, or ``None``."""
        if self._controller is None or not self.active:
            return 'the controller is not active. Activate it first.'
        watch = self._watch
        assert watch is not None
        refused = (
            self._feedback.fault
            or self._feedback.hold(now)
            or (watch.reported is not None and watch.silent(now, self.settings.state_timeout))
            or (self._rivals.found() if self.settings.rivals == 'stop' else None)
        )
        if self._command is None and not refused:
            refused = self._anchor_where_it_is(now)
        if refused:
            return refused
        was_enabled = self._controller.enabled
        if not was_enabled:
            self.health.clear('chunk')
            self._source.forget()
        # Who enables says that nobody else is needed.
        self._liveliness.expect_the_living()
        if self._controller.state == State.DISABLED and self.at_rest:
            kept = self._held and robot_state.keeps_setpoint(self._controller, watch, self.settings)
            refused = None if kept else self._anchor_where_it_is(now)
            if refused:
                return refused
        elif self._controller.state == State.DISABLED and watch.begins and not watch.exact:
            return 'the set-point still brakes from before this episode. Try again.'
        reason = self._controller.enable(now)
        self._feedback.begin(now)
        self._output.forgive()
        if self._controller.state == State.PAUSED:
            self._operator.ends_disabled = False
        if reason is None and not was_enabled:
            self._periods.restart()
            self._latency = LatencyWindow()
        self._publish_status(now)
        return reason

    def disable(self, now: float) -> None:
        """Brake and hold; a stop stays, and a pause until the operator ends it."""
        controller = self._controller
        if controller is None or controller.state == State.STOPPED:
            return
        if controller.state == State.PAUSED:
            self._operator.ends_disabled = True
            controller.flush(now, 'disabled while paused')
        else:
            controller.disable(now)
        self._publish_status(now)

    def flush_chunks(self, now: float, reason: str) -> None:
        """Drop the chunks of an earlier task."""
        if self._controller is not None:
            self._controller.flush(now, reason)

    def task_report(self, now: float) -> ControllerReport:
        """Return the state of the controller."""
        assert self._controller is not None
        return self._controller.report(now)

    def destroy_node(self) -> None:
        """Take the action back with the node."""
        self._tasks.close()
        self._examiner.close()
        self._liveliness.close()
        self._inlet.close()
        super().destroy_node()

    def _tick(self) -> None:
        begin = time.monotonic()
        self._inlet.drain()
        now = self.seconds()
        self._tasks.tick(now)
        controller = self._controller
        if controller is not None:
            self._take_examined(now)
        if controller is not None and self._command is not None:
            self._periods.tick(begin)
            self._hold_while_incomplete(controller, now)
            # The robot holds the last set-point by itself; where it sags, it is not followed down.
            # One whose driver is not there is told nothing before it is known where it is.
            halted = (not controller.enabled or self._feedback.gone) and self.at_rest
            if not halted or self._output.pending:
                self._send(now)
            else:
                controller.tick(now)
            self._latency.add((time.monotonic() - begin) * 1e3)
            self._publish_pass()
        if self._reported != self._notable() or begin >= self._status_due:
            self._publish_status(now)
        if self._collects and begin >= self._collect_due and self.at_rest:
            self._collect_due = begin + COLLECT_PERIOD_S
            gc.collect()

    def _hold_while_incomplete(self, controller: Controller, now: float) -> None:
        """Brake at once where a node or the robot fell silent, whatever the last chunk says."""
        assert self._watch is not None
        missing = self._liveliness.missing() if controller.enabled else []
        timeout = self.settings.state_timeout
        reason = self._watch.silent(now, timeout) if controller.enabled else None
        reason = self._driver(controller, now) or reason
        if missing:
            reason = f'{", ".join(missing)} died or fell silent; expected every node to live'
        self.health.warn('liveliness', reason)
        if reason and controller.state == State.TRACKING:
            controller.flush(now, reason)

    def _driver(self, controller: Controller, now: float) -> str | None:
        """Heed what the driver says; return why nothing may move for now, or ``None``."""
        feedback = self._feedback
        controller.limit_speed(feedback.share)
        fault = feedback.fault or self._output.complaint()
        if fault and controller.state not in (State.DISABLED, State.STOPPED):
            self._stop(controller, fault, now)
        hold = feedback.hold(now)
        if feedback.gone and not hold:
            hold = self._anchor_where_it_is(now)
            if not hold:
                self.get_logger().info('the driver is there; starting from where the robot is')
                feedback.begin(now)
        return hold if controller.enabled else None

    def _followed(self, begin: float, end: float) -> np.ndarray | None:
        """Return the set-points that the driver is to follow [K, M], ``None`` for none."""
        controller, watch = self._controller, self._watch
        if controller is None or watch is None or self._command is None:
            return None
        if not controller.enabled or watch.doubted(end):
            return None
        return controller.setpoints(begin, end)

    def _send(self, now: float) -> None:
        assert self._controller is not None
        command = self._controller.tick(now)
        self._output.send(command)
        self._held = not self.settings.dry_run
        self._command = command.position
        if GRIPPER in command.names:
            self._effort = float(command.position[command.names.index(GRIPPER)])
        self._speed = float(np.abs(command.velocity).max())

    def _chunk_received(self, message: msg.ActionChunk, publisher: bytes = b'') -> None:
        controller, watch = self._controller, self._watch
        if not self.active or controller is None or watch is None:
            return
        now = self.seconds()
        self._chunk_expected.heard(now)
        if not controller.enabled or self._liveliness.missing():
            return
        if self._feedback.gone or self._feedback.hold(now):
            return
        if watch.silent(now, self.settings.state_timeout):
            return
        try:
            refused = (
                self._source.refuse(publisher, now, self.settings.watchdog.chunk_timeout)
                or messages.refuse_frame(message, self.settings.frame_id)
                or self._tasks.refuse(message.instruction)
            )
            chunk = None if refused else messages.read_chunk(message, self._motion_clock, now)
        except InvalidRecordError as error:
            refused = str(error)
        if refused or chunk is None:
            self._turned_away += 1
            self._chunk_judged(refused, now)
            return
        self._restart_dry_run(chunk.stamp, now)
        examine = controller.examine(chunk, now)
        # A robot in lockstep waits for the answer before its clock goes on.
        if examine is None or self.get_clock().ros_time_is_active:
            self._take(chunk, message, publisher, now)
        else:
            self._examiner.submit((message, publisher), examine)

    def _take_examined(self, now: float) -> None:
        """Let chunks drive the robot that the model of the arm was asked about."""
        for over in self._examiner.over():
            message, publisher = over.cause
            refused = self._tasks.refuse(message.instruction) or over.error
            if refused or over.checked is None or self._liveliness.missing():
                self._turned_away += 1
                self._chunk_judged(refused, now)
            else:
                self._take(over.checked, message, publisher, now)

    def _take(
        self, chunk: ActionChunk | Checked, message: msg.ActionChunk, publisher: bytes, now: float
    ) -> None:
        assert self._controller is not None
        refused = self._controller.accept(chunk, now)
        if not refused:
            self._source.drives(publisher, now)
            self._observed = stamp_to_seconds(message.header.stamp)
            self._fresh = self._observed, messages.transport_ms(message, self.now())
        self._chunk_judged(refused, now)

    def _chunk_judged(self, refused: str | None, now: float) -> None:
        assert self._controller is not None
        messages.report_chunk(self.health, self._controller.state, refused)
        finding = self._controller.finding
        self.health.warn('kinematics', str(finding) if finding and not refused else None)
        # Not left to the timer: a robot in lockstep waits for this before its clock goes on.
        self._publish_status(now)

    def _state_received(self, message: JointState, publisher: bytes = b'') -> None:
        controller, watch = self._controller, self._watch
        if controller is None or watch is None:
            return
        now = self.seconds()
        sent = stamp_to_seconds(message.header.stamp)
        try:
            stamp = self._motion_clock.read(sent, now) if sent else now
            interval = stamp - watch.time if controller.enabled else 0.0
            states, age = self._states, self.settings.joint_age
            whole = robot_state.read_state(watch, states, message, stamp, now, controller, age)
        except InvalidRecordError as error:
            watch.refuse(str(error), now)
            self._state_expected.unusable(str(error))
            if not isinstance(error, AbsentNamesError):
                self.health.error('robot_state', str(error))
            return
        self.health.clear('robot_state')
        if not whole:
            return
        self.health.warn('robot_state_rate', robot_state.slow(interval, self.settings))
        self._drivers.note(publisher, now)
        self._state_expected.heard(sent or now)
        if self._command is None:
            self._anchor_where_it_is(now)
            return
        robot_state.observe(controller, watch, self.settings, now)
        if robot_state.moved_by_others(controller, watch, self.settings, now):
            # What it holds, it goes on holding, but for an episode that begins.
            gripper = 0.0 if watch.noticed(now) else self._effort
            watch.forget_notice()
            self.get_logger().info(
                'the robot was moved by others; starting from where it is',
                throttle_duration_sec=1.0,
            )
            self._anchor(gripper, now)
        elif robot_state.slipped(controller, watch, self.settings, now):
            self._anchor(self._effort, now)
        else:
            self._stop_if_blocked(controller, watch, now)

    def _stop_if_blocked(self, controller: Controller, watch: Whereabouts, now: float) -> None:
        """Stop a robot that was too far from its set-point when it measured."""
        blocked, warning = robot_state.judge(controller, watch, self.settings, now)
        if blocked:
            self._stop(controller, blocked, now)
        elif warning:
            self.health.warn('following_error', warning)
        else:
            self.health.clear('following_error')

    def _stop(self, controller: Controller, reason: str, now: float) -> None:
        self.get_logger().error(reason)
        controller.stop(now, reason)
        self._brake_at_once(now)

    def _anchor_where_it_is(self, now: float) -> str | None:
        """Start from the robot; return why it cannot be believed, or ``None``."""
        assert self._watch is not None
        doubt = self._watch.doubted(now)
        if doubt is None:
            self._anchor(self._effort, now)
        return doubt

    def _anchor(self, gripper: float, now: float, stamp: float | None = None) -> None:
        """Start from the robot's own set-point, that of ``stamp`` where it is not of ``now``."""
        assert self._controller
        assert self._watch
        self._effort = gripper
        near = None if self._command is None else self._controller.motion[0]
        place = dict(zip(self._watch.names, self._watch.place(near).tolist(), strict=True))
        self._command = np.array([place.get(name, gripper) for name in self.settings.names])
        self._speed = 0.0
        self._anchored = now
        self._held = False
        self._watch.anchored(now)
        self._controller.observe(None)
        self._controller.reset(self._command, now if stamp is None else stamp)
        self._output.restart()
        self._publish_status(now)

    def _restart_dry_run(self, stamp: float, now: float) -> None:
        """Start again from the robot with the chunk observed at ``stamp``, where it is time."""
        if not self.settings.dry_run or 0 <= now - self._anchored < DRAWN_S:
            return
        if self._watch is not None and self._command is not None:
            self._anchor(self._effort, now, min(stamp, now))

    def _brake_path(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        assert self._controller is not None
        return self._controller.brake_path(points)

    def _stamp(self, moment: float) -> Time:
        """Return the stamp of a time of motion [s]."""
        return seconds_to_stamp(self._motion_clock.stamp(moment))

    def _success_received(self, message: Bool) -> None:
        now = self.seconds()
        if message.data:
            self._tasks.success(now)
        elif self._watch is not None:
            self._watch.notice(now)

    def _brake_at_once(self, now: float) -> None:
        """Send a set-point now, the first decelerating one; the next tick may be a period away."""
        if self.active and self._command is not None and not self.at_rest:
            self._send(now)
        self._publish_status(now)

    def _publish_status(self, now: float) -> None:
        controller = self._controller
        if controller is None:
            return
        report = controller.report(now)
        if controller.state == State.STOPPED:
            self._latch.set(controller.reason)
        self._reported = self._notable()
        self._status_due = time.monotonic() + STATUS_PERIOD_S
        refused = self.health.message('chunk')
        shown = self._motion_clock.stamp(now)
        message = messages.status_message(report, self._periods, self._turned_away, refused, shown)
        if report.execution is not None:
            message.observation_stamp = seconds_to_stamp(self._observed)
        message.authority = self._authority
        self._status.publish(message)

    @property
    def _authority(self) -> str:
        """The node whose chunks may move the robot now, or ''."""
        return self._source.shown if self._controller and self._controller.enabled else ''

    def _notable(self) -> tuple[Any, ...]:
        """Return what is published at once when it changes."""
        controller = self._controller
        if controller is None:
            return ()
        chunk = controller.chunk
        return controller.state, controller.reason, chunk.sequence if chunk else 0

    def _publish_pass(self) -> None:
        """Publish the statistics of the tick that first used a chunk."""
        if self._fresh is None:
            return
        (stamp, transport_ms), self._fresh = self._fresh, None
        statistics = efficiency_message(
            msg.EfficiencyStats.STAGE_CONTROLLER,
            f'blending={self.settings.blending.method}',
            self._latency,
            self._periods.rate_hz(),
            stamp,
            transport_ms=transport_ms,
            age_ms=(self.now() - stamp) * 1e3,
        )
        self._efficiency.publish(statistics)
