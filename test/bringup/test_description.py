# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The description of the graph, the files in config/ and the settings classes say the same."""

import itertools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fixtures.policies import turning_arm, write_policy

from efficient_vla.bench import parameters_doc
from efficient_vla.bringup import graph as module
from efficient_vla.bringup.catalogue import KINDS, NODE_SETTINGS, STAND_IN
from efficient_vla.bringup.graph import (
    HARDWARE,
    Graph,
    ProfileError,
    Selection,
    describe,
    parse_overrides,
    profiles,
)
from efficient_vla.bringup.interfaces import of_graph
from efficient_vla.bringup.parameter_files import parameters_yaml
from efficient_vla.settings import build, flatten
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, OWN, node_name, simulation
from efficient_vla.sim.metaworld.tasks import TASKS
from efficient_vla.systems import SYSTEMS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'config'


def parameters(path: Path) -> dict[str, dict[str, Any]]:
    """Return node -> dotted parameter -> value of a ROS parameter file."""
    tree = yaml.safe_load(path.read_text())['/**']
    everywhere = dict(dotted(tree.pop('ros__parameters', {})))
    found = {node: dict(dotted(entry['ros__parameters'])) for node, entry in tree.items()}
    for node, known in KINDS.items():
        if shared := {name: value for name, value in everywhere.items() if name in known}:
            found[node] = shared | found.get(node, {})
    return found


