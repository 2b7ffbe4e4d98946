# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameter files are read by the rules of ROS, and what nodes get is a file that ROS can read."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rclpy

from efficient_vla.bringup.graph import (
    ProfileError,
    Selection,
    describe,
    parse_overrides,
    robot_profile,
)
from efficient_vla.bringup.node_arguments import LAUNCHER, checked_files
from efficient_vla.bringup.parameter_files import held_in_memory, parameters_yaml, read

WaitGone = Callable[[int, float], None]
HEAD = 'controller:\n  ros__parameters:\n'


def described(tmp_path: Path, text: str, **selection: Any) -> dict[str, dict[str, Any]]:
    """Return the parameters of a graph with one more file."""
    own = tmp_path / 'own.yaml'
    own.write_text(text)
    return dict(describe(Selection(parameter_files=(own,), **selection)).parameters)


def as_ros_reads(path: Path, node: str, namespace: str = '') -> dict[str, Any]:
    """Return what rclpy itself gives a node of that name."""
    context = rclpy.Context()
    rclpy.init(args=['--ros-args', '--params-file', str(path)], context=context)
    try:
        made = rclpy.create_node(node, namespace=namespace, context=context)
        found = {name: item.value for name, item in made._parameter_overrides.items()}
        made.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    return found


@pytest.mark.parametrize(
    ('lines', 'line', 'words'),
    [
        ('    names: [x, y, z, gripper]\n', 3, "true in names, where texts .* quotes: 'y'"),
        ('    names:\n      - x\n      - off\n', 3, 'false in names'),
        ('    frame_id: no\n', 3, 'false in frame_id'),
        ('    frame_id: 3\n', 3, '3 in frame_id, where texts are expected'),
        ('    rate: 50.0\n    frame_id:\n', 4, "no value for frame_id; write ''"),
        ('    frame_id: ~\n', 3, 'no value for frame_id'),
        ('    names: [x, ]\n    limits:\n', 4, 'no value for limits'),
        ('    names: [[x], [z]]\n', 3, 'lists or groups inside names; expected values'),
        ('    names:\n      - {a: x}\n', 3, 'lists or groups inside names'),
        ('    rate: 50.0\n\tframe_id: world\n', 4, r'not YAML: .*\. Indent with blanks\.'),
        ('    rate: 50.0\n    rate: 60.0\n', 4, "'rate' a second time, first in line 3"),
        ('    limits.max_velocity: [1.0]\n    limits: {max_velocity: [0.5]}\n', 4, 'second time'),
        ('    <<: {rate: 50.0}\n', 3, 'merge .* ROS does not read'),
        ('    ? [a, b]\n    : 1\n', 3, 'a group for a name'),
        ('    rate: &fast 50.0\n    reorder: *fast\n', 4, 'an alias, which ROS does not read'),
        ('    limits: &all {max_velocity: *all}\n', 3, 'an alias, which ROS does not read'),
        ('    dry_run: !!bool maybe\n', 3, "'maybe' for dry_run, which is no bool"),
        ('    use_sim_time: maybe\n', 3, "use_sim_time 'maybe'; write true or false"),
        ('    rate: !!int 1.5\n', 3, "'1.5' for rate, which is no int"),
        ('    rate: fast\n', 3, "rate is 'fast' of type str; expected float"),
        ('    rate: -1\n', 3, 'rate is -1.0 Hz; expected at least'),
        ('    limits: {position_low: [a, 0]}\n', 3, "position_low is 'a' of type str"),
        ('    limits: {max_velocity: 0.1}\n', 3, 'max_velocity is 0.1; expected a list'),
        ('    autostart: maybe\n', 3, "autostart is 'maybe' of type str; expected bool"),
    ],
)
def test_file_that_ros_or_a_node_would_refuse_is_told_with_line_and_remedy(
    tmp_path: Path, lines: str, line: int, words: str
) -> None:
    with pytest.raises(ProfileError, match=rf"own.yaml', line {line}[,:] .*{words}") as caught:
        described(tmp_path, HEAD + lines)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('/**:\n  rate: 5.0\n', "line 2, has no ros__parameters above 'rate'"),
        ('controller: 5\n', "line 1, has no ros__parameters above 'controller'"),
        ('controller:\n  ros__parameters: [1]\n', 'line 2, has no parameters below'),
        ('controller:\n  ros__parameters:\n', 'line 2, has no parameters below'),
        (HEAD + '    rte: 5.0\n', "line 3: unknown parameter 'rte'; did you mean rate?"),
    ],
)
def test_wrong_nesting_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        described(tmp_path, text)


