# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Action chunks in, one smooth command a tick out; the only node that moves the robot.

This process must not import torch: its timer would wait for torch's threads.
"""

import gc
import math
import sys
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
from efficient_vla.control.kinematics.checks import Model
from efficient_vla.control.kinematics.loading import DescribedArm, described_arm
from efficient_vla.control.laid import Laid
from efficient_vla.control.motion_clock import MotionClock
from efficient_vla.control.settings import braking_times
from efficient_vla.control.state import ControllerReport, State
from efficient_vla.control.whereabouts import Whereabouts
from efficient_vla.nodes.base.conversions import (
    AbsentNamesError,
    seconds_to_stamp,
    stamp_to_seconds,
)
from efficient_vla.nodes.base.joint_states import JointStates
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.liveliness import LivelinessWatch
from efficient_vla.nodes.base.scheduling import (
    SWITCH_S,
    UNDISTURBED_S,
    refuse_cores,
    tune_loop,
)
from efficient_vla.nodes.base.source import ENABLE_ANEW, DriverWatch, OneSource, Rivals
from efficient_vla.nodes.controller import messages, robot_state
from efficient_vla.nodes.controller.beside import Beside
from efficient_vla.nodes.controller.description import DescriptionTopic
from efficient_vla.nodes.controller.examiner import Examiner
from efficient_vla.nodes.controller.feedback import DriverFeedback
from efficient_vla.nodes.controller.inputs import FEEDERS, expect_chunks, expect_state, make_inlet
from efficient_vla.nodes.controller.latch import StopLatch
from efficient_vla.nodes.controller.operator import OperatorServices
from efficient_vla.nodes.controller.outputs import make_output
from efficient_vla.nodes.controller.outputs.drawing import DRAWN_S
from efficient_vla.nodes.controller.task_server import TaskServer
from efficient_vla.nodes.controller.telling import Telling
from efficient_vla.settings import InvalidSettingError, flatten, refuse_locked
from efficient_vla.types import ActionChunk, InvalidRecordError, Stamp

COLLECT_PERIOD_S = 10.0
"""The garbage collector runs this often, and only while the robot stands still."""
REST_SPEED = 1e-6
"""Below this speed on every axis the set-point stands still."""
LISTENS = 0.1
"""Share of a period after which chunks that still wait are left to the next tick."""
PRESSES_S = 2.0
"""So long after it was stopped as blocked, a robot may press on and is told that it is where it
is; later, who moves it is left alone."""
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
        self._held = self._dropped = False
        self._blocked = -math.inf
        self._collect_due = 0.0
        self._timer: Any = None
        super().__init__('controller', ControllerNodeSettings, **options)
        self._collects = False
        clock = self.get_clock()
        self._motion_clock = MotionClock(self._stamping, lambda: clock.ros_time_is_active)
        self._latch = StopLatch(
            self.get_fully_qualified_name(), self.context.get_domain_id(), self.get_logger()
        )
        self._beside = Beside(self.failed, self.health.clear, lambda: clock.ros_time_is_active)
        self._output = make_output(self, self.settings, self._brake_path, self._stamp)
        self._telling = Telling(
            self,
            lambda: self._controller,
            self._latch,
            self._motion_clock,
            self._beside,
            lambda: self._authority,
        )
        self._status, self._efficiency = self._telling.status, self._telling.efficiency
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
        near = [name for name in FEEDERS if name not in self.settings.remote_nodes]
        self._liveliness = LivelinessWatch(self, near)
        self._source = OneSource(self, 'action_chunk', 'chunks', ENABLE_ANEW, pinned=True)
        ways = moving(flatten(self.settings))
        self._rivals = Rivals(self, *(((), ()) if self.settings.dry_run else ways))
        self._drivers = DriverWatch(self, 'robot_state')
        self._description = DescriptionTopic(self)
        self._inlet.start()

    def _stamping(self) -> Stamp:
        """Return the time of the clock that stamps [s], that of the system by a shorter way."""
        simulated = self.get_clock().ros_time_is_active
        return self.now() if simulated else Stamp(time.time_ns())

    @property
    def at_rest(self) -> bool:
        """Whether the set-point stands still."""
        core = self._controller
        return self._speed < REST_SPEED and (core is None or core.at_rest)

    @property
    def _repeats(self) -> bool:
        """Whether a set-point that rests is sent; not to a driver that gave it up."""
        return self._output.pending and not self._dropped

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
        arm = described_arm(settings, settings.names, description, called)
        model = self._make_model(arm) if arm else None
        self._controller = Controller(settings, settings.names, self._output.covers, model)
        for line in limit_lines(settings.names, settings.limits):
            self.get_logger().info(line)
        if self._latch.reason:
            self._controller.stop(self.seconds(), self._latch.reason)
            reason = self._latch.reason.rstrip('.')
            self.get_logger().warning(f'stopped, as the controller before was: {reason}.')
        core = self._controller
        self._watch = Whereabouts(core.axes, core.continuous, core.attitude.axes)
        if settings.output != 'command':
            self._watch.excused = np.array([n == settings.gripper_axis for n in core.axes])
        moved = tuple(name for name in settings.names if name != GRIPPER)
        self._states = JointStates(moved, settings.renamed)
        self._command = None
        self._speed = 0.0

    def start(self) -> None:
        """Start the control loop, disabled."""
        self._telling.restart()
        # What the robot said of itself while nobody listened.
        self._inlet.drain()
        self._inlet.drain_rest()
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
        while (not self.at_rest or self._repeats) and now < deadline:
            # The clock may be simulated and wait for this very callback.
            now += period
            self._send(now)
            time.sleep(period)
        self._telling.publish(now)
        if self._beside.finish():
            self.get_logger().warning('the last status may not have been published')

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
        self._feedback.clock_jumped(now)
        if self._controller is not None and self._command is not None:
            self._controller.tick(now)
            self._controller.flush(now, reason)

    def look(self) -> None:
        """Look for others who move the robot, too, and whether its driver is still there."""
        self._feedback.look()
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
        telling = self._telling
        shown = messages.values(report, telling.periods, telling.ticks, telling.turned_away)
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

    def enable(self, now: float) -> str | None:
        """Let chunks drive the robot; return why that is refused, or ``None``."""
        if self._controller is None or not self.active:
            return 'the controller is not active. Activate it first.'
        watch = self._watch
        assert watch is not None
        refused = (
            self._inlet.silent()
            or self._feedback.lasting
            or self._output.absent()
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
            held = self._held and not self._dropped
            kept = held and robot_state.keeps_setpoint(self._controller, watch, self.settings)
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
            self._telling.restart()
        self._telling.publish(now)
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
        self._telling.publish(now)

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
        self._beside.close()
        self._liveliness.close()
        self._inlet.close()
        super().destroy_node()

    def _make_model(self, arm: DescribedArm) -> Model:
        model = arm.model()
        self.get_logger().info(model.about())
        self.health.warn('collision_model', model.unchecked())
        # A robot in lockstep waits for the answer before its clock goes on.
        if self.get_clock().ros_time_is_active:
            return model
        return self._examiner.elsewhere(arm, model, self.settings.nice)

    def _tick(self) -> None:
        if not self._collects:
            self._pass()
            return
        sys.setswitchinterval(UNDISTURBED_S)
        try:
            self._pass()
        finally:
            sys.setswitchinterval(SWITCH_S)

    def _pass(self) -> None:
        begin = time.monotonic()
        until = begin + LISTENS / self.settings.rate
        # What the robot and its driver say comes first, all of it: a fault ends what a chunk wants.
        self._inlet.drain()
        if not self._take_examined() or time.monotonic() < until:
            self._inlet.drain_rest(until)
        now = self.seconds()
        self._tasks.tick(now)
        controller = self._controller
        if controller is not None and self._command is not None:
            self._telling.periods.tick(begin)
            self._hold_while_incomplete(controller, now)
            # The robot holds the last set-point by itself; where it sags, it is not followed down.
            # One whose driver is not there is told nothing before it is known where it is.
            rests = self.at_rest
            wanted = controller.enabled or not rests or self._repeats
            if wanted and not (rests and self._feedback.gone):
                self._send(now)
            else:
                controller.tick(now)
        self._telling.tell(begin, now)
        late = self._beside.late()
        if late:
            self.health.error('beside', late)
        if controller is not None and self._command is not None:
            self._telling.took(begin)
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
        if controller.enabled:
            reason = self._inlet.silent() or reason
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
        # What its driver gave up, the robot does not hold.
        self._dropped |= bool(fault)
        if fault and controller.state not in (State.DISABLED, State.STOPPED):
            self._stop(controller, fault, now)
        absent = self._output.absent()
        if absent:
            feedback.lose(now)
        hold = absent or feedback.hold(now)
        if feedback.gone and not hold:
            assert self._watch is not None
            hold = 'the driver is back, and the robot has not said since where it is'
            if self._watch.time >= feedback.lost:
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

    def _chunk_received(self, received: messages.Received, publisher: bytes = b'') -> None:
        controller = self._controller
        if not self.active or controller is None:
            return
        now = self.seconds()
        self._chunk_expected.heard(now)
        if not self._may_take(now):
            return
        message = received.message
        refused = (
            self._source.refuse(publisher, now, self.settings.watchdog.chunk_timeout)
            or messages.refuse_frame(message, self.settings.frame_id)
            or self._tasks.refuse(message.instruction)
            or received.error
        )
        if refused or received.chunk is None:
            self._telling.turned_away += 1
            self._chunk_judged(refused, now)
            return
        chunk = messages.timed(received.chunk, self._motion_clock, now)
        self._restart_dry_run(chunk.stamp, now)
        examine = controller.examine(chunk, now)
        # A robot in lockstep waits for the answer before its clock goes on.
        if examine is None or self.get_clock().ros_time_is_active:
            self._take(chunk, message, publisher, now)
        else:
            self._examiner.submit((message, publisher), examine)

    def _may_take(self, now: float) -> bool:
        """Return whether a chunk may drive the robot now, whoever sent it."""
        controller, watch, feedback = self._controller, self._watch, self._feedback
        if controller is None or watch is None or not controller.enabled:
            return False
        if self._inlet.silent() or self._liveliness.missing():
            return False
        if feedback.gone or feedback.fault or feedback.hold(now):
            return False
        return not watch.silent(now, self.settings.state_timeout)

    def _take_examined(self) -> bool:
        """Let chunks drive the robot that the model of the arm was asked about; return if any."""
        self.health.warn('check', self._examiner.late())
        over = None
        for over in self._examiner.over():
            now = self.seconds()
            # Much may have changed since it was asked.
            if not self._may_take(now):
                continue
            message, publisher = over.cause
            refused = (
                self._source.refuse(publisher, now, self.settings.watchdog.chunk_timeout)
                or self._tasks.refuse(message.instruction)
                or over.error
            )
            if refused or over.laid is None:
                self._telling.turned_away += 1
                self._chunk_judged(refused, now)
            else:
                self._take(over.laid, message, publisher, now)
        return over is not None

    def _take(
        self, chunk: ActionChunk | Laid, message: msg.ActionChunk, publisher: bytes, now: float
    ) -> None:
        assert self._controller is not None
        refused = self._controller.accept(chunk, now)
        if not refused:
            self._source.drives(publisher, now)
            observed = stamp_to_seconds(message.header.stamp)
            self._telling.drives(observed, messages.transport_ms(message, self.now()))
        self._chunk_judged(refused, now)

    def _chunk_judged(self, refused: str | None, now: float) -> None:
        assert self._controller is not None
        messages.report_chunk(self.health, self._controller.state, refused)
        finding = self._controller.finding
        self.health.warn('kinematics', str(finding) if finding and not refused else None)
        self._telling.soon(now)

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
            if 0 <= now - self._blocked <= PRESSES_S:
                self._output.repeat(now)
        elif robot_state.slipped(controller, watch, self.settings, now):
            self._anchor(self._effort, now)
        else:
            self._stop_if_blocked(controller, watch, now)

    def _stop_if_blocked(self, controller: Controller, watch: Whereabouts, now: float) -> None:
        """Stop a robot that was too far from its set-point when it measured.

        One whose driver was away is started from where it is instead.
        """
        if self._feedback.gone:
            return
        blocked, warning = robot_state.judge(controller, watch, self.settings, now)
        if blocked:
            self._blocked = now
            self._stop(controller, blocked, now)
            self._output.repeat(now)
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
        assert self._watch.reported is not None
        held = None if self._command is None else self._controller.motion[0]
        near = self._feedback.turns(held, self._watch.reported)
        self._command = self._controller.columns(self._watch.place(near), gripper)
        self._speed = 0.0
        self._anchored = now
        self._held = self._dropped = False
        self._watch.anchored(now)
        self._controller.observe(None)
        self._controller.reset(self._command, now if stamp is None else stamp)
        self._output.restart()
        self._telling.publish(now)

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
        self._telling.publish(now)

    @property
    def _authority(self) -> str:
        """The node whose chunks may move the robot now, or ''."""
        return self._source.shown if self._controller and self._controller.enabled else ''
