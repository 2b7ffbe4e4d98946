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

PARAMETERS = {
    'task': 'task',
    'seed': 'seed',
    'render': 'camera.render',
    'mode': 'mode',
    'real_time_factor': 'real_time_factor',
}
"""Argument -> parameter of the simulated robot."""


def launch_arguments() -> list[DeclareLaunchArgument]:
    """Declare what a user chooses: the arguments of bringup and the simulation's."""
    others = [a for a in BRINGUP['launch_arguments']() if a.name != 'robot']
    return [
        *others,
        DeclareLaunchArgument(
            'robot', default_value=DEFAULT_ROBOT, choices=robots(), description='Simulated robot.'
        ),
        DeclareLaunchArgument(
            'task', default_value='', description='Task of the first episode; empty: the first.'
        ),
        DeclareLaunchArgument('seed', default_value='0', description='Seed of the first episode.'),
        DeclareLaunchArgument(
            'render',
            default_value='fast',
            choices=RENDERINGS,
            description="default is Meta-World's own rendering, fast leaves shadows out.",
        ),
        DeclareLaunchArgument(
            'mode',
            default_value='realtime',
            choices=MODES,
            description='lockstep lets simulated time wait for the graph.',
        ),
        DeclareLaunchArgument(
            'real_time_factor',
            default_value='1.0',
            description='Simulated seconds in one second; other than 1.0 makes time simulated.',
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Return arguments and the function that reads them."""
    return LaunchDescription([*launch_arguments(), OpaqueFunction(function=bring_up)])


def bring_up(context: LaunchContext) -> list[Action]:
    """Return the processes of the graph with the simulated robot."""
    chosen = {a.name: LaunchConfiguration(a.name).perform(context) for a in launch_arguments()}
    driver = node_name(chosen['robot'])
    words = [f'{driver}.{parameter}={chosen[name]}' for name, parameter in PARAMETERS.items()]
    chosen['overrides'] = ' '.join([*words, chosen['overrides']])
    found: list[Action] = BRINGUP['actions'](chosen)
    return found
