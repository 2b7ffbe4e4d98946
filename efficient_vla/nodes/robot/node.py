# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A simulated robot on ROS topics: camera, state and clock out, commands in.

The stand-in for a robot driver. What the policy must not know stays in here: the scene reaches
the graph only as camera image and as proprioception. ``task_success`` is for
whoever keeps the score.
"""

from concurrent.futures import Future as ConcurrentFuture
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool

from efficient_vla.msg import ControllerStatus, EfficiencyStats, Plan
from efficient_vla.nodes.base.conversions import (
    array_to_image,
    joint_state,
    joint_values,
    seconds_to_stamp,
    stamp_to_seconds,
)
from efficient_vla.nodes.base.efficiency import efficiency_message
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.liveliness import offer_liveliness
from efficient_vla.nodes.base.qos import image_qos, latched_qos, newest_qos, report_qos, state_qos
from efficient_vla.settings import InvalidSettingError
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, node_name, simulation
from efficient_vla.sim.drivers.feetech import read_calibration
from efficient_vla.sim.physics import RobotReport, SimulatedRobot
from efficient_vla.sim.settings import RobotSettings
from efficient_vla.srv import ResetEpisode
from efficient_vla.statistics import LatencyWindow, RateMeter
from efficient_vla.types import InvalidRecordError

FOLLOWING = (
    ControllerStatus.STATE_WAITING,
    ControllerStatus.STATE_TRACKING,
    ControllerStatus.STATE_DECELERATING,
    ControllerStatus.STATE_HOLDING,
)
"""States in which an enabled controller answers images with chunks and ticks with commands."""
MIN_REAL_TIME_SHARE = 0.9
"""Below this share of the wanted real-time factor the machine is too slow for the simulation."""


class SimulatedRobotNode(ManagedNode[RobotSettings]):
    """The simulated robot as a lifecycle node; it runs while active."""

    def __init__(self, robot: str = DEFAULT_ROBOT, **options: Any) -> None:
        super().__init__(node_name(robot), RobotSettings, **options)
        self._simulation = simulation(robot)
        offer_liveliness(self)
        self._robot: SimulatedRobot | None = None
        self._latency = LatencyWindow()
        self._rate = RateMeter()
        publish, subscribe = self.create_lifecycle_publisher, self.create_subscription
        self._images = publish(Image, 'camera/image_raw', image_qos())
        if self.settings.interface == 'command':
            self._states = publish(JointState, 'robot_state', state_qos())
        self._success = publish(Bool, 'task_success', latched_qos())
        self._efficiency = publish(EfficiencyStats, 'efficiency', report_qos())
        if self.settings.simulated_time:
            # Elsewhere a publisher that never ticks would stop everyone who uses the clock.
            self._time = publish(Clock, '/clock', newest_qos())
        if self.settings.mode == 'lockstep':
            subscribe(Plan, 'plan', self._on_plan, latched_qos())
            subscribe(ControllerStatus, 'controller_status', self._on_status, latched_qos())
        self._stand_in: Any = None
        if self.settings.interface == 'command':
            subscribe(JointState, 'command', self._on_command, newest_qos())
        self.create_service(ResetEpisode, '~/reset_episode', self._on_reset)

    def setup(self) -> None:
        """Load the scene."""
        self._stand_in = self._make_driver()
        self._robot = SimulatedRobot(
            self.settings, self, self.now, self._simulation, self._stand_in
        )
        self._robot.load()

    def _make_driver(self) -> Any:
        """Return the stand-in of the arm's driver, ``None`` where set-points are followed."""
        if self.settings.interface == 'command':
            return None
        driver = self._simulation.driver
        if driver is None:
            raise InvalidSettingError(
                'interface is driver, and this robot has none to stand in for; expected command.'
            )
        if self.settings.calibration:
            if not driver.motors:
                raise InvalidSettingError(
                    'calibration is set, and this arm has no servos that need one; expected none.'
                )
            names = (*driver.joints, driver.gripper_joint)
            motors = read_calibration(Path(self.settings.calibration).expanduser(), names)
            driver = replace(driver, motors=motors)
        # Needs messages of ros2_control.
        from efficient_vla.nodes.robot.drivers.stand_in import DriverStandIn

        stand_in = DriverStandIn(self, driver, self._simulation.period)
        if stand_in.program is not None:
            stand_in.program.speed = self.settings.speed_slider
        return stand_in

    def start(self) -> None:
        """Let time run."""
        self._require_robot().start()

    def stop(self) -> None:
        """Let time stand; the robot stays where it is."""
        self._require_robot().stop()

    def teardown(self) -> None:
        """Forget the scene."""
        self._robot = None
        if self._stand_in is not None:
            self._stand_in.close()
            self._stand_in = None

    def changed(self, earlier: RobotSettings, settings: RobotSettings) -> None:
        """Take rates and limits over at the next tick."""
        if self._robot is not None:
            self._robot.settings = settings
        if self._stand_in is not None and self._stand_in.program is not None:
            self._stand_in.program.speed = settings.speed_slider

    def report(self) -> dict[str, Any]:
        """Return what the robot achieved lately."""
        state = self._require_robot().report()
        self._check_pace(state)
        return {
            'task': state.task,
            'seed': state.seed,
            'steps': state.steps,
            'success': state.success,
            'real_time_factor': state.real_time_factor,
            'camera_hz': self._rate.rate(),
            'frames_dropped': state.frames_dropped,
            'commands_rejected': state.rejected,
        }

    def clock(self, stamp: float) -> None:
        """Publish simulated time [s]."""
        self._time.publish(Clock(clock=seconds_to_stamp(stamp)))

    def state(self, stamp: float, positions: np.ndarray) -> None:
        """Publish the robot's state and set-point."""
        self._states.publish(joint_state(self._simulation.reported_names, positions, stamp))

    def image(self, stamp: float, image: np.ndarray, render_ms: float) -> None:
        """Publish a camera image and what it cost."""
        self._images.publish(array_to_image(image, stamp, self._simulation.camera))
        self._latency.add(render_ms)
        self._rate.tick()
        self._publish_efficiency(stamp, render_ms)

    def success(self, value: bool) -> None:
        """Publish whether the episode's task is done."""
        self._success.publish(Bool(data=value))

    def fault(self, reason: str) -> None:
        """Report what keeps the robot from running."""
        self.health.error('simulation', reason)

    def _publish_efficiency(self, stamp: float, render_ms: float) -> None:
        report = self._require_robot().report()
        camera = self.settings.camera
        simulated = self.settings.simulated_time
        message = efficiency_message(
            EfficiencyStats.STAGE_CAMERA,
            f'render={camera.render} size={camera.size} '
            f'real_time_factor={report.real_time_factor:.3f}',
            self._latency,
            self._rate.rate(),
            stamp,
            age_ms=render_ms if simulated else (self.now() - stamp) * 1e3,
            dropped=report.frames_dropped,
        )
        self._efficiency.publish(message)

    def _on_command(self, message: JointState) -> None:
        if not self.active:
            return
        try:
            simulation = self._simulation
            moves_alone = set(message.name) == set(simulation.setpoint_names)
            names = simulation.setpoint_names if moves_alone else simulation.command_names
            values = joint_values(message, names)
            stamp = stamp_to_seconds(message.header.stamp)
            reason = self._require_robot().command(values, stamp)
        except InvalidRecordError as error:
            reason = str(error)
        self.health.warn('command', reason)

    def _on_status(self, message: ControllerStatus) -> None:
        if self._robot is not None:
            self._robot.gate.controller_report(
                message.state in FOLLOWING, stamp_to_seconds(message.observation_stamp)
            )

    def _on_plan(self, message: Plan) -> None:
        if self._robot is not None:
            self._robot.gate.plan_report(stamp_to_seconds(message.header.stamp))

    async def _on_reset(
        self, request: ResetEpisode.Request, response: ResetEpisode.Response
    ) -> ResetEpisode.Response:
        if not self.active:
            response.message = 'the robot is not active; activate it first.'
            return response
        # Loading a scene takes seconds: the executor goes on meanwhile.
        executor = self.executor
        loaded: Future = Future(executor=executor)
        robot = self._require_robot()

        def resume(episode: ConcurrentFuture[str]) -> None:
            loaded.set_result(episode)
            executor.wake()

        robot.reset_episode(request.task, request.seed).add_done_callback(resume)
        episode: ConcurrentFuture[str] = await loaded
        error = episode.exception()
        if error is None:
            response.success = True
            response.instruction = episode.result()
            response.message = f'episode {request.seed} of {robot.report().task} is ready.'
        else:
            response.message = str(error)
        return response

    def _check_pace(self, state: RobotReport) -> None:
        settings = self.settings
        share = state.real_time_factor / settings.real_time_factor
        slow = self.active and settings.mode == 'realtime' and share < MIN_REAL_TIME_SHARE
        reason = (
            f'simulated time runs at {state.real_time_factor:.2f} of real time; expected '
            f'{settings.real_time_factor}. Lower camera.rate or choose camera.render fast.'
        )
        self.health.warn('pace', reason if slow else '')

    def _require_robot(self) -> SimulatedRobot:
        assert self._robot is not None
        return self._robot