def dotted(tree: dict[str, Any], prefix: str = '') -> Any:
    """Yield (dotted name, value) of a nested mapping."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from dotted(value, f'{prefix}{name}.')
        else:
            yield prefix + name, value


def effective(graph: Graph) -> dict[str, dict[str, Any]]:
    """Return what every node gets when later files are stronger."""
    values: dict[str, dict[str, Any]] = {node: {} for node in graph.nodes}
    for path in graph.parameter_files:
        for node, found in parameters(path).items():
            values.get(node, {}).update(found)
    for node, found in graph.parameters.items():
        values[node].update({k: v for k, v in found.items() if k != 'use_sim_time'})
    return values


def test_generated_files_are_those_of_the_settings_classes() -> None:
    for path, text in parameters_doc.generated(ROOT).items():
        assert path.read_text() == text, (
            f'{path} differs; run python -m efficient_vla.bench.parameters_doc'
        )


def test_the_page_says_which_parameters_only_the_graph_has() -> None:
    rows = [line.split(' | ') for line in parameters_doc.page().splitlines()]
    marks = {(row[0], row[3]) for row in rows if len(row) > 3}
    assert ('| `threads`', 'fixed, graph') in marks
    assert ('| `camera.render`', 'fixed, graph') in marks
    assert ('| `pruning.keep`', '') in marks


@pytest.mark.parametrize('node', parameters_doc.documented())
def test_default_file_holds_exactly_the_defaults(node: str) -> None:
    settings = build(NODE_SETTINGS[node], parameters(CONFIG / f'{node}.yaml')[node])
    assert flatten(settings) == flatten(build(NODE_SETTINGS[node], {}))


WHOLE = sorted(set(profiles('policies')) - set(SYSTEMS))
"""Profiles of policies that are there; test_systems.py makes those of systems."""


@pytest.mark.parametrize(
    ('robot', 'hardware', 'policy'),
    [
        *itertools.product([DEFAULT_ROBOT], profiles('hardware'), WHOLE),
        *itertools.product(sorted(set(OWN) - {DEFAULT_ROBOT}), profiles('hardware'), ['']),
    ],
)
def test_every_combination_of_profiles_is_a_valid_set(
    robot: str, hardware: str, policy: str, tmp_path: Path
) -> None:
    assert set(profiles('robots')) == set(OWN)
    joints = len(simulation(robot).command_names)
    policy = policy or str(turning_arm(robot, (0.1,) * joints, tmp_path))
    graph = describe(Selection(robot=robot, hardware=hardware, policy=policy))
    assert set(graph.nodes) <= set(NODE_SETTINGS)
    assert len(graph.nodes) == len(set(graph.nodes))
    for path in graph.parameter_files:
        assert set(parameters(path)) <= set(NODE_SETTINGS), path
    for node, values in effective(graph).items():
        build(NODE_SETTINGS[node], values)


def test_hardware_profiles_and_process_tables_belong_together() -> None:
    assert set(profiles('hardware')) == set(HARDWARE)
    for processes in HARDWARE.values():
        assert {node for p in processes for node in p.nodes} == set(module.POLICY_NODES)
    for hardware in HARDWARE:
        processes = describe(Selection(hardware=hardware)).processes
        others = {STAND_IN, *map(node_name, OWN)} - {node_name(DEFAULT_ROBOT)}
        assert {node for p in processes for node in p.nodes} == set(module.NODES) - others
        alone = next(p for p in processes if 'controller' in p.nodes)
        assert alone.nodes == ('controller',), 'inference would delay the control loop'


def test_later_files_are_stronger() -> None:
    graph = describe(Selection(hardware='cpu_2core', overrides={'actor.rate': 7.0}))
    names = [path.relative_to(CONFIG).as_posix() for path in graph.parameter_files]
    assert names[-3:] == [
        'hardware/cpu_2core.yaml',
        'robots/metaworld.yaml',
        'policies/evla_nano.yaml',
    ]
    values = effective(graph)
    assert values['metaworld_robot']['camera.render'] == 'fast'
    assert values['actor']['rate'] == 7.0


def test_simulated_time_is_one_decision_for_all_nodes() -> None:
    lockstep, slow = {'metaworld_robot.mode': 'lockstep'}, {'metaworld_robot.real_time_factor': 0.5}
    for overrides, use in (({}, True), (lockstep, False), (slow, False)):
        graph = describe(Selection(use_sim_time=use, overrides=overrides))
        clocks = {node: values['use_sim_time'] for node, values in graph.parameters.items()}
        assert clocks.pop('metaworld_robot') is False, 'who makes the clock cannot wait for it'
        assert set(clocks.values()) == {True}
        assert graph.parameters['metaworld_robot']['publish_clock'] is True


def test_own_robot_is_a_file_and_has_no_simulated_one(tmp_path: Path) -> None:
    own = tmp_path / 'my_arm.yaml'
    own.write_text((CONFIG / 'robots' / 'metaworld.yaml').read_text())
    graph = describe(Selection(robot=str(own)))
    assert own in graph.parameter_files
    assert graph.nodes == ('perception', 'reasoner', 'actor', 'controller', 'monitor')


def test_what_a_file_says_of_clock_and_start_is_not_overruled(tmp_path: Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('/**:\n  ros__parameters: {use_sim_time: true, autostart: false}\n')
    for selection, autostart in ((Selection(parameter_files=(own,)), False), (Selection(), True)):
        for values in describe(selection).parameters.values():
            assert values['autostart'] is autostart
            assert values.get('use_sim_time', False) is not autostart
    graph = describe(Selection(autostart=False))
    assert all(values['autostart'] is False for values in graph.parameters.values())


def test_lockstep_in_a_file_is_lockstep(tmp_path: Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('/**:\n  metaworld_robot:\n    ros__parameters: {mode: lockstep}\n')
    graph = describe(Selection(parameter_files=(own,)))
    assert graph.parameters['actor']['use_sim_time'] is True
    assert graph.parameters['metaworld_robot']['publish_clock'] is True
    with pytest.raises(ProfileError, match='time waits for commands'):
        describe(Selection(parameter_files=(own,), overrides={'controller.dry_run': True}))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('/**:\n  contoller:\n    ros__parameters: {rate: 50.0}\n', "mean 'controller'"),
        ('reasonner:\n  ros__parameters: {max_rate: 1.0}\n', "mean 'reasoner'"),
        ('/left/controler:\n  ros__parameters: {rate: 50.0}\n', "mean 'controller'"),
        ('/**:\n  controller:\n    limits: {max_velocity: [0.1]}\n', 'no ros__parameters above'),
        ('/**: [', 'is not YAML'),
        ('- controller\n', 'does not begin with the names of nodes'),
    ],
)
def test_files_that_ros_would_ignore_in_part_are_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text(text)
    for choice in ({'parameter_files': (own,)}, {'robot': str(own)}):
        with pytest.raises(ProfileError, match=words):
            describe(Selection(**choice))


def test_file_may_have_parameters_for_other_nodes(tmp_path: Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('joint_trajectory_controller:\n  ros__parameters: {joints: [a]}\n')
    assert own in describe(Selection(parameter_files=(own,))).parameter_files


def test_override_is_stronger_than_what_lockstep_implies() -> None:
    overrides = {'metaworld_robot.mode': 'lockstep', 'actor.rate': 7.0}
    parameters = describe(Selection(overrides=overrides)).parameters
    assert parameters['actor']['rate'] == 7.0
    assert parameters['reasoner']['max_rate'] == 1000.0


def test_policy_may_be_a_folder(tmp_path: Path) -> None:
    write_policy(tmp_path)
    graph = describe(Selection(policy=str(tmp_path)))
    assert graph.parameters['reasoner']['policy'] == str(tmp_path)
    assert 'policy' not in graph.parameters['controller']


def test_policy_may_be_the_name_of_a_shipped_one() -> None:
    graph = describe(Selection(policy='evla-nano'))
    assert graph.parameters['reasoner']['policy'] == str(ROOT / 'models' / 'evla-nano')


@pytest.mark.parametrize(
    ('robot', 'named'),
    [
        ('metaworld', 'evla-nano'),
        ('so101', str(ROOT / 'models/so101-act')),
        ('ur5e', str(ROOT / 'models/ur5e-nano')),
        ('panda', str(ROOT / 'models/panda-nano')),
    ],
)
def test_a_robot_has_the_policy_that_ships_for_it(robot: str, named: str) -> None:
    assert describe(Selection(robot=robot)).parameters['reasoner']['policy'] == named


@pytest.mark.parametrize(
    ('choice', 'words'),
    [
        ({'robot': 'r2d2'}, "robot 'r2d2' is unknown; expected one of metaworld"),
        ({'hardware': 'abacus'}, "hardware 'abacus' is unknown; expected one of cpu_2core"),
        ({'policy': 'nowhere'}, 'nor a shipped policy, nor a folder that holds a policy: '),
        ({'log_level': 'loud'}, "log level 'loud' is unknown"),
        ({'only': ('thinker',)}, '--only names thinker; expected nodes of this graph'),
        ({'overrides': {'actor': 1}}, "override 'actor' does not name a node"),
        ({'overrides': {'brain.size': 1}}, "override 'brain.size' does not name a node"),
        ({'parameter_files': (Path('missing.yaml'),)}, "'missing.yaml' does not exist"),
        (
            {'overrides': {'metaworld_robot.mode': 'lockstep', 'perception.cache.method': 'skip'}},
            'time would stand still',
        ),
        (
            {'overrides': {'metaworld_robot.mode': 'lockstep', 'controller.dry_run': True}},
            'time waits for commands',
        ),
        (
            {'overrides': {'metaworld_robot.mode': 'lockstep', 'controller.output': 'twist'}},
            'time waits for commands',
        ),
    ],
)
def test_wrong_choice_is_told_with_what_there_is(choice: dict[str, Any], words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        describe(Selection(**choice))


def test_override_that_is_no_yaml_is_named() -> None:
    with pytest.raises(ProfileError, match=r"override 'actor.rate=\[': '\[' is not YAML"):
        parse_overrides(['actor.rate=['])


def test_overrides_keep_their_types_on_the_way_to_ros() -> None:
    words = [
        'actor.rate=5.0',
        'reasoner.pruning.method=none',
        'metaworld_robot.seed=3',
        'controller.names=[x, y]',
        'perception.policy=',
    ]
    graph = describe(Selection(overrides=parse_overrides(words)))
    text = parameters_yaml(graph.parameters)
    values = yaml.safe_load(text)['/**']
    assert values['actor']['ros__parameters']['rate'] == 5.0
    assert values['reasoner']['ros__parameters']['pruning']['method'] == 'none'
    assert values['metaworld_robot']['ros__parameters']['seed'] == 3
    # The YAML parser of ROS takes a bare y for true.
    assert "'y'" in text
    with pytest.raises(ProfileError, match=r'node\.param=value'):
        parse_overrides(['actor.rate'])


def test_middleware_profile_is_given_to_every_process_unless_the_user_has_one() -> None:
    present = {'PATH': '/bin'}
    profile = str(CONFIG / 'fastdds.xml')
    assert module.environment(present)['FASTDDS_DEFAULT_PROFILES_FILE'] == profile
    assert module.environment(present)['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    own = {'FASTDDS_DEFAULT_PROFILES_FILE': 'mine.xml', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}
    assert module.environment(own)['FASTDDS_DEFAULT_PROFILES_FILE'] == 'mine.xml'
    assert module.environment(own)['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'SUBNET'


@pytest.mark.parametrize('folder', ['lib', 'lib/aarch64-linux-gnu'])
@pytest.mark.parametrize(
    ('library', 'variable'),
    [
        ('libfastrtps.so.2.14', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('libfastdds.so.3.2', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_profile_is_named_by_the_variable_that_the_installed_version_reads(
    tmp_path: Path, folder: str, library: str, variable: str
) -> None:
    """Whatever ROS_DISTRO says: wheels set none."""
    (tmp_path / 'ros' / folder).mkdir(parents=True)
    (tmp_path / 'ros' / folder / library).touch()
    prefixes = f'{tmp_path / "workspace"}:{tmp_path / "ros"}'
    present = {'AMENT_PREFIX_PATH': prefixes, 'ROS_DISTRO': 'rolling'}
    names = {name for name in module.environment(present) if 'PROFILES' in name}
    assert names == {variable}


def test_middleware_profile_is_well_formed_and_the_default() -> None:
    space = {'d': 'http://www.eprosima.com'}
    root = ElementTree.parse(CONFIG / 'fastdds.xml').getroot()
    participant = root.find('.//d:participant', space)
    assert participant is not None
    assert participant.get('is_default_profile') == 'true'
    sizes = {node.text for node in root.iterfind('.//d:segment_size', space)}
    assert sizes == {str(64 * 2**20)}


def test_cameras_of_the_monitor_are_those_of_the_policy(tmp_path: Path) -> None:
    write_policy(tmp_path, cameras=('left', 'right'))
    robot = tmp_path / 'robot.yaml'
    robot.write_text('')

    def two_cameras(shown: list[str]) -> Selection:
        return Selection(
            robot=str(robot), policy=str(tmp_path), overrides={'monitor.cameras': shown}
        )

    for cameras in (['left', 'wrist'], ['right', 'left'], ['left']):
        with pytest.raises(ProfileError, match=r"monitor\.cameras is .* \['left', 'right'\]"):
            describe(two_cameras(cameras))
    with pytest.raises(ProfileError, match=r"expected \['corner2'\]"):
        describe(Selection(overrides={'monitor.cameras': ['a', 'b']}))
    for chosen in ([], ['left', 'right']):
        describe(two_cameras(chosen))


def test_a_task_that_the_robot_does_not_have_is_refused_before_anything_starts() -> None:
    for task in ('', *TASKS):
        describe(Selection(overrides={'metaworld_robot.task': task}))
    with pytest.raises(ProfileError, match=r"metaworld_robot\.task is 'juggle'; expected one of"):
        describe(Selection(overrides={'metaworld_robot.task': 'juggle'}))


def test_description_needs_neither_ros_nor_launch() -> None:
    program = (
        'import sys, efficient_vla.bringup.graph, efficient_vla.bringup.supervisor\n'
        'heavy = {"rclpy", "launch", "launch_ros", "torch", "mujoco"} & set(sys.modules)\n'
        'sys.exit(str(heavy) if heavy else 0)'
    )
    subprocess.run([sys.executable, '-c', program], check=True, timeout=60.0)


def test_a_simulated_arm_stands_behind_the_driver_that_its_profile_sends_to(
    tmp_path: Path,
) -> None:
    policy = turning_arm('ur5e', (0.1,) * 7, tmp_path / 'policy')
    chosen = Selection(robot='ur5e', policy=str(policy))
    behind = describe(chosen)
    assert behind.parameters['controller']['output'] == 'joint_trajectory'
    assert behind.parameters['ur5e_robot']['interface'] == 'driver'
    assert 'robot_state:=joint_states' in behind.remaps
    assert list(behind.parameters['actor']['joint_names']) == ['jaw:=robotiq_85_left_knuckle_joint']
    direct = describe(replace(chosen, overrides={'controller.output': 'command'}))
    assert direct.parameters['ur5e_robot'].get('interface', 'command') == 'command'
    assert 'joint_names' not in direct.parameters['actor']
    assert not direct.remaps


def test_nodes_that_run_elsewhere_are_left_out_and_keep_their_parameters() -> None:
    whole = describe(Selection())
    here = describe(Selection(only=('perception', 'actor', 'controller')))
    there = describe(Selection(only=('reasoner',)))
    assert here.nodes == ('perception', 'actor', 'controller')
    assert [(each.name, each.nodes) for each in there.processes] == [
        ('perception_reasoner', ('reasoner',))
    ]
    assert here.parameters['reasoner'] == there.parameters['reasoner']
    assert here.parameters['controller']['remote_nodes'] == ['reasoner']
    assert any(note.startswith('elsewhere: reasoner.') for note in here.notes)
    assert not whole.notes
    assert 'remote_nodes' not in whole.parameters['controller']


def test_a_graph_on_several_hosts_has_a_middleware_profile_of_its_own() -> None:
    alone, spread = describe(Selection()), describe(Selection(only=('reasoner',)))
    assert (alone.spread, spread.spread) == (False, True)
    usual = module.environment({})
    (variable,) = (name for name in usual if 'PROFILES' in name)
    for present in ({}, usual):
        profile = Path(module.environment(present, spread=True)[variable])
        assert profile.name == 'fastdds_network.xml'
        root = ElementTree.parse(profile).getroot()
        sizes = [int(item.text or 0) for item in root.iter() if item.tag.endswith('maxMessageSize')]
        assert min(sizes) < 1472, 'of a datagram in one packet of Ethernet'
    assert module.environment({variable: 'mine.xml'}, spread=True)[variable] == 'mine.xml'


def test_a_server_of_subtasks_is_shown_the_images_that_are_named() -> None:
    given = {'subtasks.server': 'http://h:1', 'subtasks.images': ['front/compressed']}
    assert 'front/compressed' in of_graph({'reasoner': given}, ())['reasoner'].hears
    assert 'camera/image_raw' not in of_graph({'reasoner': {}}, ())['reasoner'].hears
