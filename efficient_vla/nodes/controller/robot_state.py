# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a joint state of the robot means beside the set-point: read, kept, moved or too far."""

import numpy as np
from sensor_msgs.msg import JointState

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.columns import GRIPPER
from efficient_vla.control.controller import Controller
from efficient_vla.control.limits import outside
from efficient_vla.control.state import State
from efficient_vla.control.stopping import STALE_S
from efficient_vla.control.whereabouts import Whereabouts
from efficient_vla.nodes.base.conversions import joint_values
from efficient_vla.nodes.base.joint_states import JointStates

SAG_M = 0.1
"""No robot sags more where following_error is off [m or rad]."""
RECENT_AGES = np.arange(0.0, 0.5, 0.02).tolist()
"""A set-point that the robot reports may be one of so long ago [s]."""
SENT_S = 0.1
"""So long before it measured, and robot_delay, a set-point may be on its way to the robot."""


def read_state(
    watch: Whereabouts,
    states: JointStates,
    message: JointState,
    stamp: float,
    now: float,
    controller: Controller,
    max_age: float,
) -> bool:
    """Take a state of ``stamp`` that came at ``now`` [s]; return whether it makes one of all axes.

    A robot reports ``setpoint_NAME`` beside its measured position, or its position alone. Raises
    ``InvalidRecordError`` for a bad one, ``AbsentNamesError`` for one of other joints.
    """
    named = [f'setpoint_{name}' for name in controller.names if name != GRIPPER]
    taken = states.take(message, stamp, max_age)
    if taken is None:
        return False
    told = controller.attitude.observed
    reported = told(joint_values(message, named)) if named[0] in message.name else None
    max_future = controller.settings.watchdog.max_future
    watch.read(told(taken), reported, stamp, now, controller.limits, max_future)
    return True


def slow(interval: float, settings: ControllerNodeSettings) -> str | None:
    """Return that states come too seldom, ``interval`` [s], to stop by them, or ``None``."""
    if interval <= STALE_S or not settings.state_timeout:
        return None
    return (
        f'robot_state came after {interval:.2f} s; expected {STALE_S} s or less: a stop brakes the '
        'set-point alone where the robot may be elsewhere. Let its driver publish more often.'
    )


def observe(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings, now: float
) -> None:
    """Learn what the robot sags, and tell ``controller`` how it moves."""
    axes, velocity, _ = controller.motion
    watch.settle(axes, velocity, settings.following_error or SAG_M)
    furthest = settings.following_error
    if furthest:
        # One that is blocked is still to be believed where it is stopped for that.
        late = controller.setpoint(watch.time - settings.robot_delay)
        furthest += float((np.abs(axes - late) + SENT_S * np.abs(velocity)).max())
    controller.observe(watch.motion(axes, now, furthest))


def moved_by_others(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings, now: float
) -> bool:
    """Return whether the set-point has to follow the robot to where somebody else put it."""
    limit = settings.reset_distance
    if watch.doubted(now):
        return False
    if watch.noticed(now):
        places = [controller.setpoint(now - age) for age in RECENT_AGES]
        # One state alone may be wrong.
        return watch.leapt < now and all(watch.moved(place, limit, True) for place in places)
    drifts = settings.sends_velocities
    # A robot that follows velocities is not where their sum is.
    free = controller.state != State.TRACKING if drifts else not controller.enabled
    if not (free or watch.put_elsewhere(now)) or not controller.at_rest:
        return False
    if watch.exact and not watch.slipped(_sent(controller, watch, settings)):
        # It has only not yet said that it came to rest.
        return False
    return watch.moved(controller.motion[0], limit, drifts)


def slipped(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings, now: float
) -> bool:
    """Return whether a robot that waits for its first chunk has another set-point than it was sent.

    It was enabled before it could say where a reset had put it.
    """
    waits = controller.state == State.WAITING and controller.at_rest and not watch.doubted(now)
    return waits and watch.slipped(_sent(controller, watch, settings))


def keeps_setpoint(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings
) -> bool:
    """Return whether a start goes on from the set-point that is held: the robot is nearly there."""
    if settings.sends_velocities:
        return False
    if watch.exact:
        return not watch.slipped(_sent(controller, watch, settings))
    if watch.begins:
        return False
    return not watch.moved(controller.motion[0], settings.reset_distance, False)


def following_error(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings, now: float
) -> float:
    """Return how far the robot was from its set-point when it measured, 0 where it is not asked.

    One that follows velocities drifts; its error is that of its way over the last ``DRIFT_S``.
    """
    if settings.following_error == 0 or (watch.put_elsewhere(now) and watch.doubted(now)):
        return 0.0
    delay = settings.robot_delay
    if settings.sends_velocities:
        return watch.drift(
            lambda time: controller.setpoint(time - delay),
            lambda time: controller.turned(time - delay),
        )
    error = watch.error(controller.setpoint(watch.time - delay))
    # A set-point of its own that just leapt may be that of an episode that begins.
    if not watch.exact or watch.leapt_lately(now):
        return error
    return max(error, watch.apart(_sent(controller, watch, settings)))


def judge(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings, now: float
) -> tuple[str | None, str | None]:
    """Return why the robot has to be stopped, and what to warn of before that."""
    if settings.dry_run or not controller.enabled:
        return None, None
    limit = settings.following_error
    error = following_error(controller, watch, settings, now)
    where = f' on {watch.furthest}' if watch.furthest else ''
    text = (
        f'robot is {error:.3f} from its set-point{where}; expected at most following_error {limit}'
    )
    if error > limit:
        return f'{text}. Free it, then call reset_stop and enable it.', None
    # A robot that follows velocities is not where its set-point is, which stays inside the box.
    if settings.sends_velocities:
        assert watch.measured is not None
        where = outside(watch.names, watch.measured, controller.limits, settings.stop_tolerance)
        if where:
            return (
                f'{where}; expected a robot inside of limits.position_low and position_high. '
                'Move it there, then call reset_stop and enable it.'
            ), None
    if error > limit / 2:
        return None, f'{text}. It stops there. Does it follow at all?'
    return None, None


def _sent(
    controller: Controller, watch: Whereabouts, settings: ControllerNodeSettings
) -> np.ndarray:
    """Return the set-points of which one had reached the robot when it measured [K, M]."""
    return controller.setpoints(watch.time - settings.robot_delay - SENT_S, watch.time)
