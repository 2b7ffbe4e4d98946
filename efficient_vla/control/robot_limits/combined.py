# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The settings ``limits.*`` that follow from a robot's description.

Of URDF and ``joint_limits.yaml`` the tighter limit holds. What the profile sets holds whatever they
say. A limit that nobody says is refused, never made up; only an arm that nobody says how to brake
brakes as hard as it accelerates.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from efficient_vla.control.robot_limits.urdf import MOVING, DescribedJoint
from efficient_vla.settings import InvalidSettingError

Limits = Mapping[str, Mapping[str, float]]
PARAMETERS = {
    'velocity': 'limits.max_velocity',
    'acceleration': 'limits.max_acceleration',
    'jerk': 'limits.max_jerk',
    'low': 'limits.position_low',
    'high': 'limits.position_high',
}
STOP = 'limits.stop_deceleration'
UNSAID = {
    'velocity': 'velocity of <limit> in robot_description, nor max_velocity in joint_limits',
    'acceleration': 'max_acceleration in joint_limits',
    'jerk': 'max_jerk in joint_limits',
    'low': 'range in robot_description, nor min_position in joint_limits',
    'high': 'range in robot_description, nor max_position in joint_limits',
}


def described_limits(
    axes: Mapping[str, str],
    joints: Mapping[str, DescribedJoint],
    limits: Limits,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Return parameter -> value of each axis, for those that are not ``given``.

    ``axes`` maps columns of the command to names of joints; ``joints`` are those of a URDF, empty
    without one, and ``limits`` those of a ``joint_limits.yaml``. Raises ``InvalidSettingError``
    naming the joint and the parameter that is missing.
    """
    for joint in axes.values():
        _refuse_joint(joint, joints, limits)
    found: dict[str, Any] = {}
    for kind, parameter in PARAMETERS.items():
        if parameter not in given:
            found[parameter] = tuple(_limit(kind, joint, joints, limits) for joint in axes.values())
    found |= braking_as_accelerated({**given, **found})
    endless = {axis for axis, joint in axes.items() if _endless(joints.get(joint))}
    turning = endless | set(given.get('continuous', ()))
    if turning:
        found['continuous'] = tuple(axis for axis in axes if axis in turning)
    return found


def braking_as_accelerated(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the deceleration where the acceleration alone is given."""
    acceleration = given.get(PARAMETERS['acceleration'])
    return {} if acceleration is None or STOP in given else {STOP: tuple(acceleration)}


def _limit(kind: str, joint: str, joints: Mapping[str, DescribedJoint], limits: Limits) -> float:
    """Return the tighter limit of both descriptions."""
    said = [limits[joint][kind]] if kind in limits.get(joint, {}) else []
    described = getattr(joints.get(joint), kind, None)
    if described is not None:
        said.append(described)
    if not said:
        raise InvalidSettingError(
            f'joint {joint!r} has no {UNSAID[kind]}. Set {PARAMETERS[kind]} in the profile, from '
            'what the maker of the arm publishes.'
        )
    return max(said) if kind == 'low' else min(said)


def _endless(joint: DescribedJoint | None) -> bool:
    return joint is not None and joint.kind == 'continuous'


def _refuse_joint(joint: str, joints: Mapping[str, DescribedJoint], limits: Limits) -> None:
    known: Sequence[str] = list(joints) if joints else list(limits)
    if joint not in known:
        near = get_close_matches(joint, known, 1)
        meant = f'did you mean {near[0]}? Its' if near else 'its'
        source = 'robot_description' if joints else 'joint_limits'
        raise InvalidSettingError(
            f'{joint!r} of names is no joint of {source} that moves ({", ".join(MOVING)}); {meant} '
            f'joints are {", ".join(known)}. Correct names, or say in driver.joint_names what the '
            'driver calls it.'
        )
    if joint in joints and joints[joint].mimics:
        raise InvalidSettingError(
            f'joint {joint!r} of names follows {joints[joint].mimics!r} (mimic) and cannot be '
            'commanded. Leave it out of names.'
        )
