# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What every node of a graph publishes, hears, asks and carries out, for its security policy.

Names are those of the nodes before remaps: relative ones, and ``~/`` for a node's own. Services and
parameters that a node offers are all below its own name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from efficient_vla.bringup.catalogue import NODES, POLICY_NODES
from efficient_vla.bringup.ladder import ladder_file, read_ladder
from efficient_vla.bringup.settings import ControllerNodeSettings, DriverSettings, camera_topic
from efficient_vla.reasoning.subtasks.settings import SubtaskSettings
from efficient_vla.sim.catalogue import node_name, robots

NONE: frozenset[str] = frozenset()
Values = Mapping[str, Any]


def _names(*words: str) -> frozenset[str]:
    return frozenset(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interfaces:
    """Names of one node, or of several that share a process."""

    publishes: frozenset[str] = NONE
    hears: frozenset[str] = NONE
    """Topics."""
    offers: frozenset[str] = NONE
    asks: frozenset[str] = NONE
    """Services."""
    executes: frozenset[str] = NONE
    calls: frozenset[str] = NONE
    """Actions."""

    def __or__(self, other: 'Interfaces') -> 'Interfaces':
        """Return what either may do."""
        joined = {f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)}
        return Interfaces(**joined)


BARE = Interfaces(publishes=_names('/parameter_events'))
"""An onlooker, without services of its own."""
MANAGED = BARE | Interfaces(
    publishes=_names('/rosout', '/diagnostics', '~/transition_event'),
    hears=_names('/clock'),
    offers=_names('~/*'),
)
STAGE = MANAGED | Interfaces(publishes=_names('~/alive', 'efficiency'))
SWITCH = 'servo_node/switch_command_type'
"""Service by which MoveIt Servo is told what comes."""
DRIVER_TOPICS = ('program_running', 'safety_mode', 'robot_mode', 'speed_scaling')
"""Parameters ``driver`` of the controller that name topics."""
LADDER = ('get_parameters', 'set_parameters_atomically')
"""Services of a node whose parameters the degradation ladder lowers."""
DRAWN = _names('dry_run/command', 'dry_run/markers')
READING = (
    'get_state',
    'get_available_states',
    'get_available_transitions',
    'get_transition_graph',
    'get_parameters',
    'list_parameters',
    'describe_parameters',
    'get_parameter_types',
    'get_type_description',
)
"""Services of a node that change nothing."""


def moving(controller: Values) -> tuple[frozenset[str], frozenset[str]]:
    """Return topics and actions by which a controller with these parameters moves the robot."""
    if controller.get('dry_run', False):
        return DRAWN, NONE
    output = controller.get('output', 'command')
    if output == 'command':
        return _names('command'), NONE
    name = controller.get('driver.controller', DriverSettings().controller)
    topics, actions = {
        'joint_trajectory': (_names(f'{name}/joint_trajectory'), NONE),
        'follow_joint_trajectory': (NONE, _names(f'{name}/follow_joint_trajectory')),
        'forward': (_names('forward_command_controller/commands'), NONE),
        'twist': (_names('servo_node/delta_twist_cmds'), NONE),
    }[output]
    if controller.get('gripper_interface', 'topic') == 'topic':
        return topics | {'gripper_command'}, actions
    own = ControllerNodeSettings()
    return topics, actions | {controller.get('gripper_action', own.gripper_action)}


def asked_of_driver(controller: Values) -> frozenset[str]:
    """Return the services of the driver that a controller with these parameters calls."""
    if controller.get('dry_run', False) or controller.get('output', 'command') != 'twist':
        return NONE
    return _names(SWITCH)


def told_by_driver(controller: Values) -> frozenset[str]:
    """Return the topics of the driver that a controller with these parameters observes."""
    if controller.get('dry_run', False) or controller.get('output', 'command') == 'command':
        return NONE
    names = {controller.get(f'driver.{word}', '') for word in DRIVER_TOPICS}
    if controller.get('driver.observe_controller', False):
        name = controller.get('driver.controller', DriverSettings().controller)
        names.add(f'{name}/controller_state')
    return frozenset(names - {''})


def camera_topics(values: Values, cameras: tuple[str, ...]) -> frozenset[str]:
    """Return the topics of a policy's ``cameras``, for a node with these parameters."""
    topics, seen = values.get('camera_topics', ()), cameras or ('',)
    return frozenset(camera_topic(topics, seen, name) for name in seen)


def _lowered(monitor: Values) -> set[str]:
    """Return the nodes whose parameters the ladder lowers."""
    table = read_ladder(ladder_file(monitor.get('ladder.file', '')))
    return {step.node for step in table.steps.values()}


