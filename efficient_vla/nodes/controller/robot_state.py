# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a joint state of the robot means beside the set-point: read, kept, moved or too far."""

import numpy as np
from sensor_msgs.msg import JointState

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.control.controller import Controller
from efficient_vla.control.limits import AxisLimits
from efficient_vla.control.state import State
from efficient_vla.control.whereabouts import Whereabouts
from efficient_vla.nodes.base.conversions import joint_values

SAG_M = 0.1
"""No robot sags more where following_error is off [m or rad]."""
RECENT_S = 0.5
RECENT_STEP_S = 0.02
"""A set-point that the robot reports may be one of the last so many seconds."""


def read_state(
    watch: Whereabouts, message: JointState, stamp: float, now: float, limits: list[AxisLimits]
) -> None:
    """Take a state of ``stamp`` that came at ``now`` [s].

    A robot reports ``setpoint_NAME`` beside its measured position, or its position alone. Raises
    ``InvalidRecordError`` for a bad one, ``AbsentNamesError`` for one of other joints.
    """
    named = [f'setpoint_{name}' for name in watch.names]
    measured = joint_values(message, watch.names)
    reported = joint_values(message, named) if named[0] in message.name else None
    watch.read(measured, reported, stamp, now, limits)


def observe(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings, now: float
) -> None:
    """Learn what the robot sags, and tell ``controller`` how it moves."""
    axes, velocity, _ = controller.motion
    watch.settle(axes, velocity, controller.enabled, settings.following_error or SAG_M)
    controller.observe(watch.motion(axes, now, settings.following_error))


def moved_by_others(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings, now: float
) -> bool:
    """Return whether the set-point has to follow the robot to where somebody else put it."""
    limit = settings.reset_distance
    if watch.doubted(now):
        return False
    if watch.noticed(now):
        ages = np.arange(0.0, RECENT_S, RECENT_STEP_S).tolist()
        return all(watch.moved(controller.setpoint(now - age), limit, True) for age in ages)
    drifts = settings.sends_velocities
    # A robot that follows velocities is not where their sum is.
    free = controller.state != State.TRACKING if drifts else not controller.enabled
    free = free or watch.put_elsewhere(now)
    return free and controller.at_rest and watch.moved(controller.motion[0], limit, drifts)


def keeps_setpoint(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings
) -> bool:
    """Return whether a start goes on from the set-point that is held: the robot is nearly there."""
    if watch.exact or settings.sends_velocities:
        return False
    return not watch.moved(controller.motion[0], settings.reset_distance, False)


def following_error(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings, now: float
) -> float:
    """Return how far the robot was from its set-point when it measured, 0 where it is not asked."""
    if (
        settings.following_error == 0
        or settings.dry_run
        or settings.sends_velocities
        or not controller.enabled
        or (watch.put_elsewhere(now) and watch.doubted(now))
    ):
        return 0.0
    return watch.error(controller.setpoint(watch.time - settings.robot_delay))
