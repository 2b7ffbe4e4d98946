# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Bring up the graph: ``ros2 launch efficient_vla bringup.launch.py``.

Processes, parameter files and environment come from ``efficient_vla.bringup.graph``, as they do for
``efficient-vla up``. The nodes configure and activate themselves when ``autostart`` is true.
"""

import os
import shutil
import tempfile
from pathlib import Path

from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnShutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from efficient_vla.bringup.graph import (
    LOG_LEVELS,
    Graph,
    Process,
    Selection,
    describe,
    environment,
    parameters_yaml,
    parse_overrides,
    profiles,
)
from efficient_vla.places import share_folder
from launch import LaunchContext, LaunchDescription

PACKAGE = 'efficient_vla'
SWITCH = ('true', 'false')
RESPAWN_DELAY_S = 0.5


def launch_arguments() -> list[DeclareLaunchArgument]:
    """Declare what a user chooses."""
    return [
        DeclareLaunchArgument(
            'robot',
            default_value='metaworld',
            description=f'Robot profile in config/robots ({", ".join(profiles("robots"))}), or a '
            '.yaml file like those for a robot with a driver of its own.',
        ),
        DeclareLaunchArgument(
            'hardware',
            default_value='cpu_2core',
            choices=profiles('hardware'),
            description='Machine profile, a file in config/hardware; decides which nodes share '
            'a process.',
        ),
        DeclareLaunchArgument(
            'policy',
            default_value='evla_nano',
            description='Policy profile, a file in config/policies '
            f'({", ".join(profiles("policies"))}), or a folder that holds policy.json.',
        ),
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of all nodes; empty: none.'
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='false',
            choices=SWITCH,
            description='Take the time from /clock; the simulated robot then publishes it.',
        ),
        DeclareLaunchArgument(
            'autostart',
            default_value='true',
            choices=SWITCH,
            description='Nodes configure and activate themselves; false leaves that to you.',
        ),
        DeclareLaunchArgument(
            'rviz',
            default_value='false',
            choices=SWITCH,
            description='Open RViz with rviz/efficient_vla.rviz.',
        ),
        DeclareLaunchArgument(
            'log_level',
            default_value='info',
            choices=LOG_LEVELS,
            description='Least level that nodes log.',
        ),
        DeclareLaunchArgument(
            'overrides',
            default_value='',
            description='Parameters stronger than every file, as node.param=value words with '
            'blanks between them.',
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Return arguments and the function that reads them."""
    return LaunchDescription([*launch_arguments(), OpaqueFunction(function=bring_up)])


def bring_up(context: LaunchContext) -> list[Action]:
    """Return the processes of the chosen graph."""
    chosen = {a.name: LaunchConfiguration(a.name).perform(context) for a in launch_arguments()}
    graph = describe(
        Selection(
            robot=chosen['robot'],
            hardware=chosen['hardware'],
            policy=chosen['policy'],
            namespace=chosen['namespace'],
            use_sim_time=chosen['use_sim_time'] == 'true',
            autostart=chosen['autostart'] == 'true',
            log_level=chosen['log_level'],
            overrides=parse_overrides(chosen['overrides'].split()),
        )
    )
    folder = Path(tempfile.mkdtemp(prefix='efficient_vla_'))
    overrides = folder / 'overrides.yaml'
    overrides.write_text(parameters_yaml(graph))
    actions: list[Action] = [process_action(graph, one, overrides) for one in graph.processes]
    if chosen['rviz'] == 'true':
        view = share_folder('rviz') / 'efficient_vla.rviz'
        actions.append(Node(package='rviz2', executable='rviz2', arguments=['-d', str(view)]))

    def forget(*_: object) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    return [*actions, RegisterEventHandler(OnShutdown(on_shutdown=forget))]


def process_action(graph: Graph, process: Process, overrides: Path) -> Node:
    """Return the action that starts one process and starts it again when it dies."""
    first, *others = process.nodes
    shared = {
        'package': PACKAGE,
        'executable': first,
        'namespace': graph.namespace,
        'parameters': [*map(str, graph.parameter_files), str(overrides)],
        'ros_arguments': ['--log-level', graph.log_level],
        'additional_env': environment(os.environ),
        'output': 'screen',
        'respawn': process.respawn,
        'respawn_delay': RESPAWN_DELAY_S,
    }
    if others:
        # launch_ros knows one node a process; several keep their own names and tell their own
        # lifecycle states on their own topics.
        return Node(arguments=others, **shared)
    return LifecycleNode(name=first, **shared)