def test_whole_numbers_and_empty_lists_are_what_is_meant(tmp_path: Path) -> None:
    lines = '    limits: {position_low: [-0.5, 0, 0.05]}\n    cpu_affinity: []\n    rate: 1e2\n'
    values = described(tmp_path, HEAD + lines)['controller']
    assert values['limits.position_low'] == [-0.5, 0.0, 0.05]
    assert [type(item) for item in values['limits.position_low']] == [float] * 3
    assert values['cpu_affinity'] == []
    assert values['rate'] == 100.0


def test_what_nodes_get_is_a_file_that_ros_reads_alike(ros_domain: int, tmp_path: Path) -> None:
    lines = (
        "    names: [x, 'y', \"on\", '0x10', gripper]\n    frame_id: \"it's\"\n"
        '    limits: {position_low: [-1, 0, 1e-7]}\n    priority: 010\n    dry_run: off\n'
    )
    wanted = described(tmp_path, HEAD + lines)['controller']
    path = held_in_memory(parameters_yaml({'controller': wanted}))
    found = as_ros_reads(path, 'controller', '/left')
    assert found['names'] == ['x', 'y', 'on', '0x10', 'gripper']
    assert found['frame_id'] == "it's"
    assert list(found['limits.position_low']) == [-1.0, 0.0, 1e-7]
    assert found['priority'] == 8
    assert found['dry_run'] is False
    assert found['limits.max_jerk'] is not None


@pytest.mark.parametrize(
    'word', ['y', 'N', 'yes', 'on', 'Off', 'true', '0x1F', '010', '08', '-0', '1e5', '.5']
)
@pytest.mark.parametrize('quotes', ['', "'"])
def test_bare_words_have_the_types_that_ros_gives_them(
    ros_domain: int, tmp_path: Path, word: str, quotes: str
) -> None:
    """The words of an unknown node's parameter, read by both."""
    path = tmp_path / 'file.yaml'
    path.write_text(f'thing:\n  ros__parameters: {{value: {quotes}{word}{quotes}}}\n')
    (section,) = read(path)
    ours = section.values['value'].value
    theirs = as_ros_reads(path, 'thing')['value']
    assert ours == theirs
    assert type(ours) is type(theirs)


def test_mixed_list_on_the_command_line_becomes_floats() -> None:
    words = ['controller.limits.position_low=[-0.5, 0, 0.05]', 'controller.cpu_affinity=[]']
    values = describe(Selection(overrides=parse_overrides(words))).parameters['controller']
    assert values['limits.position_low'] == [-0.5, 0.0, 0.05]


