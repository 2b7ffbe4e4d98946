# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the rooms of the package stay apart."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from package_files import PACKAGE, ROOT, imports, module_name, sources, third_party

STAGES = ('perception', 'reasoning', 'action', 'control')
FAMILIES = {'lerobot', 'openvla', 'nora', 'serving'}
"""Rooms of policies that others train: each makes its stages of those of this package."""
PRODUCT = {'', *STAGES, *FAMILIES, 'compression', 'engines', 'sim', 'bringup'}
"""What runs on a robot, beside the nodes; '' are the modules of the package's own folder."""
TABLE = {
    'compression': {''},
    'engines': {''},
    **{family: {'', *STAGES[:3], 'compression'} for family in FAMILIES},
    'sim': {''},
    'bringup': {'', *STAGES, 'sim'},
    'nodes': PRODUCT,
    'training': PRODUCT,
    'bench': PRODUCT | {'nodes', 'training'},
    'cli': PRODUCT | {'nodes', 'training', 'bench'},
}
"""Room -> the rooms it may import; a stage imports none, see below."""
ASSEMBLY = (
    'presets', 'policy', 'checkpoint', 'assembly', 'addons', 'passthrough', 'frame_stages',
    'engined',
)  # fmt: skip
"""Modules of the package's own folder that know the stages; the others are the ground."""
ROOMS = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {'__pycache__'}
SIMULATORS = {'metaworld', 'mujoco', 'gymnasium', 'dm_control'}
ROS = {'rclpy', 'launch', 'launch_ros', 'ament_index_python', 'cv_bridge'}
GENERATED = {'efficient_vla.msg', 'efficient_vla.srv'}
FILES = sources(PACKAGE)
ALL_MODULES = {module_name(path): path for path in FILES}


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ''


def identify(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def loaded_with(module: str) -> set[str]:
    """Return the modules of the package that importing ``module`` loads, from their text."""
    waiting, seen = [module], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in ALL_MODULES:
            continue
        seen.add(name)
        waiting += imports(ALL_MODULES[name], only_at_load=True)
        waiting.append(name.rpartition('.')[0])
    return seen


def test_only_nodes_talk_to_ros() -> None:
    offenders = {}
    for path in FILES:
        used = third_party(path) & ROS | {n for n in third_party(path) if n.endswith('_msgs')}
        used |= imports(path) & GENERATED
        if used and room_of(path) != 'nodes':
            offenders[identify(path)] = used
    assert not offenders


def test_only_sim_imports_a_simulator() -> None:
    offenders = {
        identify(path): third_party(path) & SIMULATORS
        for path in FILES
        if room_of(path) != 'sim' and third_party(path) & SIMULATORS
    }
    assert not offenders


@pytest.mark.parametrize('stage', STAGES)
def test_a_stage_imports_no_other_room(stage: str) -> None:
    offenders = {}
    for path in FILES:
        if room_of(path) != stage:
            continue
        wanted = imports(path) | loaded_with(module_name(path))
        rooms = {n.split('.')[1] for n in wanted if n.startswith('efficient_vla.')} & ROOMS
        if rooms - {stage}:
            offenders[identify(path)] = rooms - {stage}
    assert not offenders


def rooms_of(path: Path) -> set[str]:
    """Return the rooms whose modules a file imports, now or later; '' for the ground."""
    known = {name for name in imports(path) if name in ALL_MODULES and name != 'efficient_vla'}
    return {room_of(ALL_MODULES[name]) for name in known}


def test_the_table_names_every_room() -> None:
    assert {*TABLE, *STAGES} - FAMILIES == ROOMS - FAMILIES


@pytest.mark.parametrize('room', sorted(TABLE.keys() & ROOMS))
def test_a_room_imports_what_the_table_says(room: str) -> None:
    offenders = {
        identify(path): rooms_of(path) - TABLE[room] - {room}
        for path in FILES
        if room_of(path) == room
    }
    assert not {name: rooms for name, rooms in offenders.items() if rooms}


def test_the_ground_imports_no_room() -> None:
    offenders = {
        identify(path): rooms_of(path) - {''}
        for path in FILES
        if room_of(path) == '' and path.stem not in (*ASSEMBLY, '__init__', 'stages')
    }
    assert not {name: rooms for name, rooms in offenders.items() if rooms}


def test_no_stage_knows_the_policy_that_assembles_it() -> None:
    offenders = [
        identify(path)
        for path in FILES
        if room_of(path) in STAGES and 'efficient_vla.policy' in imports(path)
    ]
    assert not offenders


def torch_free_modules() -> list[str]:
    """Return what the processes of the controller and of the robot load."""
    control = [module_name(path) for path in sources(PACKAGE / 'control')]
    shells = ['controller.node', 'controller.task_server', 'robot.node', '__main__']
    nodes = [f'efficient_vla.nodes.{name}' for name in shells]
    nodes += [module_name(path) for path in sources(PACKAGE / 'bringup')]
    rest = ['efficient_vla', 'efficient_vla.types', 'efficient_vla.settings', 'efficient_vla.cli']
    return [*control, *nodes, *rest]


def test_the_controller_and_the_robot_never_load_torch() -> None:
    """Torch takes both cores while it computes and its import alone takes seconds."""
    code = (
        'import importlib, json, sys\n'
        'culprits = {}\n'
        f'for name in {torch_free_modules()!r}:\n'
        '    importlib.import_module(name)\n'
        '    if "torch" in sys.modules:\n'
        '        culprits = name\n'
        '        break\n'
        'print(json.dumps(culprits))\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}


def test_the_package_offers_policy_on_first_use_only() -> None:
    code = (
        'import sys, efficient_vla\n'
        'assert "efficient_vla.policy" not in sys.modules\n'
        'assert efficient_vla.Policy.__name__ == "Policy"\n'
        'assert "Policy" in efficient_vla.__all__\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_an_unknown_attribute_of_the_package_is_named() -> None:
    import efficient_vla

    with pytest.raises(AttributeError, match='Polycy'):
        _ = efficient_vla.Polycy
