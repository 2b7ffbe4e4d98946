# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Bring up the graph with the simulated robot: ``ros2 launch efficient_vla sim.launch.py``."""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from efficient_vla.sim.catalogue import DEFAULT_ROBOT, node_name, robots
from efficient_vla.sim.settings import MODES, RENDERINGS
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return the arguments of the simulation and the graph around it."""
    arguments = [
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
        DeclareLaunchArgument(
            'overrides',
            default_value='',
            description='Further parameters, as node.param=value words with blanks between them.',
        ),
    ]
    names = {
        'task': 'task',
        'seed': 'seed',
        'render': 'camera.render',
        'mode': 'mode',
        'real_time_factor': 'real_time_factor',
    }
    robot = (LaunchConfiguration('robot'), node_name(''))
    overrides = [
        part
        for argument, parameter in names.items()
        for part in (*robot, f'.{parameter}=', LaunchConfiguration(argument), ' ')
    ]
    bringup = IncludeLaunchDescription(
        # A plain path, so that --show-args lists the arguments of bringup as well.
        PythonLaunchDescriptionSource(str(Path(__file__).with_name('bringup.launch.py'))),
        launch_arguments={
            'robot': LaunchConfiguration('robot'),
            'overrides': [*overrides, LaunchConfiguration('overrides')],
        }.items(),
    )
    return LaunchDescription([*arguments, bringup])
