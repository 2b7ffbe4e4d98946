# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot as a node, with the real simulator and a small image."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool

from efficient_vla.msg import EfficiencyStats
from efficient_vla.nodes.base import qos
from efficient_vla.nodes.base.conversions import image_to_array, joint_state, joint_values
from efficient_vla.nodes.robot.node import SimulatedRobotNode
from efficient_vla.sim.metaworld.scene import MetaWorldSim
from efficient_vla.sim.metaworld.tasks import SIMULATION
from efficient_vla.srv import ResetEpisode

TIMEOUT_S = 30.0
SIZE = 64


class Bench:
    """One robot node, and another node that listens and commands, in one executor."""

    def __init__(self, **values: Any) -> None:
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        light = {'camera.size': SIZE, 'camera.render': 'fast', **values}
        overrides = [Parameter(name, value=value) for name, value in light.items()]
        self.robot = SimulatedRobotNode(context=self.context, parameter_overrides=overrides)
        self.node = rclpy.create_node('robot_test', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.robot)
        self.executor.add_node(self.node)
        self.images: list[Image] = []
        self.states: list[JointState] = []
        self.successes: list[bool] = []
        self.passes: list[EfficiencyStats] = []
        self.diagnostics: list[DiagnosticArray] = []
        subscribe = self.node.create_subscription
        subscribe(Image, 'camera/image_raw', self.images.append, qos.image_qos())
        subscribe(JointState, 'robot_state', self.states.append, qos.state_qos())
        subscribe(Bool, 'task_success', lambda m: self.successes.append(m.data), qos.latched_qos())
        subscribe(EfficiencyStats, 'efficiency', self.passes.append, qos.report_qos())
        subscribe(DiagnosticArray, '/diagnostics', self.diagnostics.append, qos.report_qos())
        self.commands = self.node.create_publisher(JointState, 'command', qos.newest_qos())
        self.reset = self.node.create_client(ResetEpisode, 'metaworld_robot/reset_episode')

    def spin_until(self, condition: Callable[[], bool], what: str) -> None:
        """Handle messages until ``condition`` holds."""
        clock = self.node.get_clock()
        end = clock.now().nanoseconds + TIMEOUT_S * 1e9
        while not condition():
            assert clock.now().nanoseconds < end, f'not within {TIMEOUT_S} s: {what}'
            self.executor.spin_once(timeout_sec=0.05)

    def reset_episode(self, task: str, seed: int) -> ResetEpisode.Response:
        """Call the service."""
        self.spin_until(self.reset.service_is_ready, 'the service')
        future = self.reset.call_async(ResetEpisode.Request(task=task, seed=seed))
        self.spin_until(future.done, 'an answer')
        return future.result()

    def setpoint(self) -> np.ndarray:
        """Return the newest set-point."""
        return joint_values(self.states[-1], SIMULATION.reported_names)[4:]

    def close(self) -> None:
        """End both nodes."""
        self.robot.end()
        self.executor.shutdown()
        self.robot.destroy_node()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def bench(ros_domain: int) -> Iterator[Bench]:
    made = Bench()
    assert made.robot.autostart()
    try:
        yield made
    finally:
        made.close()


def test_robot_shows_what_the_simulator_shows(bench: Bench) -> None:
    assert bench.reset_episode('', 5).instruction == 'reach the goal position'
    bench.images.clear()
    bench.spin_until(lambda: len(bench.images) > 0 and len(bench.passes) > 3, 'images')
    sim = MetaWorldSim('reach-v3', 'fast', SIZE)
    sim.reset(5)
    try:
        shown = sim.render_snapshot(sim.snapshot())
        assert np.array_equal(image_to_array(bench.images[-1]), shown)
        state = joint_values(bench.states[-1], SIMULATION.reported_names)
        assert state[:4] == pytest.approx(sim.state())
        assert state[4:] == pytest.approx(sim.setpoint())
    finally:
        sim.close()
    newest = bench.passes[-1]
    assert newest.stage == EfficiencyStats.STAGE_CAMERA
    assert newest.latency_ms > 0.0
    assert 'render=fast size=64' in newest.method
    assert bench.successes == [False, False]


def test_commands_move_the_hand_and_bad_ones_are_told(bench: Bench) -> None:
    bench.spin_until(lambda: bool(bench.states), 'a state')
    start = bench.setpoint()
    bench.spin_until(lambda: bench.commands.get_subscription_count() > 0, 'the robot listens')

    def command(target: np.ndarray, names: tuple[str, ...] = SIMULATION.command_names) -> None:
        bench.commands.publish(joint_state(names, np.append(target, 0.0), 0.0))

    bad = {
        'expected at most command.max_jump 0.1': lambda: command(start + 0.5),
        'not finite': lambda: command(start * np.nan),
        'expected each of x, y, z, gripper': lambda: command(start, ('a', 'b', 'c', 'd')),
    }
    for words, send in bad.items():
        bench.diagnostics.clear()
        send()
        bench.spin_until(
            lambda words=words: any(words in d.status[0].message for d in bench.diagnostics), words
        )
    assert bench.setpoint() == pytest.approx(start)

    def moved() -> bool:
        command(start + [0.0, 0.05, 0.0])
        return bool(bench.setpoint()[1] > start[1] + 0.049)

    bench.spin_until(moved, 'motion')
    hands = [joint_values(state, SIMULATION.reported_names)[4:] for state in bench.states]
    assert np.abs(np.diff(hands, axis=0)).max() <= MetaWorldSim.MAX_DELTA + 1e-9


def test_task_changes_and_an_unknown_one_is_refused(bench: Bench) -> None:
    answer = bench.reset_episode('door-open-v3', 1)
    assert answer.success
    assert answer.instruction == 'open the door'
    refused = bench.reset_episode('make-coffee', 1)
    assert not refused.success
    assert 'unknown task' in refused.message
    bench.images.clear()
    bench.spin_until(lambda: bool(bench.images), 'an image of the present task')


def test_inactive_robot_is_silent_and_goes_on_where_it_was(bench: Bench) -> None:
    bench.spin_until(lambda: bool(bench.states), 'a state')
    bench.robot.trigger_deactivate()
    refused = bench.reset_episode('', 1)
    assert 'activate it first' in refused.message
    seen = len(bench.states)
    assert bench.reset_episode('', 1).success is False
    assert len(bench.states) == seen
    bench.robot.trigger_activate()
    bench.spin_until(lambda: len(bench.states) > seen, 'a state')


def test_unknown_task_at_configuration_leaves_the_node_unconfigured(ros_domain: int) -> None:
    made = Bench(task='make-coffee')
    try:
        assert not made.robot.autostart()
        assert 'unknown task' in made.robot.health.message('configure')
    finally:
        made.close()


def test_period_is_that_of_the_simulator() -> None:
    assert SIMULATION.period == MetaWorldSim.PERIOD
