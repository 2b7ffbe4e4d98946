# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the stand-in of an arm is started with: all of it follows from the arm's profile."""

from collections.abc import Iterable, Mapping
from typing import Any

from efficient_vla.bringup.catalogue import STAND_IN
from efficient_vla.bringup.settings import DriverSettings, camera_topic
from efficient_vla.columns import GRIPPER

SERVED = ('joint_trajectory', 'follow_joint_trajectory')
"""Outputs of the controller that the stand-in's driver follows."""


def refuse(controller: Mapping[str, Any]) -> str | None:
    """Return why an arm with this controller has no stand-in, or ``None``."""
    output = controller.get('output', 'command')
    if output in SERVED:
        return None
    return (
        f'controller.output is {output}, and the stand-in of an arm follows {", ".join(SERVED)}; '
        'expected that output. Change it in the profile of the robot, or leave --simulate out.'
    )


def parameters(values: Mapping[str, Mapping[str, Any]], cameras: tuple[str, ...]) -> dict[str, Any]:
    """Return what follows from node -> parameter -> value for a policy with ``cameras``."""
    controller, topics = values['controller'], values['perception'].get('camera_topics', ())
    columns = list(controller.get('names', ()))
    axes = [number for number, name in enumerate(columns) if name != GRIPPER]
    called = dict(word.split(':=') for word in controller.get('driver.joint_names', ()))
    names = [called.get(columns[number], columns[number]) for number in axes]
    low, high = (
        _each(controller.get(f'limits.position_{end}', ()), len(names)) for end in ('low', 'high')
    )
    home = [min(max(0.0, a), b) for a, b in zip(low, high, strict=True)] if low and high else [0.0]
    shown = cameras or tuple(word.partition(':=')[0] for word in topics)
    seen = [camera_topic(topics, shown, name) for name in shown or ('camera',)]
    own = controller.get('driver.controller', DriverSettings().controller)
    return {'names': names, 'home': home, 'controller': own, 'camera_topics': seen}


def remaps(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words that let it tell its joints where the graph hears them."""
    for word in words:
        name, _, to = word.rpartition(':=')
        if name.rpartition(':')[2].strip('/') == 'robot_state':
            return (f'{STAND_IN}:joint_states:={to}',)
    return (f'{STAND_IN}:joint_states:=robot_state',)


def _each(values: Any, count: int) -> list[float]:
    values = [float(value) for value in values]
    return values * count if len(values) == 1 else values if len(values) == count else []
