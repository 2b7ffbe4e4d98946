# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All nodes as real processes with the pass-through policy: images in, the robot moves."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from action_msgs.msg import GoalStatus
from fixtures.policies import write_policy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from efficient_vla.action import ExecuteTask
from efficient_vla.bringup.graph import Selection, describe
from efficient_vla.bringup.supervisor import Supervisor
from efficient_vla.errors import EpisodeError
from efficient_vla.msg import ControllerStatus
from efficient_vla.nodes.base import qos
from efficient_vla.nodes.base.conversions import joint_values, stamp_to_seconds
from efficient_vla.nodes.client import episode_client
from efficient_vla.nodes.client.episode_client import EpisodeClient
from efficient_vla.nodes.client.state_watch import StateWatch
from efficient_vla.sim.metaworld.tasks import SIMULATION
from efficient_vla.srv import ResetEpisode

START_TIMEOUT_S = 60.0
SPEED = 0.02
"""Metres a second along y: slow enough to stay inside the workspace for a minute."""
ANSWER_S = 2.0
REPLY_S = 20.0
ENDED = {0, -signal.SIGTERM}
"""An interpreter on a busy machine may be asked a second time while it already ends."""
STILL_M = 1e-5
HOLD_S = 0.2
"""A robot stands still so long after any node between camera and command was killed."""
EXPIRY_S = 0.6
"""The same where the machine is too busy to notice: the observation is too old, and it brakes."""
ATTEMPTS = 3
"""A machine that others use may stall in one or two."""


