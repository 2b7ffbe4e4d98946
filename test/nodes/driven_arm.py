# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A controller node, a stand-in of the driver of an arm, and the arm: two joints."""

from typing import Any

import numpy as np
from nodes.arm import SPEED, Arm
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from efficient_vla import msg
from efficient_vla.nodes.base.qos import latched_qos, newest_qos
from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.nodes.robot.drivers.stand_in import DriverStandIn
from efficient_vla.sim.drivers.description import Driver
from efficient_vla.types import ControlMode

JOINTS = ('shoulder', 'elbow')
FINGER = 'finger'
HOME = np.array([0.5, -0.5])
OPEN = 0.0
PERIOD, DT = 0.01, 0.0125
EVENTS = 20
"""Messages and timers of a period, and some."""
DRIVER = Driver(
    joints=JOINTS, program=True, path_tolerance=0.2, goal_tolerance=0.1, stopped_velocity=0.2
)
OBSERVED = {
    'driver__observe_controller': True,
    'driver__program_running': 'io_and_status_controller/robot_program_running',
    'driver__speed_scaling': 'speed_scaling_state_broadcaster/speed_scaling',
}


class DrivenController(ControllerNode):
    """Hears the joints where drivers tell them."""

    def __init__(self, **options: Any) -> None:
        remap = ['--ros-args', '-r', 'robot_state:=joint_states']
        super().__init__(cli_args=remap, **options)


class DrivenArm(Arm):
    """The arm goes where its driver says, unless it is ``blocked``."""

    def __init__(self, graph: Any, driver: Driver = DRIVER, **values: Any) -> None:
        self.graph, self.driver = graph, driver
        self.names = (*JOINTS, *filter(None, [driver.gripper_joint]))
        self.sequence, self.blocked = 0, np.zeros(len(self.names), bool)
        self.place = np.array([*HOME, OPEN])[: len(self.names)]
        self.finger_speed = 0.0
        """How fast chunks move the gripper [rad/s]."""
        self.path: list[np.ndarray] = []
        self.start_driver()
        settings = {
            'arming': 'auto',
            'names': list(self.names),
            'gripper_axis': driver.gripper_joint,
            'output': 'joint_trajectory',
            'robot_delay': 3 * PERIOD,
            'ramp_time': 0.0,
            **OBSERVED,
            **values,
        }
        self.node = graph.add(DrivenController, **settings)
        self.status = graph.hear(msg.ControllerStatus, 'controller_status', latched_qos())
        self.chunks = graph.publisher(msg.ActionChunk, 'action_chunk', newest_qos())
        self.success = graph.publisher(Bool, 'task_success', latched_qos())
        self.joint_states = graph.hear(JointState, 'joint_states', newest_qos())
        graph.until(self.node._status.get_subscription_count)
        self.connected()

    def connected(self) -> None:
        """Wait until controller and driver hear each other."""
        states = self.stand_in._states
        self.graph.until(lambda: states.get_subscription_count() > 1)
        if self.node.settings.driver.observe_controller:
            self.graph.until(self.stand_in.trajectories._state.get_subscription_count)
        output = self.node._output
        self.graph.until(
            output._publisher.get_subscription_count
            if output._publisher is not None
            else output._client.server_is_ready
        )
        if self.driver.gripper_joint:
            self.graph.until(output.gripper._client.server_is_ready)

    def start_driver(self) -> None:
        """Start the driver."""
        self.process = Node('driver', start_parameter_services=False)
        self.graph.executor.add_node(self.process)
        self.stand_in = DriverStandIn(self.process, self.driver, PERIOD)
        self.running = True

    def start_driver_elsewhere(self) -> int:
        """Start the driver after the arm was put elsewhere; return where its path goes on.

        It stands there until a chunk comes, and is not pulled to the old place.
        """
        self.place += [0.04, -0.03]
        self.start_driver()
        self.connected()
        count = len(self.path)
        self.run(0.5)
        assert np.ptp(self.path[count:], axis=0).max() < 1e-9, 'it is not pulled to the old place'
        return count

    def end_driver(self) -> None:
        """End the driver; the arm stays where it is."""
        self.running = False
        self.stand_in.close()
        self.graph.executor.remove_node(self.process)
        self.process.destroy_node()

    def step(self) -> None:
        """Let the arm do what its driver says, for a period."""
        if self.running:
            target = self.stand_in.update(self.graph.now, self.place)
            self.place = np.where(self.blocked, self.place, target)
        self.path.append(self.place.copy())

    def run(self, seconds: float) -> None:
        """Let the control loop and the driver tick."""
        for _ in range(round(seconds / PERIOD)):
            self.graph.set_time(self.graph.now + PERIOD)
            self.step()
            self.graph.settle(events=EVENTS)

    def locate(self) -> None:
        """Let the driver tell where the arm is."""
        self.run(0.4)
        self.graph.until(lambda: self.node._command is not None)

    def make_chunk(self, **fields: Any) -> msg.ActionChunk:
        """Return a chunk that moves both joints, observed now."""
        row = np.array([SPEED, -SPEED, self.finger_speed][: len(self.names)], np.float32) * DT
        values = {
            'actions': np.tile(row, (40, 1)),
            'names': self.names,
            'control_mode': ControlMode.JOINT_DELTA,
        }
        return super().make_chunk(**{**values, **fields})

    def drive(self, seconds: float) -> None:
        """Follow chunks for so long."""
        for _ in range(round(seconds / 0.1)):
            self.chunks.publish(self.make_chunk())
            self.run(0.1)

    def moving(self) -> None:
        """Enable and follow chunks until the arm moves at full speed."""
        self.locate()
        response = self.enable()
        assert response.success, response.message
        self.drive(0.4)

    def speed(self) -> float:
        """Return the speed of the arm lately [rad/s]."""
        way = np.abs(self.path[-1] - self.path[-6])
        return float(way.max()) / (5 * PERIOD)
