# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The launch files start what the description says; records stand in for launch's actions.

test/launch runs the same files for real where launch_pytest is installed.
"""

import importlib.util
import os
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from efficient_vla.bringup.catalogue import KINDS
from efficient_vla.bringup.graph import ProfileError, Selection, describe, profiles
from efficient_vla.bringup.parameter_files import merge

LAUNCH = Path(__file__).resolve().parents[2] / 'launch'
NAMES = {
    'launch': ('LaunchContext', 'LaunchDescription'),
    'launch.action': ('Action',),
    'launch.actions': (
        'DeclareLaunchArgument',
        'LogInfo',
        'OpaqueFunction',
        'RegisterEventHandler',
        'TimerAction',
    ),
    'launch.event_handlers': ('OnProcessExit',),
    'launch.substitutions': ('LaunchConfiguration',),
    'launch_ros': (),
    'launch_ros.actions': ('LifecycleNode', 'Node'),
}


class Record:
    """Keeps what it was made with; a launch configuration reads it from the context."""

    def __init__(self, *values: Any, **named: Any) -> None:
        self.values = values
        self.named = named

    def perform(self, context: dict[str, str]) -> str:
        return context[self.values[0]]

    @property
    def name(self) -> str:
        return str(self.values[0])


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports a launch file over records."""
    for module, names in NAMES.items():
        made = ModuleType(module)
        for name in names:
            setattr(made, name, type(name, (Record,), {}))
        monkeypatch.setitem(sys.modules, module, made)

    def load_file(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, LAUNCH / f'{name}.launch.py')
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_file


def defaults(arguments: list[Record]) -> dict[str, str]:
    """Return the default of every launch argument."""
    return {argument.name: argument.named['default_value'] for argument in arguments}


def nodes(actions: list[Record]) -> list[Record]:
    """Return the actions that start a process."""
    return [action for action in actions if 'executable' in action.named]


@pytest.mark.parametrize('name', ['bringup', 'sim'])
def test_every_argument_has_a_description_and_a_valid_default(load: Any, name: str) -> None:
    declared = load(name).launch_arguments()
    for argument in declared:
        assert len(argument.named['description']) > 10
        choices = argument.named.get('choices')
        assert choices is None or argument.named['default_value'] in choices
    names = [argument.name for argument in declared]
    assert len(names) == len(set(names))
    shared = {'hardware', 'policy', 'namespace', 'use_sim_time', 'autostart', 'rviz', 'log_level'}
    assert set(names) >= shared | {'overrides', 'params_file', 'remaps'}


@pytest.mark.parametrize('hardware', profiles('hardware'))
def test_bringup_starts_the_processes_of_the_description(load: Any, hardware: str) -> None:
    bringup = load('bringup')
    context = {**defaults(bringup.launch_arguments()), 'hardware': hardware, 'namespace': 'left'}
    started = nodes(bringup.bring_up(context))
    graph = describe(Selection(hardware=hardware, namespace='left'))
    words = [(a.named['executable'], *a.named.get('arguments', ())) for a in started]
    assert words == [process.nodes for process in graph.processes]
    for action, process in zip(started, graph.processes, strict=True):
        (parameters,) = action.named['parameters']
        node = process.nodes[0]
        assert merge([Path(parameters)], KINDS, [node]).values[node] == graph.parameters[node]
        assert action.named['namespace'] == '/left'
        assert action.named['additional_env']['EFFICIENT_VLA_LAUNCHER'] == str(os.getpid())
        assert 'respawn' not in action.named
        kind = 'LifecycleNode' if len(process.nodes) == 1 else 'Node'
        assert type(action).__name__ == kind


def test_no_file_is_left_where_a_launch_is_killed(load: Any, tmp_path: Path) -> None:
    """A folder of files would stay; a descriptor ends with its process."""
    before = set(Path(tempfile.gettempdir()).glob('*vla_*'))
    bringup = load('bringup')
    action = nodes(bringup.bring_up(defaults(bringup.launch_arguments())))[0]
    assert set(Path(tempfile.gettempdir()).glob('*vla_*')) == before
    assert action.named['parameters'][0].startswith(f'/proc/{os.getpid()}/fd/')