class Client:
    """Talks to the graph and remembers what it said."""

    def __init__(self, supervisor: Supervisor, queue: int = 10) -> None:
        self.supervisor = supervisor
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node('graph_test', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images = 0
        self.states: list[tuple[float, np.ndarray]] = []
        self.statuses: list[Any] = []
        subscribe = self.node.create_subscription
        subscribe(Image, 'camera/image_raw', self._on_image, qos.image_qos())
        state_qos = qos.state_qos()
        state_qos.depth = queue
        subscribe(JointState, 'robot_state', self._on_state, state_qos)
        subscribe(ControllerStatus, 'controller_status', self.statuses.append, qos.latched_qos())
        self.task = ActionClient(self.node, ExecuteTask, 'execute_task')
        self.reset_episode = self.node.create_client(ResetEpisode, 'metaworld_robot/reset_episode')
        self.set_enabled = self.node.create_client(SetBool, 'controller/set_enabled')

    def spin_until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Handle messages and keep the graph up until ``condition`` holds."""
        end = self.now() + timeout
        while not condition():
            assert self.now() < end, f'not within {timeout} s: {what}; {self.last_words()}'
            self.executor.spin_once(timeout_sec=0.05)
            self.supervisor.poll()

    def last_words(self) -> str:
        """Return what the controller said last, for the message of a failed test."""
        if not self.statuses:
            return 'the controller said nothing'
        status = self.statuses[-1]
        age = self.now() - stamp_to_seconds(status.header.stamp)
        return f'controller {age:.1f} s ago: state {status.state} {status.reason!r}'

    def call(self, client: Any, request: Any) -> Any:
        """Call a service; all that are called here may be called twice."""
        self.spin_until(client.service_is_ready, START_TIMEOUT_S, client.srv_name)
        future, due = client.call_async(request), self.now() + REPLY_S

        def answered() -> bool:
            # A reply is lost when it goes out before the node has discovered this client.
            nonlocal future, due
            if not future.done() and self.now() > due:
                client.remove_pending_request(future)
                future, due = client.call_async(request), self.now() + REPLY_S
            return bool(future.done())

        self.spin_until(answered, START_TIMEOUT_S, client.srv_name)
        return future.result()

    def send_goal(self, instruction: str) -> Any:
        """Start a task without a time limit; return its handle."""
        goal = ExecuteTask.Goal(instruction=instruction)
        future = self.task.send_goal_async(goal)
        due = self.now() + ANSWER_S

        def answered() -> bool:
            # A server that was killed looks alive for some seconds and takes goals to the grave.
            nonlocal future, due
            if not future.done() and self.now() > due:
                future, due = self.task.send_goal_async(goal), self.now() + ANSWER_S
            return bool(future.done())

        self.spin_until(answered, START_TIMEOUT_S, 'an answer to the goal')
        handle = future.result()
        assert handle.accepted
        settled = self.now() + 0.2
        self.spin_until(lambda: self.now() > settled, 5.0, 'the status of the goal')
        return handle

    def send_goal_until_it_runs(self, instruction: str) -> Any:
        """Start a task as soon as the controller takes one; return its handle."""
        while (goal := self.send_goal(instruction)).status != GoalStatus.STATUS_EXECUTING:
            self.executor.spin_once(timeout_sec=0.1)
        return goal

    def new_episode(self, seed: int = 0) -> None:
        """Put the robot at its start, with the controller disabled."""
        self.call(self.set_enabled, SetBool.Request(data=False))
        answer = self.call(self.reset_episode, ResetEpisode.Request(task='', seed=seed))
        assert answer.success, answer.message
        self.states.clear()
        self.spin_until(lambda: bool(self.states), 5.0, 'a state')

    def wait_moving(self, what: str) -> None:
        """Wait until the set-point moves steadily along y."""
        start = len(self.states)

        def moving() -> bool:
            recent = self.states[start:]
            return len(recent) > 8 and recent[-1][1][5] - recent[-9][1][5] > SPEED * 0.1 * 0.5

        self.spin_until(moving, START_TIMEOUT_S, what)

    def wait_still(self, timeout: float) -> None:
        """Wait until the set-point has stood still for 0.2 s."""

        def still() -> bool:
            recent = self.states[-17:]
            return len(recent) == 17 and float(np.ptp([s[1][5] for s in recent])) < STILL_M

        self.spin_until(still, timeout, 'the robot stands still')

    def now(self) -> float:
        """Return the time that stamps carry [s]."""
        return float(self.node.get_clock().now().nanoseconds * 1e-9)

    def pid(self, node: str) -> int:
        """Return the process id of a node, 0 while it is down."""
        return next(c.pid for c in self.supervisor.children if node in c.process.nodes)

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def _on_image(self, _: Image) -> None:
        self.images += 1

    def _on_state(self, message: JointState) -> None:
        stamp = stamp_to_seconds(message.header.stamp)
        self.states.append((stamp, joint_values(message, SIMULATION.reported_names)))


def overrides(**values: Any) -> dict[str, Any]:
    """Return overrides that make the simulation as light as possible."""
    camera = {'camera.size': 64, 'camera.render': 'fast', 'max_steps': 100_000}
    robot = {f'metaworld_robot.{name}': value for name, value in camera.items()}
    return {**robot, **{name.replace('__', '.'): value for name, value in values.items()}}


def start(folder: Path, queue: int = 10, **values: Any) -> tuple[Supervisor, Client]:
    """Bring up all nodes; return when every node is active. ``queue`` is for states."""
    policy = write_policy(folder / 'policy', velocity=(0.0, SPEED, 0.0))
    graph = describe(Selection(policy=str(policy), overrides=overrides(**values)))
    supervisor = Supervisor(graph, folder / 'logs')
    supervisor.start()
    client = Client(supervisor, queue)
    watch = StateWatch(graph.nodes)
    try:
        client.spin_until(
            lambda: set(watch.states().values()) == {'active'}, START_TIMEOUT_S, 'all are active'
        )
    except BaseException:
        client.close()
        supervisor.stop()
        raise
    finally:
        watch.close()
    return supervisor, client


@pytest.fixture(scope='module')
def graph(module_ros_domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    supervisor, client = start(tmp_path_factory.mktemp('graph'))
    try:
        yield client
    finally:
        client.close()
        codes = supervisor.stop()
    assert set(codes.values()) <= ENDED, codes


def test_robot_moves_when_asked_and_stops_when_canceled(graph: Client) -> None:
    graph.new_episode()
    before = graph.states[-1][1]
    images = graph.images
    graph.spin_until(lambda: graph.images > images + 3, 10.0, 'images')
    assert graph.states[-1][1] == pytest.approx(before), 'moved without being asked'
    goal = graph.send_goal_until_it_runs('move along y')
    graph.spin_until(lambda: graph.states[-1][1][5] > before[5] + 0.01, 20.0, 'motion along y')
    moved = graph.states[-1][1] - before
    assert moved[4] == pytest.approx(0.0, abs=1e-3)
    assert moved[6] == pytest.approx(0.0, abs=1e-3)
    done = goal.get_result_async()
    goal.cancel_goal_async()
    graph.spin_until(done.done, 10.0, 'the result')
    assert done.result().status == GoalStatus.STATUS_CANCELED
    assert done.result().result.reason == ExecuteTask.Result.REASON_CANCELED
    graph.wait_still(5.0)


@pytest.mark.parametrize('node', ['actor', 'reasoner', 'monitor'])
def test_episode_goes_on_after_a_stage_was_killed(graph: Client, node: str) -> None:
    graph.new_episode()
    goal = graph.send_goal('move along y')
    for _ in range(ATTEMPTS):
        graph.wait_moving('the robot moves')
        pid, killed = kill(graph, node)
        if node == 'monitor':
            graph.wait_moving('the robot goes on')
        holds = node == 'monitor' or holds_in_time(graph, killed)
        wait_next(graph, node, pid)
        graph.wait_moving(f'the robot moves again after {node} was killed')
        if holds:
            break
    assert holds
    goal.cancel_goal_async()
    graph.wait_still(10.0)


def kill(graph: Client, node: str) -> tuple[int, float]:
    """Kill the process of a node; return its id and the time."""
    pid = graph.pid(node)
    os.kill(pid, signal.SIGKILL)
    return pid, graph.now()


def wait_next(graph: Client, node: str, pid: int) -> None:
    """Wait for the process that follows ``pid``."""
    graph.spin_until(lambda: graph.pid(node) not in (0, pid), 20.0, f'the next {node}')


def holds_in_time(graph: Client, killed: float) -> bool:
    """Return whether the robot stood still as soon as it is to, since a node was ``killed``."""
    graph.wait_still(10.0)
    assert travel(graph, killed) <= SPEED * EXPIRY_S
    return travel(graph, killed) <= SPEED * HOLD_S


def travel(graph: Client, since: float) -> float:
    """Return how far the set-point went after a time [m].

    A distance, since a stall of the whole machine delays the motion that is left and adds none.
    """
    places = [now[5] for stamp, now in graph.states if stamp >= since]
    return float(np.ptp(places)) if places else 0.0


def test_robot_holds_when_the_controller_was_killed_and_takes_the_next_task(graph: Client) -> None:
    graph.new_episode()
    graph.send_goal('move along y')
    graph.wait_moving('the robot moves')
    pid, killed = kill(graph, 'controller')
    assert holds_in_time(graph, killed)
    wait_next(graph, 'controller', pid)
    # A controller that has just started refuses goals until the robot told it the set-point.
    graph.send_goal_until_it_runs('go on along y')
    graph.wait_moving('the robot moves again')
    graph.call(graph.set_enabled, SetBool.Request(data=False))
    graph.wait_still(10.0)


def test_episode_client_goes_on_after_the_controller_was_killed(graph: Client) -> None:
    graph.new_episode()
    first = graph.pid('controller')
    start = graph.states[-1][1][5]
    place: dict[int, float] = {}

    def check() -> None:
        graph.executor.spin_once(timeout_sec=0.0)
        graph.supervisor.poll()
        place[graph.pid('controller')] = graph.states[-1][1][5]
        if graph.pid('controller') == first and place[first] > start + 0.5 * SPEED:
            os.kill(first, signal.SIGKILL)
        elif first in place and place[graph.pid('controller')] > place[first] + SPEED:
            succeeded.publish(Bool(data=True))

    succeeded = graph.node.create_publisher(Bool, 'task_success', qos.latched_qos())
    client = EpisodeClient(check, record_images=False)
    try:
        outcome, _ = client.run('move along y', max_duration_s=200.0)
    finally:
        client.close()
        graph.node.destroy_publisher(succeeded)
    assert outcome.success
    assert place[graph.pid('controller')] > place[first] + SPEED


@pytest.mark.parametrize(('asked', 'left'), [(20.0, 17.0), (0.0, 0.0), (2.0, 0.1)])
def test_task_that_is_sent_again_has_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, asked: float, left: float
) -> None:
    now, goals = [100.0], []
    client = object.__new__(EpisodeClient)
    done = ExecuteTask.Result(reason=ExecuteTask.Result.REASON_SUCCEEDED, duration_s=1.0)

    def attempt(goal: Any) -> Any:
        goals.append(goal.max_duration_s)
        now[0] += 3.0
        return None if len(goals) == 1 else done

    monkeypatch.setattr(client, '_attempt', attempt)
    monkeypatch.setattr(client, '_await_controller', lambda: None)
    monkeypatch.setattr(episode_client.time, 'monotonic', lambda: now[0])
    assert client._execute('move along y', asked) is done
    assert goals == [asked, pytest.approx(left)]


def test_sentence_that_is_refused_is_no_failure_of_the_policy(graph: Client) -> None:
    graph.new_episode()
    client = EpisodeClient(graph.supervisor.poll, record_images=False)
    try:
        with pytest.raises(EpisodeError, match='instruction is empty'):
            client.run('', max_duration_s=20.0)
    finally:
        client.close()


def test_episode_goes_on_after_the_robot_was_killed(graph: Client) -> None:
    graph.new_episode()
    goal = graph.send_goal('move along y')
    graph.wait_moving('the robot moves')
    pid = graph.pid('metaworld_robot')
    os.kill(pid, signal.SIGKILL)
    graph.spin_until(lambda: graph.pid('metaworld_robot') not in (0, pid), 20.0, 'the next robot')
    graph.states.clear()
    graph.wait_moving('the robot moves again')
    goal.cancel_goal_async()
    graph.wait_still(10.0)


@pytest.mark.alone
def test_lockstep_does_not_depend_on_the_speed_of_the_machine(
    ros_domain: int, tmp_path: Path
) -> None:
    # Simulated time may go faster than this client, which also watches the processes.
    supervisor, client = start(tmp_path, queue=1000, metaworld_robot__mode='lockstep')
    try:
        runs = [positions(client, count=110) for _ in range(2)]
    finally:
        client.close()
        codes = supervisor.stop()
    # The topic is best effort, so that a busy machine loses states here and there; those that
    # both runs have are bitwise the same, or hardly any would be shared.
    shared = {state.tobytes() for state in runs[0]} & {state.tobytes() for state in runs[1]}
    assert len(shared) >= 0.7 * len(runs[0])
    assert np.ptp(runs[0][:, 5]) > SPEED * 0.5
    assert set(codes.values()) <= ENDED, codes


def positions(client: Client, count: int) -> np.ndarray:
    """Return the first states of an episode from the first motion on, [count, 7]."""
    client.new_episode(seed=3)
    # A controller that has just started refuses goals until the robot told it the set-point.
    goal = client.send_goal_until_it_runs('move along y')

    def moving() -> list[np.ndarray]:
        first = client.states[0][1]
        return [s for _, s in client.states if not np.array_equal(s, first)]

    client.spin_until(lambda: len(moving()) >= count, START_TIMEOUT_S, f'{count} moving states')
    goal.cancel_goal_async()
    client.wait_still(10.0)
    return np.array(moving()[:count])
