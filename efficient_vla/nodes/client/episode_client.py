# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs episodes in a graph that is up: evaluation and demonstration use it from their process."""

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy.action import ActionClient
from std_srvs.srv import SetBool, Trigger

from efficient_vla.action import ExecuteTask
from efficient_vla.errors import EpisodeError
from efficient_vla.nodes.client.graph_listener import GraphListener, Recording
from efficient_vla.nodes.client.state_watch import UNKNOWN, StateWatch
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, node_name
from efficient_vla.srv import ResetCaches, ResetEpisode

CALL_TIMEOUT_S = 60.0
"""A service that is up answers at once; loading a scene takes the robot a few seconds."""
SETTLING_S = 3.0
"""How long a task is asked for again that ends as it begins."""
ANSWER_S = 5.0
"""A controller that lives accepts or refuses a goal within this time."""
RESTART_POLL_S = 1.0
ATTEMPTS = 3
POLL_S = 0.1
"""How often a wait looks whether the graph still lives."""
LAST_FRAME_WAIT_S = 0.5
"""The camera shows success some milliseconds after the task has ended."""


class TaskOutcome(NamedTuple):
    """How a task ended."""

    success: bool
    message: str
    duration_s: float


class EpisodeClient:
    """Blocking calls into the graph.

    ``check`` is called while a call waits; it raises when the graph has died, and draws progress.
    """

    def __init__(
        self,
        check: Callable[[], None],
        record_images: bool,
        namespace: str = '',
        robot: str = DEFAULT_ROBOT,
    ) -> None:
        """Talk to the graph in ``namespace`` that moves the simulated ``robot``."""
        self._check = check
        self._record_images = record_images
        self._namespace = namespace
        self._pause = threading.Event()
        self.listener = GraphListener('episode_client', namespace, record_images, 'operator')
        node = self.listener.node
        self._enable = node.create_client(SetBool, 'controller/set_enabled')
        self._reset_stop = node.create_client(Trigger, 'controller/reset_stop')
        self._reset_episode = node.create_client(ResetEpisode, f'{node_name(robot)}/reset_episode')
        self._reset_caches = [
            node.create_client(ResetCaches, f'{stage}/reset_caches')
            for stage in ('perception', 'reasoner')
        ]
        self._task = ActionClient(node, ExecuteTask, 'execute_task')
        self.listener.start()

    def wait_ready(
        self, nodes: tuple[str, ...], timeout: float, on_states: Callable[[dict[str, str]], None]
    ) -> None:
        """Wait until all ``nodes`` are active and answer; ``on_states`` hears how far they are."""
        watch = StateWatch(nodes, self._namespace)
        try:
            self._wait_active(watch, timeout, on_states)
        finally:
            watch.close()
        self._await_controller(released=True)
        self._call(self._enable, SetBool.Request(data=False))

    def _wait_active(
        self, watch: StateWatch, timeout: float, on_states: Callable[[dict[str, str]], None]
    ) -> None:
        clients = [self._enable, self._reset_episode, *self._reset_caches]
        end = time.monotonic() + timeout
        while True:
            self._check()
            states = watch.states()
            on_states(states)
            asleep = [
                f'{name} {"does not answer" if label == UNKNOWN else f"is {label}"}'
                for name, label in states.items()
                if label != 'active'
            ]
            missing = [
                f'nobody offers {client.srv_name}'
                for client in clients
                if not client.service_is_ready()
            ]
            missing += self.listener.missing()
            if not asleep and not missing and self._task.wait_for_server(POLL_S):
                return
            if time.monotonic() > end:
                raise EpisodeError(
                    f'the graph is not ready after {timeout:.0f} s: '
                    f'{", ".join(asleep or missing) or "nobody offers execute_task"}. A busy '
                    'machine takes longer. `efficient-vla up` tells what keeps a node, and where '
                    'its log is.'
                )
            self._pause.wait(POLL_S)

    def reset(self, task: str, seed: int) -> str:
        """Put robot and stages at the start of an episode; return the task's own sentence."""
        # A disabled controller forgets its chunks; the task enables it again.
        self._call(self._enable, SetBool.Request(data=False))
        self._release()
        answer = self._call(self._reset_episode, ResetEpisode.Request(task=task, seed=seed))
        for client in self._reset_caches:
            self._call(client, ResetCaches.Request(reason='new episode'))
        return str(answer.instruction)

    def _release(self) -> None:
        """End the stop that a fault of the episode before has latched; a simulated arm is free."""
        end = time.monotonic() + CALL_TIMEOUT_S
        while self.listener.view().state == 'stopped' and time.monotonic() < end:
            self._done(self._reset_stop.call_async(Trigger.Request()), ANSWER_S)
            self._pause.wait(POLL_S)

    def run(self, instruction: str, max_duration_s: float) -> tuple[TaskOutcome, Recording]:
        """Follow the instruction until it ends; return how, and what was heard meanwhile."""
        self.listener.start_recording()
        start = time.monotonic()
        result = self._execute(instruction, max_duration_s)
        duration = time.monotonic() - start
        if result.reason == ExecuteTask.Result.REASON_REJECTED_INSTRUCTION:
            raise EpisodeError(result.message)
        if self._record_images:
            self._await_last_frame()
        outcome = TaskOutcome(
            result.reason == ExecuteTask.Result.REASON_SUCCEEDED,
            result.message,
            result.duration_s,
        )
        return outcome, self.listener.stop_recording(duration)

    def _execute(self, instruction: str, max_duration_s: float) -> Any:
        """Return the result of the task, which goes on after a controller that died.

        A robot that leapt to its new place is not believed at once: a task that ends as it begins
        is asked for again.
        """
        start = time.monotonic()
        end = start + max_duration_s
        goal = ExecuteTask.Goal(instruction=instruction, max_duration_s=max_duration_s)
        result = self._attempt(goal)
        while result is None or (_refused(result) and time.monotonic() < start + SETTLING_S):
            if result is None:
                self._await_controller()
            else:
                self._pause.wait(POLL_S)
            if max_duration_s:
                goal.max_duration_s = max(end - time.monotonic(), POLL_S)
            result = self._attempt(goal)
        return result

    def _await_controller(self, released: bool = False) -> None:
        """Enable a controller that has just started, which it allows once it knows the robot.

        A stop that an earlier run of this ROS domain left behind ends where it is to be
        ``released``.
        """
        end = time.monotonic() + CALL_TIMEOUT_S
        said = 'it did not answer'
        while time.monotonic() < end:
            if released:
                self._release()
            future = self._enable.call_async(SetBool.Request(data=True))
            if self._done(future, ANSWER_S):
                if future.result().success:
                    return
                said = future.result().message
            self._enable.remove_pending_request(future)
            self._pause.wait(POLL_S)
        raise EpisodeError(
            f'no controller was ready for a task within {CALL_TIMEOUT_S:.0f} s: {said}'
        )

    def _attempt(self, goal: Any) -> Any:
        """Return the result of one goal, or ``None`` where it was lost with its controller."""
        sent = self._asked(lambda: self._task.send_goal_async(goal))
        if not self._done(sent, ANSWER_S):
            return None
        handle = sent.result()
        if not handle.accepted:
            raise EpisodeError('the controller refused the task; its log says why.')
        ended = self._asked(handle.get_result_async)
        disabled = 0
        # A controller is disabled once its goal has ended, and when it is a new one.
        while not self._done(ended, RESTART_POLL_S):
            disabled = disabled + 1 if self.listener.view().state == 'disabled' else 0
            if disabled > 1:
                return None
        return ended.result().result

    def close(self) -> None:
        """Leave the graph."""
        self.listener.close()

    def _call(self, client: Any, request: Any) -> Any:
        # An answer is lost when it goes out before the node has discovered this client. All calls
        # here may be made twice.
        for _ in range(ATTEMPTS):
            future = client.call_async(request)
            if self._done(future, CALL_TIMEOUT_S / ATTEMPTS):
                answer = future.result()
                if not answer.success:
                    raise EpisodeError(f'{client.srv_name} failed: {answer.message}')
                return answer
            client.remove_pending_request(future)
        raise EpisodeError(f'{client.srv_name} gave no answer within {CALL_TIMEOUT_S:.0f} s.')

    def _asked(self, request: Callable[[], Any]) -> Any:
        """Return the future of a request of an action."""
        asked = self.listener.ask(request)
        if not self._done(asked, CALL_TIMEOUT_S):
            raise EpisodeError(
                f'nothing was heard for {CALL_TIMEOUT_S:.0f} s; is the machine busy?'
            )
        return asked.result()

    def _done(self, future: Any, timeout: float) -> bool:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        end = time.monotonic() + timeout
        while not done.wait(POLL_S):
            self._check()
            if time.monotonic() > end:
                return False
        return True

    def _await_last_frame(self) -> None:
        newest = self.listener.newest_frame()
        end = time.monotonic() + LAST_FRAME_WAIT_S
        while self.listener.newest_frame() == newest and time.monotonic() < end:
            self._pause.wait(POLL_S / 4)


def _refused(result: Any) -> bool:
    return result.reason == ExecuteTask.Result.REASON_FAULT and result.duration_s == 0.0
