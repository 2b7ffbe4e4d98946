# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A driver of ros2_control before a simulated arm: its topics, its actions, its faults."""

import math
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from efficient_vla.nodes.base.conversions import seconds_to_stamp, to_wire
from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.robot.drivers.grippers import GripperDriver
from efficient_vla.nodes.robot.drivers.program import Program
from efficient_vla.nodes.robot.drivers.trajectories import TrajectoryDriver
from efficient_vla.sim.drivers.description import Driver
from efficient_vla.sim.drivers.feetech import Servos
from efficient_vla.sim.drivers.joint_trajectory_controller import JointTrajectoryController


class DriverStandIn:
    """What ``driver`` describes, on ``node``; ``update`` is called every ``period`` [s]."""

    def __init__(self, node: Any, driver: Driver, period: float) -> None:
        self._node = node
        self._driver = driver
        self._period = period
        self._last: np.ndarray | None = None
        motors = driver.motors
        self._servos = Servos(motors, driver.gripper_limits) if motors else None
        self._velocity: np.ndarray = np.zeros(0)
        self._target: np.ndarray | None = None
        core = JointTrajectoryController(driver.joints, period, driver.constraints)
        self.trajectories = TrajectoryDriver(node, driver.controller, core, driver.constraints)
        self.gripper = None
        if driver.gripper_joint:
            self.gripper = GripperDriver(
                node,
                driver.gripper_action,
                driver.gripper_joint,
                driver.gripper_limits,
                driver.gripper_parallel,
            )
        self.program = Program(node) if driver.program else None
        self._states = node.create_publisher(JointState, 'joint_states', report_qos())

    @property
    def newest(self) -> float:
        """Start of the newest trajectory since the last ``reset`` [s]."""
        return self.trajectories.newest

    @property
    def commanded(self) -> bool:
        """Whether arm or gripper were told anything since the last ``reset``."""
        told = self.gripper is not None and self.gripper.commanded
        return told or self.newest > -math.inf

    def reset(self, measured: np.ndarray, stamp: float) -> None:
        """Begin anew where the arm is measured [P]."""
        self._last, self._target = measured, measured
        self._velocity = np.zeros_like(measured)
        self.trajectories.newest = -math.inf
        arm = len(self._driver.joints)
        self.trajectories.activate(measured[:arm], stamp)
        if self.gripper is not None:
            self.gripper.activate(float(measured[arm]), stamp)

    def update(self, stamp: float, measured: np.ndarray) -> np.ndarray:
        """Return the set-points [P] for the next period and say how the arm is [P]."""
        self.tell(stamp, measured)
        return self.follow(stamp, measured)

    def tell(self, stamp: float, measured: np.ndarray) -> None:
        """Publish how the arm is [P]."""
        measured = self._read(measured)
        last = measured if self._last is None else self._last
        self._velocity = (measured - last) / self._period
        self._last = measured
        self._publish_states(stamp, measured, self._velocity)

    def follow(self, stamp: float, measured: np.ndarray) -> np.ndarray:
        """Return the set-points [P] for the next period of an arm that is ``measured`` [P]."""
        measured = self._read(measured)
        if self._target is None:
            self.reset(measured, stamp)
        assert self._target is not None
        velocity, arm = self._velocity, len(self._driver.joints)
        scaling = 1.0
        if self.program is not None:
            scaling = self.program.speed
            self._follow_program(self.program.running, measured[:arm], stamp)
            self.program.publish(stamp)
        command = self.trajectories.update(stamp, measured[:arm], velocity[:arm], scaling)
        target = self._target.copy()
        if command is not None:
            # The robot itself goes only this share of the way to what it is told.
            target[:arm] += scaling * (command - target[:arm])
        if self.gripper is not None:
            target[arm] = self.gripper.update(stamp, float(measured[arm]), float(velocity[arm]))
        self._target = target
        return (
            target if self._servos is None else self._servos.turned_by(self._servos.goals(target))
        )

    def _read(self, measured: np.ndarray) -> np.ndarray:
        """Return where the arm is [P] as the driver reads it."""
        if self._servos is None:
            return measured
        return self._servos.read(self._servos.encoder(measured))

    def close(self) -> None:
        """Take all topics back, as a driver that ends."""
        self.trajectories.close()
        if self.gripper is not None:
            self.gripper.close()
        if self.program is not None:
            self.program.close()
        self._node.destroy_publisher(self._states)

    def _follow_program(self, running: bool, measured: np.ndarray, stamp: float) -> None:
        """Stop the controllers with the program, and start them again with it."""
        if running == self.trajectories.controller.active:
            return
        if running:
            self.trajectories.activate(measured, stamp)
        else:
            self.trajectories.deactivate()
            assert self._target is not None
            self._target[: len(measured)] = measured

    def _publish_states(self, stamp: float, measured: np.ndarray, velocity: np.ndarray) -> None:
        driver = self._driver
        names = [*driver.joints, *filter(None, [driver.gripper_joint])]
        values = dict(zip(names, zip(measured, velocity, strict=False), strict=False))
        values |= dict.fromkeys(driver.other_joints, (0.0, 0.0))
        names = sorted(values)
        message = JointState(name=names)
        message.header.stamp = seconds_to_stamp(stamp)
        columns = np.array([values[name] for name in names]).T
        message.position, message.velocity = (to_wire(column, 'd') for column in columns)
        self._states.publish(message)