def test_wildcard_parameters_go_to_the_nodes_that_have_them(tmp_path: Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('/**:\n  ros__parameters: {threads: 3, foo: 1, use_sim_time: true}\n')
    graph = describe(Selection(parameter_files=(own,)))
    assert graph.parameters['actor']['threads'] == 3
    assert 'threads' not in graph.parameters['controller']
    assert graph.parameters['controller']['use_sim_time'] is True
    assert not any('foo' in values for values in graph.parameters.values())
    (note,) = graph.notes
    assert note.startswith(f'{own}: foo below a wildcard: ignored, since no node')


@pytest.mark.parametrize(
    ('pattern', 'namespace', 'applies'),
    [
        ('controller', '', True),
        ('controller', 'left', True),
        ('/controller', '', True),
        ('/left/controller', 'left', True),
        ('/*/controller', 'left', True),
        ('/**/controller', 'left/arm', True),
        ('/left/**', 'left', True),
        ('/right/**', 'left', False),
        ('/*', 'left', False),
    ],
)
def test_parameters_apply_to_the_nodes_that_their_key_names(
    tmp_path: Path, pattern: str, namespace: str, applies: bool
) -> None:
    text = f'{pattern}:\n  ros__parameters: {{rate: 55.0}}\n'
    values = described(tmp_path, text, namespace=namespace)['controller']
    assert (values['rate'] == 55.0) is applies


def test_a_node_of_others_may_be_called_like_one_of_ours_with_a_word_before_it(
    tmp_path: Path,
) -> None:
    described(tmp_path, 'arm_controller:\n  ros__parameters: {rate: 50.0}\n')
    with pytest.raises(ProfileError, match="no node; did you mean 'controller'"):
        described(tmp_path, 'controlller:\n  ros__parameters: {rate: 50.0}\n')


def test_parameters_of_another_namespace_are_not_dropped_silently(tmp_path: Path) -> None:
    text = '/controller:\n  ros__parameters: {rate: 55.0}\n'
    with pytest.raises(ProfileError, match="but the node is /left/controller; write 'controller'"):
        described(tmp_path, text, namespace='left')
    both = text + '/left/controller:\n  ros__parameters: {rate: 66.0}\n'
    assert described(tmp_path, both, namespace='left')['controller']['rate'] == 66.0


def test_own_name_is_stronger_than_a_wildcard_in_one_file(tmp_path: Path) -> None:
    text = 'actor:\n  ros__parameters: {threads: 2}\n/**:\n  ros__parameters: {threads: 3}\n'
    values = described(tmp_path, text)
    assert values['actor']['threads'] == 2
    assert values['reasoner']['threads'] == 3


def run_controller(path: Path, *words: str) -> 'subprocess.CompletedProcess[str]':
    command = [sys.executable, '-m', 'efficient_vla.nodes', 'controller', '--ros-args']
    return subprocess.run(
        [*command, '--params-file', str(path), *words],
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )


@pytest.mark.parametrize(
    'text', [HEAD + '    names: [x, y]\n', HEAD + '    frame_id:\n', HEAD + '\tframe_id: a\n', None]
)
def test_node_started_by_hand_refuses_a_file_in_one_sentence(
    ros_domain: int, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / 'own.yaml'
    if text is not None:
        path.write_text(text)
    ended = run_controller(path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f'the parameter file {str(path)!r}')
    assert ended.stderr.count('\n') == 1


def test_argument_that_ros_refuses_is_one_sentence(ros_domain: int, tmp_path: Path) -> None:
    path = tmp_path / 'own.yaml'
    path.write_text(HEAD + '    rate: 50.0\n')
    ended = run_controller(path, '-p', 'rate')
    assert ended.returncode == 2
    assert 'ROS refuses its arguments' in ended.stderr
    assert 'Traceback' not in ended.stderr


def test_dump_of_a_node_loads_again(tmp_path: Path) -> None:
    """As ``ros2 param dump /controller`` writes it, with what rclpy declares."""
    text = (
        '/controller:\n  ros__parameters:\n    cpu_affinity: []\n    rate: 55.0\n'
        "    names:\n    - x\n    - 'y'\n    - z\n    - gripper\n"
        '    start_type_description_service: true\n    use_sim_time: false\n'
        '    qos_overrides:\n      /clock:\n        subscription:\n          depth: 1\n'
    )
    path = tmp_path / 'dump.yaml'
    path.write_text(text)
    words, notes = checked_files(['--ros-args', '--params-file', str(path)], ['controller'])
    assert notes == []
    values = as_ros_reads(Path(words[2]), 'controller')
    assert values['rate'] == 55.0
    assert values['names'] == ['x', 'y', 'z', 'gripper']
    assert values['qos_overrides./clock.subscription.depth'] == 1


def test_several_files_by_hand_are_merged_and_other_arguments_stay(tmp_path: Path) -> None:
    weak, strong = tmp_path / 'weak.yaml', tmp_path / 'strong.yaml'
    weak.write_text('/left/controller:\n  ros__parameters: {rate: 50, ramp_time: 1}\n')
    strong.write_text('/**:\n  ros__parameters: {rate: 60}\n')
    words = ['--ros-args', '-r', '__ns:=/left', '--params-file', str(weak), '-p', 'nice:=3']
    kept, _ = checked_files([*words, '--params-file', str(strong)], ['controller'])
    assert [*kept[:4], *kept[5:]] == [*words[:4], *words[5:]]
    text = Path(kept[4]).read_text()
    assert 'rate: 60.0' in text
    assert 'ramp_time: 1.0' in text
    renamed = ['--ros-args', '-r', '__node:=mine', '--params-file', str(weak)]
    assert checked_files(renamed, ['controller']) == (renamed, [])


def test_node_ends_with_the_launch_that_started_it(
    ros_domain: int, wait_gone: WaitGone, tmp_path: Path
) -> None:
    """Also where a wrapper stands between the two, and however the launch ended."""
    with subprocess.Popen(['sleep', '1000']) as launch:
        command = [sys.executable, '-m', 'efficient_vla.nodes', 'monitor']
        with subprocess.Popen(command, env=os.environ | {LAUNCHER: str(launch.pid)}) as node:
            try:
                with pytest.raises(subprocess.TimeoutExpired):
                    node.wait(4.0)
                launch.kill()
                launch.wait()
                assert node.wait(20.0) == 0
            finally:
                node.kill()


def test_missing_package_is_one_sentence_and_no_reason_to_start_again(
    ros_domain: int, tmp_path: Path
) -> None:
    (tmp_path / 'torch').mkdir()
    (tmp_path / 'torch' / '__init__.py').write_text("raise ImportError('no torch here')")
    code = (
        f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n'
        'from efficient_vla.nodes.__main__ import main; sys.exit(main(["actor"]))'
    )
    ended = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=60.0, check=False
    )
    assert ended.returncode == 2
    assert 'no torch here: a package that this node needs is missing' in ended.stderr
    assert 'pip install -r' in ended.stderr
    assert 'Traceback' not in ended.stderr


def written(tmp_path: Path, text: str) -> Path:
    """Return a file with this text."""
    path = tmp_path / 'remapped.yaml'
    path.write_text(text)
    return path


def test_remaps_of_a_file_are_for_all_nodes_or_for_one(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '/**:\n  ros__parameters:\n    remap:\n      robot_state: /joint_states\n'
        '  controller:\n    ros__parameters:\n      remap:\n        command: /arm/command\n',
    )
    graph = describe(Selection(parameter_files=(path,), remaps=('plan:=/plan_b',)))
    assert graph.remaps == (
        'plan:=/plan_b',
        'robot_state:=/joint_states',
        'controller:command:=/arm/command',
    )
    assert not any(name.startswith('remap') for own in graph.parameters.values() for name in own)


@pytest.mark.parametrize(('robot', 'shipped'), [('panda', 'panda-nano'), ('so101', 'so101-act')])
def test_a_copied_profile_follows_the_arm_that_it_was_copied_from(
    tmp_path: Path, robot: str, shipped: str
) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text(robot_profile(robot).read_text())
    found = describe(Selection(robot=str(own)))
    assert Path(found.parameters['actor']['policy']).name == shipped
    assert found.remaps == ('robot_state:=joint_states',)
    chosen = describe(Selection(robot=str(own), remaps=('robot_state:=/left/joints',)))
    assert chosen.remaps[0] == 'robot_state:=/left/joints'
    direct = describe(Selection(robot=str(own), overrides={'controller.output': 'command'}))
    assert not direct.remaps


def test_remaps_of_a_file_hold_for_a_node_started_by_hand(tmp_path: Path) -> None:
    path = written(tmp_path, '/**:\n  ros__parameters:\n    remap:\n      plan: /plan_b\n')
    given = ['--ros-args', '--params-file', str(path), '-r', 'plan:=/mine']
    words, _ = checked_files(given, ['actor'])
    # ROS takes the first that fits.
    assert words[-4:] == ['-r', 'plan:=/mine', '-r', 'plan:=/plan_b']


@pytest.mark.parametrize(
    ('lines', 'words'),
    [
        ('    remap: [plan, b]', r"has remap \['plan', 'b'\]; expected lines below remap"),
        ('    remap:\n      plan: 3', 'has remap.plan 3; expected lines'),
        ('    remap:\n      image: /camera', "remap 'image:=/camera' names no topic of this graph"),
        ('    remap:\n      imag: /camera', 'expected one of .*camera/image_raw, command,'),
    ],
)
def test_remap_that_cannot_be_meant_is_refused(tmp_path: Path, lines: str, words: str) -> None:
    path = written(tmp_path, f'/**:\n  ros__parameters:\n{lines}\n')
    with pytest.raises(ProfileError, match=words):
        describe(Selection(parameter_files=(path,)))


@pytest.mark.parametrize(
    ('word', 'refused'),
    [
        ('/robot_state:=/joint_states', ''),
        ('/left/robot_state:=/joint_states', ''),
        ('controller:robot_state:=/joint_states', ''),
        ('controller:~/stop:=/halt', ''),
        ('controller/stop:=/halt', ''),
        ('/diagnostics:=/left/diagnostics', ''),
        ('front/image_raw:=/cam', 'names no topic'),
        ('driver:robot_state:=/joint_states', "for the node 'driver'; expected one of perception"),
        ('robot_state:=', 'is not of the form'),
        ('/right/robot_state:=/joint_states', 'names no topic'),
    ],
)
def test_remaps_of_the_command_line_name_what_there_is(word: str, refused: str) -> None:
    selection = Selection(remaps=(word,), namespace='left')
    if not refused:
        assert describe(selection).remaps == (word,)
        return
    with pytest.raises(ProfileError, match=refused):
        describe(selection)
