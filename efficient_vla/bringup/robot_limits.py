# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the description of a robot is, and the limits that the controller takes from it."""

from collections.abc import Mapping, Sequence
from typing import Any

from efficient_vla.columns import GRIPPER, axes_of
from efficient_vla.control.robot_limits.combined import braking_as_accelerated, described_limits
from efficient_vla.control.robot_limits.moveit import read_joint_limits
from efficient_vla.control.robot_limits.urdf import read_urdf, text_of
from efficient_vla.control.settings import LimitSettings, axes, braking_times

SOURCES = ('robot_description', 'joint_limits')
"""Parameters that hold a description, or name its file."""
SHOWN = ('position_low', 'position_high', 'max_velocity', 'max_acceleration', 'max_jerk')
LISTS = ('names', 'driver.joint_names')
TOPIC = 'robot_description_topic'


def is_described(values: Mapping[str, Any]) -> bool:
    """Return whether parameters of the controller say where its limits are."""
    return any(values.get(name) for name in (*SOURCES, TOPIC))


def limited(name: str) -> bool:
    """Return whether the parameter ``name`` may follow from a description."""
    return name.startswith('limits.') or name == 'continuous'


def completed(values: Mapping[str, Any], description: str = '') -> dict[str, Any]:
    """Return parameters of the controller with the limits that nobody set but its robot's.

    ``description`` is the URDF that came on the topic. Where only the
    topic is named, nothing of the robot is added. Raises ``InvalidSettingError``.
    """
    given = {name: value for name, value in values.items() if limited(name)}
    lists = (*given.values(), *(values.get(name, ()) for name in LISTS))
    if not all(isinstance(value, (list, tuple)) for value in lists):
        return dict(values)  # The settings refuse them, and say it better.
    texts = [text_of(name, values.get(name)) for name in SOURCES]
    texts[0] = description or texts[0]
    if values.get(TOPIC) and not texts[0]:
        return {**braking_as_accelerated(given), **values}
    if not any(texts):
        return dict(values)
    joints = read_urdf(texts[0]) if texts[0] else {}
    limits = read_joint_limits(texts[1]) if texts[1] else {}
    return {**values, **described_limits(_axes(values), joints, limits, given)}


def limit_lines(names: Sequence[str], limits: LimitSettings) -> list[str]:
    """Return what the limits of each axis of ``names`` are, and how long it brakes."""
    moved = axes_of(names)
    columns = [axes(getattr(limits, name), len(moved)) for name in SHOWN]
    times = axes(braking_times(limits), len(moved))
    if any(len(column) != len(moved) for column in (*columns, times)):
        return []  # The controller refuses lists of another length, and says it better.
    return [
        f'{name}: {low:g} to {high:g}, velocity {velocity:g}, acceleration {acceleration:g}, jerk '
        f'{jerk:g}; stands {time:.3g} s after full speed'
        for name, low, high, velocity, acceleration, jerk, time in zip(
            moved, *columns, times, strict=True
        )
    ]


def _axes(values: Mapping[str, Any]) -> dict[str, str]:
    """Return column -> joint of what is commanded; the settings refuse names that are malformed."""
    called = dict(
        word.split(':=')
        for word in map(str, values.get('driver.joint_names', ()))
        if word.count(':=') == 1
    )
    names = [str(name) for name in values.get('names', ()) if name != GRIPPER]
    return {name: called.get(name, name) for name in names}