def framed(values: Values) -> frozenset[str]:
    """Return the topics by which a stage with these parameters knows of frames and cameras."""
    infos = frozenset(values.get('camera_infos', ()))
    return infos | _names('/tf', '/tf_static') if infos or values.get('tool_frame') else NONE


def seen_by_server(reasoner: Values) -> frozenset[str]:
    """Return the topics of images that a reasoner with these parameters shows to a server."""
    shown = reasoner.get('subtasks.images', SubtaskSettings().images)
    return frozenset(shown) if reasoner.get('subtasks.server') else NONE


def of_graph(parameters: Mapping[str, Values], cameras: tuple[str, ...]) -> dict[str, Interfaces]:
    """Return node -> its interfaces in a graph with these parameters, whose policy has ``cameras``.

    Also of the nodes that look in from outside, and, of a robot that is not simulated, what is
    needed of its ``driver``.
    """
    given = {name: parameters.get(name, {}) for name in NODES}
    perception, actor, monitor = (given[name] for name in ('perception', 'actor', 'monitor'))
    topics, actions = moving(given['controller'])
    told, asked = told_by_driver(given['controller']), asked_of_driver(given['controller'])
    described = frozenset({given['controller'].get('robot_description_topic', '')} - {''})
    found = {
        'perception': STAGE
        | Interfaces(
            publishes=_names('visual_tokens'),
            hears=_names('robot_state') | camera_topics(perception, cameras),
        ),
        'reasoner': STAGE
        | Interfaces(
            publishes=_names('plan', 'plan_cache'),
            hears=_names(
                'visual_tokens', 'visual_tokens/signals_wanted', 'robot_state', 'instruction'
            )
            | framed(given['reasoner'])
            | seen_by_server(given['reasoner']),
        ),
        'actor': STAGE
        | Interfaces(
            publishes=_names('action_chunk'),
            hears=_names('plan', 'plan_cache', 'controller_status', 'robot_state', 'instruction')
            | camera_topics(actor, cameras)
            | framed(actor),
        ),
        'controller': MANAGED
        | Interfaces(
            publishes=_names('controller_status', 'efficiency', 'instruction') | topics,
            hears=_names('robot_state', 'action_chunk', 'task_success', '/diagnostics')
            | told
            | described,
            asks=asked,
            executes=_names('execute_task'),
            calls=actions,
        ),
        '_controller_liveliness': BARE | Interfaces(hears=_names('*/alive')),
        'monitor': MANAGED
        | Interfaces(
            publishes=_names('overlay', 'markers'),
            hears=_names(
                'efficiency',
                'visual_tokens',
                'plan',
                'robot_state',
                'instruction',
                'controller_status',
                'action_chunk',
                '/diagnostics',
            )
            | camera_topics(monitor, tuple(monitor.get('cameras', ())) or cameras[:1]),
            asks=_names(
                'controller/hold',
                *(f'{node}/{word}' for node in _lowered(monitor) for word in LADDER),
            ),
        ),
    }
    simulated = [name for name in map(node_name, robots()) if name in parameters]
    for name in simulated:
        behind = parameters[name].get('interface') == 'driver'
        found[name] = STAGE | Interfaces(
            publishes=_names('camera/image_raw', 'task_success', '/clock')
            | (told | {'joint_states'} if behind else {'robot_state'}),
            hears=_names('plan', 'controller_status') | (topics if behind else {'command'}),
            executes=actions,
        )
    if not simulated:
        found['driver'] = BARE | Interfaces(
            publishes=_names('/rosout', 'robot_state')
            | camera_topics(perception, cameras)
            | told
            | described,
            hears=topics - DRAWN,
            offers=_names('~/*') | asked,
            executes=actions,
        )
    found['frames'] = BARE | Interfaces(
        publishes=_names('/rosout', '/tf_static'), offers=_names('static_transform_publisher*/*')
    )
    nodes = (*POLICY_NODES, 'controller', *simulated, 'monitor')
    published = frozenset.union(*(each.publishes for each in found.values()))
    found['observer'] = BARE | Interfaces(
        publishes=_names('/rosout'),
        hears=frozenset(name for name in published if not name.startswith('~'))
        | _names('/clock', '/tf', '*/alive', '*/transition_event')
        | _names('robot_description', 'dry_run/robot_description'),
        # Tools come under many names.
        offers=_names('*/get_type_description', 'rviz2/*'),
        asks=frozenset(f'{node}/{service}' for node in nodes for service in READING),
    )
    found['operator'] = found['observer'] | Interfaces(
        asks=frozenset(f'{node}/*' for node in nodes), calls=_names('execute_task')
    )
    return found