def test_arguments_reach_the_parameters(load: Any, tmp_path: Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('reasoner:\n  ros__parameters: {max_rate: 3}\n')
    bringup = load('bringup')
    context = {
        **defaults(bringup.launch_arguments()),
        'use_sim_time': 'true',
        'autostart': 'false',
        'overrides': 'actor.rate=7.0  metaworld_robot.task=door-open-v3',
        'params_file': str(own),
        'remaps': 'robot_state:=/joint_states command:=/arm/command',
    }
    first, *_ = nodes(bringup.bring_up(context))
    text = Path(first.named['parameters'][0]).read_text()
    assert 'rate: 7.0' in text
    assert 'max_rate: 3.0' in text
    assert "task: 'door-open-v3'" in text
    assert 'autostart: false' in text
    assert 'use_sim_time: true' in text
    assert first.named['remappings'] == [
        ('robot_state', '/joint_states'),
        ('command', '/arm/command'),
    ]


@pytest.mark.parametrize('simulated', ['true', 'false'])
def test_viewer_has_namespace_clock_and_a_frame_that_exists(load: Any, simulated: str) -> None:
    bringup = load('bringup')
    context = {**defaults(bringup.launch_arguments()), 'rviz': 'true', 'namespace': 'left'}
    context |= {'use_sim_time': simulated, 'overrides': 'controller.frame_id=base'}
    *_, frame, rviz = nodes(bringup.bring_up(context))
    assert rviz.named['executable'] == 'rviz2'
    assert rviz.named['arguments'][2:] == ['-f', 'base']
    assert frame.named['arguments'][:2] == ['--frame-id', 'base']
    for action in (frame, rviz):
        assert action.named['namespace'] == '/left'
        assert action.named['parameters'] == [{'use_sim_time': simulated == 'true'}]


def test_viewer_sees_a_robot_of_joints_where_its_profile_has_it(load: Any, tmp_path: Path) -> None:
    bringup = load('bringup')
    own = tmp_path / 'own.yaml'
    own.write_text("/**:\n  ros__parameters:\n    camera_topics: ['front:=/front/image_raw']\n")
    context = {**defaults(bringup.launch_arguments()), 'rviz': 'true', 'robot': 'ur5e'}
    context |= {'params_file': str(own), 'remaps': 'markers:=drawn'}
    *_, frame, rviz = nodes(bringup.bring_up(context))
    assert rviz.named['arguments'][2:] == ['-f', 'base_link']
    assert frame.named['arguments'][:2] == ['--frame-id', 'base_link']
    assert rviz.named['remappings'][0] == ('markers', 'drawn')
    assert rviz.named['remappings'][-1] == ('camera/image_raw', '/front/image_raw')


def test_process_starts_again_unless_that_cannot_help(load: Any) -> None:
    bringup = load('bringup')
    made: list[Record] = []

    def make() -> Record:
        made.append(Record())
        return made[-1]

    def after(code: int, handler: Record, shutdown: bool = False) -> Any:
        event, context = SimpleNamespace(returncode=code), SimpleNamespace(is_shutdown=shutdown)
        return handler.values[0].named['on_exit'](event, context)

    node, handler = bringup.kept_running(make)
    assert handler.values[0].named['target_action'] is node
    for code in (0, 2):
        assert after(code, handler) == []
    assert after(-9, handler, shutdown=True) == []
    delays = []
    while restart := after(-9, handler):
        (timer,) = restart
        delays.append(timer.named['period'])
        _, handler = timer.named['actions']
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2]
    assert len(made) == 6


def test_simulation_has_the_arguments_of_bringup_and_its_own(load: Any) -> None:
    bringup, sim = load('bringup'), load('sim')
    names = {argument.name for argument in sim.launch_arguments()}
    others = {argument.name for argument in bringup.launch_arguments()}
    assert names == others | {'task', 'seed', 'render', 'mode', 'real_time_factor'}
    context = {
        **defaults(sim.launch_arguments()),
        'task': 'door-open-v3',
        'seed': '4',
        'mode': 'lockstep',
        'overrides': 'actor.rate=9.0',
    }
    path = Path(nodes(sim.bring_up(context))[0].named['parameters'][0])
    values = merge([path], KINDS, ['metaworld_robot']).values['metaworld_robot']
    assert values['seed'] == 4
    assert values['mode'] == 'lockstep'
    assert values['task'] == 'door-open-v3'


@pytest.mark.parametrize(
    ('argument', 'text', 'sentence'),
    [
        ('seed', 'abc', "metaworld_robot: seed is 'abc' of type str; expected int"),
        ('seed', '', "seed is '' of type str; expected int"),
        ('real_time_factor', 'fast', 'real_time_factor is'),
        ('real_time_factor', '0', 'real_time_factor is 0'),
        ('remaps', 'a:b', "remap 'a:b' is not of the form from:=to"),
        ('params_file', '/nowhere.yaml', "'/nowhere.yaml' does not exist"),
        ('hardware', 'abacus', "hardware 'abacus' is unknown"),
        ('overrides', 'actor.rte=5.0', "actor: unknown parameter 'rte'"),
    ],
)
def test_wrong_argument_ends_the_launch_with_one_sentence(
    load: Any, argument: str, text: str, sentence: str
) -> None:
    sim = load('sim')
    with pytest.raises(ProfileError, match=re.escape(sentence)):
        sim.bring_up({**defaults(sim.launch_arguments()), argument: text})
