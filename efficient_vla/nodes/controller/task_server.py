# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The action ExecuteTask: an instruction goes out, and one result comes back, exactly once."""

import math
from typing import TYPE_CHECKING

from rclpy.action import CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup

from efficient_vla import msg
from efficient_vla.action import ExecuteTask
from efficient_vla.control.state import State
from efficient_vla.instructions import checked_instruction
from efficient_vla.nodes.base.actions import DeferredActionServer
from efficient_vla.nodes.base.bounded import Inlet
from efficient_vla.nodes.base.complaints import Complaints
from efficient_vla.nodes.base.conversions import seconds_to_stamp
from efficient_vla.nodes.base.qos import latched_qos
from efficient_vla.nodes.controller.operator import OperatorServices
from efficient_vla.types import InvalidRecordError

if TYPE_CHECKING:
    from efficient_vla.nodes.controller.node import ControllerNode

FEEDBACK_PERIOD_S = 0.2
Result = ExecuteTask.Result


class TaskServer:
    """One goal at a time; a newer goal replaces the one that runs, without a jump of the robot."""

    def __init__(self, node: 'ControllerNode', inlet: Inlet, operator: OperatorServices) -> None:
        self._node = node
        self._operator = operator
        self._goal: ServerGoalHandle | None = None
        self._began = 0.0
        self._ending: tuple[int, str, float] | None = None
        self._feedback_due = 0.0
        self._sequence = 0
        self._complaints = Complaints(node, inlet)
        self._instruction = node.create_publisher(msg.Instruction, 'instruction', latched_qos())
        self._server = DeferredActionServer(
            node,
            ExecuteTask,
            'execute_task',
            execute_callback=lambda _: Result(),
            callback_group=ReentrantCallbackGroup(),
            handle_accepted_callback=self._accepted,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def success(self, now: float) -> None:
        """Take note that the robot reported success just now."""
        if self._goal is not None:
            self._end(Result.REASON_SUCCEEDED, 'the robot reported success', now)

    def tick(self, now: float) -> None:
        """Watch the goal; to be called by the control loop."""
        goal = self._goal
        if goal is None:
            return
        # Where the clock jumped back, the time of the task begins anew.
        self._began = min(self._began, now)
        if self._ending is None:
            self._watch(goal, now)
        if self._ending is not None:
            reason, message, since = self._ending
            if self._node.at_rest or not 0 <= now - since < self._node.braking_s:
                self._finish(goal, reason, message, since)
        elif not 0 <= self._feedback_due - now <= FEEDBACK_PERIOD_S:
            self._feedback_due = now + FEEDBACK_PERIOD_S
            self._feed_back(goal, now)

    def refuse(self, instruction: str) -> str | None:
        """Return why a chunk that was made for ``instruction`` must not drive the robot, or None.

        Chunks of the task before may still be on their way when the next one begins.
        """
        if self._goal is None or not instruction:
            return None
        wanted = checked_instruction(self._goal.request.instruction)
        if instruction == wanted:
            return None
        return f'chunk was made for the task {instruction!r}; the task is {wanted!r} now.'

    def abort(self, message: str, now: float) -> None:
        """End the goal at once as a fault; nobody will tick any more."""
        if self._goal is not None:
            self._publish_instruction('')
            self._finish(self._goal, Result.REASON_FAULT, message, now)

    def close(self) -> None:
        """Take the action back."""
        self._server.destroy()

    def _accepted(self, goal: ServerGoalHandle) -> None:
        goal.execute()
        now = self._node.seconds()
        refused = self._refuse(goal, now)
        if self._goal is not None and refused and refused[0] != Result.REASON_STOPPED:
            # No task at all: the one that runs goes on.
            self._finish(goal, *refused, now)
            return
        if self._goal is not None:
            replaced = (Result.REASON_CANCELED, 'replaced by a newer goal', now)
            self._finish(self._goal, *(self._ending or replaced))
            self._node.flush_chunks(now, 'task was replaced by a newer one')
        self._goal, self._began, self._ending = goal, now, None
        self._feedback_due = now
        refused = refused or self._enable(now)
        if refused:
            reason = refused[0]
            message = '; '.join([refused[1], *self._complaints.now()])
            self._node.health.warn('task', refused[1])
            self._publish_instruction('')
            self._node.disable(now)
            self._finish(goal, reason, message, now)
            return
        self._node.health.clear('task')
        self._publish_instruction(checked_instruction(goal.request.instruction))

    def _refuse(self, goal: ServerGoalHandle, now: float) -> tuple[int, str] | None:
        try:
            checked_instruction(goal.request.instruction)
        except InvalidRecordError as error:
            return Result.REASON_REJECTED_INSTRUCTION, str(error)
        limit = goal.request.max_duration_s
        if not 0 <= limit < math.inf:
            return Result.REASON_FAULT, f'max_duration_s is {limit}; expected 0 or more seconds.'
        if not self._node.active:
            return Result.REASON_FAULT, 'the controller is not active. Activate it first.'
        report = self._node.task_report(now)
        state = report.state
        if state == State.STOPPED:
            return (
                Result.REASON_STOPPED,
                f'the controller is stopped: {report.reason.rstrip(".")}. Call its service '
                'reset_stop, then enable it by set_enabled.',
            )
        operator = self._operator
        armed = operator.armed and not operator.ends_disabled and state != State.DISABLED
        if not armed and self._node.settings.arming == 'manual':
            return (
                Result.REASON_STOPPED,
                'no person enabled the controller for this task, and its parameter arming is '
                'manual. End a pause, call its service set_enabled with true, then send the task '
                'again.',
            )
        return None

    def _enable(self, now: float) -> tuple[int, str] | None:
        paused = self._node.task_report(now).state == State.PAUSED
        self._operator.armed = False
        refused = self._node.enable(now)
        # Of a pause the robot begins when the operator ends it.
        return (Result.REASON_FAULT, refused) if refused and not paused else None

    def _watch(self, goal: ServerGoalHandle, now: float) -> None:
        report = self._node.task_report(now)
        # Also where the client, who alone could cancel, is gone.
        limit = goal.request.max_duration_s or self._node.settings.task_timeout
        if goal.is_cancel_requested:
            self._end(Result.REASON_CANCELED, 'canceled by the client', now)
        elif report.state == State.STOPPED:
            self._end(Result.REASON_STOPPED, report.reason or 'stop requested', now)
        elif report.state == State.DISABLED:
            self._end(Result.REASON_STOPPED, 'the controller was disabled', now)
        elif limit > 0 and now - self._began >= limit:
            self._end(Result.REASON_TIMED_OUT, f'not done after {limit:g} s', now)

    def _end(self, reason: int, message: str, now: float) -> None:
        """Brake; the result follows once the robot stands still."""
        if self._ending is not None:
            return
        if reason == Result.REASON_TIMED_OUT:
            # Before the task ends for all, after which nobody misses anything.
            message = '; '.join([message, *self._complaints.now()])
        self._ending = (reason, message, now)
        self._publish_instruction('')
        if reason != Result.REASON_STOPPED:
            self._node.disable(now)

    def _finish(self, goal: ServerGoalHandle, reason: int, message: str, now: float) -> None:
        duration = max(now - self._began, 0.0) if self._goal is goal else 0.0
        if self._goal is goal:
            self._goal = self._ending = None
        if reason == Result.REASON_SUCCEEDED:
            goal.succeed()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        result = Result(reason=reason, message=message, duration_s=duration)
        self._server.finish(goal, result)
        text = f'task ended after {duration:.2f} s: {message}'
        self._node.get_logger().info(text, throttle_duration_sec=1.0)

    def _feed_back(self, goal: ServerGoalHandle, now: float) -> None:
        report = self._node.task_report(now)
        goal.publish_feedback(
            ExecuteTask.Feedback(
                state=int(report.state),
                chunk_sequence=report.chunk_sequence,
                plan_age_s=report.plan_age if math.isfinite(report.plan_age) else math.nan,
                elapsed_s=max(now - self._began, 0.0),
                underruns=report.underruns,
            )
        )

    def _publish_instruction(self, text: str) -> None:
        self._sequence += 1
        message = msg.Instruction(text=text, sequence=self._sequence)
        message.header.stamp = seconds_to_stamp(self._node.now())
        self._instruction.publish(message)
