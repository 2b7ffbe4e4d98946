# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Bring up the graph with the simulated robot: ``ros2 launch efficient_vla sim.launch.py``."""

import runpy
from pathlib import Path

from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from efficient_vla.sim.catalogue import DEFAULT_ROBOT, node_name, robots
from efficient_vla.sim.settings import MODES, RENDERINGS
from launch import LaunchContext, LaunchDescription

BRINGUP = runpy.run_path(str(Path(__file__).with_name('bringup.launch.py')))

ARGUMENTS = {
    'task': ('task', '', 'Task of the first episode; empty: the first.', None),
    'seed': ('seed', '0', 'Seed of the first episode.', None),
    'render': (
        'camera.render',
        'fast',
        "default is Meta-World's own rendering, fast leaves shadows out.",
        RENDERINGS,
    ),
    'mode': ('mode', 'realtime', 'lockstep lets simulated time wait for the graph.', MODES),
    'real_time_factor': (
        'real_time_factor',
        '1.0',
        'Simulated seconds in one second; other than 1.0 makes time simulated.',
        None,
    ),
}
"""Argument -> parameter of the simulated robot, default, description, choices."""


def launch_arguments() -> list[DeclareLaunchArgument]:
    """Declare what a user chooses: the arguments of bringup and the simulation's."""
    others = [a for a in BRINGUP['launch_arguments']() if a.name != 'robot']
    return [
        *others,
        DeclareLaunchArgument(
            'robot', default_value=DEFAULT_ROBOT, choices=robots(), description='Simulated robot.'
        ),
        *(
            DeclareLaunchArgument(name, default_value=default, choices=choices, description=text)
            for name, (_, default, text, choices) in ARGUMENTS.items()
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Return arguments and the function that reads them."""
    return LaunchDescription([*launch_arguments(), OpaqueFunction(function=bring_up)])


def bring_up(context: LaunchContext) -> list[Action]:
    """Return the processes of the graph with the simulated robot."""
    chosen = {a.name: LaunchConfiguration(a.name).perform(context) for a in launch_arguments()}
    driver = node_name(chosen['robot'])
    words = [f'{driver}.{parameter}={chosen[name]}' for name, (parameter, *_) in ARGUMENTS.items()]
    chosen['overrides'] = ' '.join([*words, chosen['overrides']])
    found: list[Action] = BRINGUP['actions'](chosen)
    return found
