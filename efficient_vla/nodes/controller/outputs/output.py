# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the outputs share: a publisher, and for arms without a gripper column the gripper's own."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.columns import GRIPPER
from efficient_vla.nodes.base.qos import newest_qos
from efficient_vla.nodes.controller.outputs.gripper import GRIPPERS
from efficient_vla.types import Command

ZEROS_S = 0.25
"""A velocity of zero, and the place of a blocked arm, are repeated for this long: messages may be
lost or late. That is above the timeout of MoveIt Servo, 0.1 s, so that a late zero does not make it
warn, and short, so that others are heard again."""


class Output:
    """Sends set-points to a robot."""

    message: type
    topic: str
    moves = False
    """Whether the robot is not known to stand where the last set-point does."""
    fault = ''
    covers = 0.0
    """Time from a set-point to that from which the robot brakes by itself without another [s].

    0: it stays at the last one."""

    def __init__(
        self,
        node: LifecycleNode,
        settings: ControllerNodeSettings,
        brake_path: Callable[[int], tuple[np.ndarray, np.ndarray]],
        stamp: Callable[[float], Time],
    ) -> None:
        """``brake_path`` is that of the controller; ``stamp`` makes one of a time of motion."""
        self._settings = settings
        self._brake_path = brake_path
        self._stamp = stamp
        self._told = False
        self._publisher = self.make_publisher(node)

    def make_publisher(self, node: LifecycleNode) -> Any:
        """Return what sends the messages."""
        return node.create_lifecycle_publisher(self.message, self.topic, newest_qos())

    @property
    def pending(self) -> bool:
        """Whether more set-points are wanted although the last one stands still."""
        return self.moves

    @abstractmethod
    def send(self, command: Command) -> None:
        """Send a set-point, the newest of the controller."""

    def complaint(self) -> str:
        """Return why the robot does not do what it is told, as it said itself, or ''."""
        return self.fault

    def absent(self) -> str:
        """Return that nobody is there who takes set-points, or '' where that is not known."""
        return ''

    def forgive(self) -> None:
        """Forget that complaint."""
        self.fault = ''

    def restart(self) -> None:
        """Forget what was sent: the next set-point does not continue it."""
        self._told = False

    def repeat(self, now: float) -> None:
        """Send the set-point for a while from ``now`` [s] although it rests; none is needed."""

    def tells_gripper(self, command: Command) -> bool:
        """Return whether the set-point's effort is to be sent.

        None is before the first that is not 0: until a chunk says one, the gripper stays as it is.
        """
        if GRIPPER not in command.names:
            return False
        effort = command.position[command.names.index(GRIPPER)]
        self._told = bool(self._told or effort != 0)
        return self._told


class ArmOutput(Output):
    """Set-points of the axes; those of the gripper go to an output of its own.

    That is ``gripper``, an effort: ``gripper_values`` are those of an open and of a closed gripper,
    efforts -1 and +1; the way between them is straight. Or it is the axis ``gripper_axis``, whose
    set-points are the gripper's own, from the first that leaves where it was.
    """

    def __init__(self, node: LifecycleNode, settings: ControllerNodeSettings, *motion: Any) -> None:
        self._moving_until = -math.inf
        moved = [name for name in settings.names if name != GRIPPER]
        arm = [name for name in moved if name != settings.gripper_axis]
        self._arm = [moved.index(name) for name in arm]
        """Places of the arm's axes among all axes."""
        names = dict(word.split(':=') for word in settings.driver.joint_names)
        self._joints = [names.get(name, name) for name in arm]
        self._columns = [settings.names.index(name) for name in arm]
        self._hand = settings.gripper_axis or GRIPPER
        self._held = False
        self.gripper = GRIPPERS[settings.gripper_interface](node, settings)
        super().__init__(node, settings, *motion)

    @property
    def pending(self) -> bool:
        """Whether more set-points are wanted, of the arm or of the gripper."""
        return self.moves or self.gripper.pending

    @abstractmethod
    def send_axes(self, command: Command, axes: list[int]) -> None:
        """Send a set-point whose columns ``axes`` are not the gripper's."""

    def complaint(self) -> str:
        """Return why robot or gripper do not do what they are told, or ''."""
        return self.fault or self.gripper.fault

    def forgive(self) -> None:
        """Forget that complaint."""
        super().forgive()
        self.gripper.fault = ''

    def restart(self) -> None:
        """Forget what was sent."""
        super().restart()
        self._held = False
        self.gripper.restart()

    def send(self, command: Command) -> None:
        """Send a set-point."""
        if self._hand in command.names:
            value = float(command.position[command.names.index(self._hand)])
            if self._hand != GRIPPER and not self._held:
                self._held = True
                self.gripper.hold(value)
            if self._hand != GRIPPER:
                self.gripper.send(value, command.stamp)
            elif self.tells_gripper(command):
                ends = self._settings.gripper_values
                self.gripper.send(float(np.interp(value, (-1.0, 1.0), ends)), command.stamp)
        self.send_axes(command, self._columns)

    def repeat(self, now: float) -> None:
        """Send the set-point for a while from ``now`` [s], or from when it rests."""
        self.moves, self._moving_until = True, now + ZEROS_S

    def go_on_repeating(self, command: Command, axes: list[int]) -> None:
        """Let that last until the set-point has rested for a while.

        Without ``repeat`` a place is sent no more once it rests: it would pull back a robot that
        others move.
        """
        if self.moves:
            self.wants(command.velocity[axes], command.stamp)

    def wants(self, velocity: np.ndarray, stamp: float) -> bool:
        """Return whether ``velocity`` [M] at ``stamp`` [s] has to be sent: motion, then zeros."""
        if velocity.any():
            self._moving_until = stamp + ZEROS_S
            self.moves = True
        else:
            # The clock may have jumped back.
            begin = self._moving_until - ZEROS_S
            self.moves = self.moves and begin <= stamp < self._moving_until
        return self.moves
