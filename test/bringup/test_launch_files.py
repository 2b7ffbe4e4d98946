# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The launch files start what the description says; records stand in for launch's actions.

test/launch runs the same files for real where launch_pytest is installed.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from efficient_vla.bringup.graph import Selection, describe, profiles

LAUNCH = Path(__file__).resolve().parents[2] / 'launch'
NAMES = {
    'launch': ('LaunchContext', 'LaunchDescription'),
    'launch.action': ('Action',),
    'launch.actions': (
        'DeclareLaunchArgument',
        'IncludeLaunchDescription',
        'OpaqueFunction',
        'RegisterEventHandler',
    ),
    'launch.event_handlers': ('OnShutdown',),
    'launch.launch_description_sources': ('PythonLaunchDescriptionSource',),
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


def test_every_argument_has_a_description_and_a_valid_default(load: Any) -> None:
    bringup = load('bringup')
    sim = load('sim').generate_launch_description().values[0]
    declared = [a for a in sim if type(a).__name__ == 'DeclareLaunchArgument']
    for argument in [*bringup.launch_arguments(), *declared]:
        assert len(argument.named['description']) > 10
        choices = argument.named.get('choices')
        assert choices is None or argument.named['default_value'] in choices
    names = defaults(bringup.launch_arguments())
    assert set(names) >= {
        'robot',
        'hardware',
        'policy',
        'namespace',
        'use_sim_time',
        'autostart',
        'rviz',
        'log_level',
    }


@pytest.mark.parametrize('hardware', profiles('hardware'))
def test_bringup_starts_the_processes_of_the_description(load: Any, hardware: str) -> None:
    bringup = load('bringup')
    context = {**defaults(bringup.launch_arguments()), 'hardware': hardware, 'namespace': 'left'}
    *actions, cleanup = bringup.bring_up(context)
    graph = describe(Selection(hardware=hardware, namespace='left'))
    started = [(a.named['executable'], *a.named.get('arguments', ())) for a in actions]
    assert started == [process.nodes for process in graph.processes]
    for action, process in zip(actions, graph.processes, strict=True):
        *files, overrides = action.named['parameters']
        assert files == [str(path) for path in graph.parameter_files]
        assert Path(overrides).is_file()
        assert action.named['namespace'] == '/left'
        assert action.named['additional_env']['FASTDDS_DEFAULT_PROFILES_FILE']
        assert action.named['respawn'] is True
        kind = 'LifecycleNode' if len(process.nodes) == 1 else 'Node'
        assert type(action).__name__ == kind
    cleanup.values[0].named['on_shutdown']()
    assert not Path(overrides).exists()


def test_arguments_reach_the_parameters(load: Any) -> None:
    bringup = load('bringup')
    context = {
        **defaults(bringup.launch_arguments()),
        'use_sim_time': 'true',
        'autostart': 'false',
        'rviz': 'true',
        'overrides': 'actor.rate=7.0  metaworld_robot.task=door-open-v3',
    }
    *actions, viewer, _ = bringup.bring_up(context)
    text = Path(actions[0].named['parameters'][-1]).read_text()
    assert 'rate: 7.0' in text
    assert "task: 'door-open-v3'" in text
    assert 'autostart: false' in text
    assert 'use_sim_time: true' in text
    assert viewer.named['executable'] == 'rviz2'


def test_simulation_includes_bringup_with_its_arguments(load: Any) -> None:
    *_, include = load('sim').generate_launch_description().values[0]
    assert include.values[0].values[0] == str(LAUNCH / 'bringup.launch.py')
    given = dict(include.named['launch_arguments'])
    context = {
        'robot': 'metaworld',
        'task': 'reach-v3',
        'seed': '4',
        'render': 'fast',
        'mode': 'lockstep',
        'real_time_factor': '1.0',
        'overrides': 'actor.rate=9.0',
    }
    assert given['robot'].perform(context) == 'metaworld'
    words = ''.join(
        part if isinstance(part, str) else part.perform(context) for part in given['overrides']
    )
    assert words.split() == [
        'metaworld_robot.task=reach-v3',
        'metaworld_robot.seed=4',
        'metaworld_robot.camera.render=fast',
        'metaworld_robot.mode=lockstep',
        'metaworld_robot.real_time_factor=1.0',
        'actor.rate=9.0',
    ]
