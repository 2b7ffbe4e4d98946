# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Nodes in a process of their own, as ``efficient_vla.nodes`` runs them, with faults on demand.

Whoever started the process sets the faults in a file that all share, and reads there how far the
robot was from what it was to do.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

VARIABLE = 'EFFICIENT_VLA_FAULTS'
"""Names the file."""
CLOCK, REJECTS, BLOCKED, LOST, DEAF, ERROR, OUTSIDE = range(7)
"""Places in the file: how far the clock is set [s], whether trajectories are rejected, the joint
that is blocked (from 1 on), the share of messages that is lost, how long a driver takes no
trajectories after the first [s]; largest following error, and largest distance of the driver's
reference from what it was sent [rad]."""
COUNT = 7
DRIVER_TOPICS = ('joint_states', 'controller_state', 'speed_scaling')


def shared(path: Path, mode: Any = 'r+') -> Any:
    """Return the faults in a file, float64 [COUNT]."""
    return np.memmap(path, np.float64, mode, shape=(COUNT,))


def _put(owner: Any, **changed: Any) -> None:
    for name, value in changed.items():
        setattr(owner, name, value)


def set_clock(faults: Any) -> None:
    """Let all clocks but steady ones be set by what the faults say."""
    from rclpy.clock import Clock
    from rclpy.clock_type import ClockType
    from rclpy.time import Time

    read, nanoseconds = Clock.now, time.time_ns

    def off() -> int:
        return round(float(faults[CLOCK]) * 1e9)

    def now(clock: Any) -> Any:
        shown = read(clock)
        if clock.clock_type == ClockType.STEADY_TIME:
            return shown
        return Time(nanoseconds=shown.nanoseconds + off(), clock_type=clock.clock_type)

    _put(Clock, now=now)
    # The control loop reads that of the system by a shorter way.
    _put(time, time_ns=lambda: nanoseconds() + off())


def lose_messages(faults: Any) -> None:
    """Lose a share of the trajectories, all at first, and of what the driver says all the time."""
    from rclpy.publisher import Publisher

    from efficient_vla.nodes.robot.drivers.trajectories import TrajectoryDriver

    random.seed(0)
    take, publish = TrajectoryDriver._take, Publisher.publish
    heard: list[float] = []

    def taken(driver: Any, message: Any) -> None:
        heard[:] = heard or [time.monotonic()]
        deaf = time.monotonic() - heard[0] < faults[DEAF]
        if not deaf and random.random() >= faults[LOST]:
            take(driver, message)

    def published(publisher: Any, message: Any) -> None:
        stays = not publisher.topic_name.endswith(DRIVER_TOPICS)
        if stays or random.random() >= faults[LOST]:
            publish(publisher, message)

    # Looked up by name where the driver subscribes.
    _put(TrajectoryDriver, _take=taken)
    _put(Publisher, publish=published)


def reject_trajectories(faults: Any) -> None:
    """Let the trajectory controller reject what it is sent."""
    from efficient_vla.sim.drivers.joint_trajectory_controller import JointTrajectoryController

    refuse = JointTrajectoryController.refuse

    def refused(controller: Any, *given: Any) -> str | None:
        return 'its hardware is in error' if faults[REJECTS] else refuse(controller, *given)

    _put(JointTrajectoryController, refuse=refused)


def block_joints(faults: Any) -> None:
    """Let a joint stay where it is, and let no episode end."""
    from efficient_vla.sim.arms.scene import ArmScene

    step = ArmScene.step

    def stepped(scene: Any, command: np.ndarray) -> None:
        joint = int(faults[BLOCKED]) - 1
        place = scene.data.qpos[scene._positions[joint]]
        step(scene, command)
        if joint >= 0:
            scene.data.qpos[scene._positions[joint]] = place
            number = scene.model.actuator_trnid[joint, 0]
            scene.data.qvel[scene.model.jnt_dofadr[number]] = 0.0

    _put(ArmScene, step=stepped, done=property(lambda scene: False))


def note_largest(faults: Any) -> None:
    """Keep the largest following error, and how far the driver's reference was off."""
    from efficient_vla.nodes.controller import robot_state
    from efficient_vla.nodes.controller.feedback import DriverFeedback

    following: Callable[..., float] = robot_state.following_error
    outside: Callable[..., Any] = DriverFeedback._outside

    def followed(*given: Any) -> float:
        error = following(*given)
        faults[ERROR] = max(faults[ERROR], error)
        return error

    def off(*given: Any) -> Any:
        found = outside(*given)
        if found is not None:
            faults[OUTSIDE] = max(faults[OUTSIDE], float(found.max()))
        return found

    _put(robot_state, following_error=followed)
    _put(DriverFeedback, _outside=off)


def main() -> int:
    """Run the nodes that the words of the command line name; return the exit code."""
    from efficient_vla.nodes.__main__ import main as run

    faults = shared(Path(os.environ[VARIABLE]))
    set_clock(faults)
    if 'controller' in sys.argv:
        note_largest(faults)
    else:
        lose_messages(faults)
        reject_trajectories(faults)
        block_joints(faults)
    return run()


if __name__ == '__main__':
    sys.exit(main())
