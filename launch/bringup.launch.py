# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Bring up the graph: ``ros2 launch efficient_vla bringup.launch.py``.

Processes, parameter files and environment come from ``efficient_vla.bringup.graph``, as they do for
``efficient-vla up``. The nodes configure and activate themselves when ``autostart`` is true.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from efficient_vla.bringup.enclaves import enclave
from efficient_vla.bringup.graph import (
    Graph,
    Process,
    describe,
    environment,
    options,
    parse_overrides,
    refuse_unsecured,
    selected,
)
from efficient_vla.bringup.node_arguments import LAUNCHER
from efficient_vla.bringup.parameter_files import held_in_memory, parameters_yaml
from efficient_vla.bringup.supervisor import FINAL_CODES, FIRST_DELAY_S, MAX_RESTARTS
from efficient_vla.places import share_folder
from launch import LaunchContext, LaunchDescription

PACKAGE = 'efficient_vla'
SWITCH = ('true', 'false')


def launch_arguments() -> list[DeclareLaunchArgument]:
    """Declare what a user chooses."""
    return [
        *(
            DeclareLaunchArgument(name, default_value=default, choices=choices, description=text)
            for name, default, text, choices in options()
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='false',
            choices=SWITCH,
            description='Take the time from /clock; the simulated robot then publishes it.',
        ),
        DeclareLaunchArgument(
            'simulate',
            default_value='false',
            choices=SWITCH,
            description='Start a stand-in of the driver of a robot that has no simulation.',
        ),
        DeclareLaunchArgument(
            'dry_run',
            default_value='false',
            choices=SWITCH,
            description='Send nothing to the robot and show the set-points on dry_run/command.',
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
            'overrides',
            default_value='',
            description='Parameters stronger than every file, as node.param=value words with '
            'blanks between them.',
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value='',
            description='Parameter files stronger than the profiles, with blanks between them.',
        ),
        DeclareLaunchArgument(
            'remaps',
            default_value='',
            description='Topics under other names, as from:=to words with blanks between them.',
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Return arguments and the function that reads them."""
    return LaunchDescription([*launch_arguments(), OpaqueFunction(function=bring_up)])


def bring_up(context: LaunchContext) -> list[Action]:
    """Return the processes of the graph that the arguments choose."""
    chosen = {a.name: LaunchConfiguration(a.name).perform(context) for a in launch_arguments()}
    return actions(chosen)


def actions(chosen: dict[str, str]) -> list[Action]:
    """Return the processes of the graph; raises ``ProfileError`` where an argument is wrong."""
    overrides = parse_overrides(chosen['overrides'].split())
    if chosen['dry_run'] == 'true':
        overrides['controller.dry_run'] = True
    graph = describe(
        selected(
            chosen,
            simulate=chosen['simulate'] == 'true',
            use_sim_time=chosen['use_sim_time'] == 'true',
            autostart=chosen['autostart'] == 'true',
            overrides=overrides,
            parameter_files=tuple(map(Path, chosen['params_file'].split())),
            remaps=tuple(chosen['remaps'].split()),
        )
    )
    refuse_unsecured(graph, os.environ)
    parameters = held_in_memory(parameters_yaml(graph.parameters))
    found: list[Action] = [LogInfo(msg=note) for note in graph.notes]
    for process in graph.processes:
        found += kept_running(lambda process=process: process_action(graph, process, parameters))
    return found + (viewer(graph) if chosen['rviz'] == 'true' else [])


def process_action(graph: Graph, process: Process, parameters: Path) -> Node:
    """Return the action that starts one process."""
    first, *others = process.nodes
    shared = {
        'package': PACKAGE,
        'executable': first,
        'namespace': graph.namespace,
        'parameters': [str(parameters)],
        'remappings': [tuple(remap.split(':=')) for remap in graph.remaps],
        'ros_arguments': [
            *('--log-level', graph.log_level),
            *('--enclave', enclave(graph.namespace, process.name)),
        ],
        'additional_env': {**environment(os.environ), LAUNCHER: str(os.getpid())},
        'output': 'screen',
    }
    if others:
        # launch_ros knows one node a process; several keep their own names and tell their own
        # lifecycle states on their own topics.
        return Node(arguments=others, **shared)
    return LifecycleNode(name=first, **shared)


def kept_running(make: Callable[[], Node], restarts: int = 0) -> list[Action]:
    """Return the action of a process and what starts it again when it dies.

    launch's own respawn does not look at the exit code: a configuration that is wrong or a package
    that is missing would be so again, without end.
    """
    node = make()

    def again(event: Any, context: LaunchContext) -> list[Action]:
        if context.is_shutdown or event.returncode in FINAL_CODES or restarts >= MAX_RESTARTS:
            return []
        delay = FIRST_DELAY_S * 2.0**restarts
        return [TimerAction(period=delay, actions=kept_running(make, restarts + 1))]

    return [node, RegisterEventHandler(OnProcessExit(target_action=node, on_exit=again))]


def viewer(graph: Graph) -> list[Action]:
    """Return RViz in the namespace and time of the graph, and a frame that it can be fixed to."""
    controller = graph.parameters['controller']
    shared = {'namespace': graph.namespace, 'output': 'screen'}
    clock = [{'use_sim_time': bool(controller.get('use_sim_time', False))}]
    # A robot of joints is drawn in the frame of its base.
    frame = str(graph.parameters['monitor'].get('arm.base') or controller['frame_id'])
    view = str(share_folder('rviz') / 'efficient_vla.rviz')
    # RViz shows nothing in a frame that no transform names.
    named = ['--frame-id', frame, '--child-frame-id', 'efficient_vla']
    return [
        Node(
            package='tf2_ros',
            executable='static_transform_publisher',
            arguments=named,
            parameters=clock,
            ros_arguments=['--enclave', enclave(graph.namespace, 'frames')],
            **shared,
        ),
        Node(
            package='rviz2',
            executable='rviz2',
            arguments=['-d', view, '-f', frame],
            parameters=clock,
            remappings=[tuple(remap.split(':=')) for remap in (*graph.remaps, *seen(graph))],
            ros_arguments=['--enclave', enclave(graph.namespace, 'observer')],
            **shared,
        ),
    ]


def seen(graph: Graph) -> tuple[str, ...]:
    """Return the remap that shows the first camera of a robot that calls its topic otherwise."""
    topics = graph.parameters['monitor'].get('camera_topics', ())
    return (f'camera/image_raw:={topics[0].partition(":=")[2]}',) if topics else ()
