# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The security policy: its form, who may move the robot, and keys that are missing."""

import subprocess
import xml.etree.ElementTree as ET
from fnmatch import fnmatchcase

import pytest

from efficient_vla.bringup.enclaves import KEYS, enclave, why_no_keys
from efficient_vla.bringup.graph import Selection, command, describe
from efficient_vla.bringup.security import main, policy
from efficient_vla.bringup.settings import OUTPUTS
from efficient_vla.places import share_folder

PASSTHROUGH = {'policy': 'passthrough'}
FORM = {
    'policy': ({'version'}, {'enclaves'}),
    'enclaves': (set(), {'enclave'}),
    'enclave': ({'path'}, {'profiles'}),
    'profiles': (set(), {'profile'}),
    'profile': ({'ns', 'node'}, {'topics', 'services', 'actions'}),
    'topics': ({'publish', 'subscribe'}, {'topic'}),
    'services': ({'reply', 'request'}, {'service'}),
    'actions': ({'call', 'execute'}, {'action'}),
}
"""Element of policy.xsd, version 0.2.0 -> its attributes and children."""
MOVING = {
    'command': 'command',
    'joint_trajectory': 'joint_trajectory_controller/joint_trajectory',
    'forward': 'forward_command_controller/commands',
    'twist': 'servo_node/delta_twist_cmds',
}


def allowed(root, permission):
    """Return enclave -> names, as they are on the wire, for which a permission is given."""
    found = {}
    for path in root.iter('enclave'):
        names = found.setdefault(path.get('path'), set())
        for profile in path.iter('profile'):
            base = profile.get('ns').rstrip('/')
            for element in profile:
                if element.get(permission) == 'ALLOW':
                    for child in element:
                        name = child.text.replace('~', f'{base}/{profile.get("node")}', 1)
                        names.add(name if name.startswith('/') else f'{base}/{name}')
    return found


def who(root, permission, name):
    """Return the enclaves that may do it, by the wildcards of DDS."""
    found = allowed(root, permission)
    return {path for path in found if any(fnmatchcase(name, p) for p in found[path])}


def graph(**choices):
    return describe(Selection(**{**PASSTHROUGH, **choices}))


def test_the_policy_has_the_form_of_sros2():
    root = ET.fromstring(policy(graph()))
    assert root.attrib == {'version': '0.2.0'}
    for element in root.iter():
        if element.tag in ('topic', 'service', 'action'):
            assert element.text.strip('~/')
            assert not element.attrib
            continue
        attributes, children = FORM[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children
        assert len(element) or element.tag == 'profile'
        if element.tag in ('topics', 'services', 'actions'):
            assert list(element.attrib.values()) == ['ALLOW']
    paths = [element.get('path') for element in root.iter('enclave')]
    assert len(set(paths)) == len(paths)


def test_the_shipped_policy_is_that_of_the_default_graph():
    shipped = share_folder('config') / 'security' / 'policy.xml'
    assert shipped.read_text() == policy(describe(Selection()))


@pytest.mark.parametrize('output', OUTPUTS)
def test_only_the_controller_moves_the_robot(output):
    overrides = {'controller.output': output}
    root = ET.fromstring(policy(graph(overrides=overrides)))
    for name, topic in MOVING.items():
        wanted = {'/efficient_vla/controller'} if name == output else set()
        assert who(root, 'publish', f'/{topic}') == wanted
    switches = {'/efficient_vla/controller'} if output == 'twist' else set()
    assert who(root, 'request', '/servo_node/switch_command_type') == switches
    gripper = set() if output == 'command' else {'/efficient_vla/controller'}
    assert who(root, 'publish', '/gripper_command') == gripper
    goals = '/joint_trajectory_controller/follow_joint_trajectory'
    wanted = {'/efficient_vla/controller'} if output == 'follow_joint_trajectory' else set()
    assert who(root, 'call', goals) == wanted


def test_what_the_driver_is_named_and_says_reaches_the_policy(tmp_path):
    own = tmp_path / 'mine.yaml'
    own.write_text(
        'controller:\n  ros__parameters:\n    output: joint_trajectory\n'
        '    gripper_interface: gripper_command\n    gripper_action: hand/gripper_cmd\n'
        '    driver: {controller: arm, observe_controller: true, speed_scaling: speed}\n'
    )
    root = ET.fromstring(policy(graph(robot=str(own))))
    controller, driver = {'/efficient_vla/controller'}, {'/efficient_vla/driver'}
    assert who(root, 'publish', '/arm/joint_trajectory') == controller
    assert who(root, 'call', '/hand/gripper_cmd') == controller
    assert who(root, 'execute', '/hand/gripper_cmd') == driver
    for topic in ('/arm/controller_state', '/speed'):
        assert who(root, 'publish', topic) == driver
        assert who(root, 'subscribe', topic) >= controller


def test_a_dry_run_has_no_topic_that_moves_the_robot():
    root = ET.fromstring(policy(graph(overrides={'controller.dry_run': True})))
    assert not who(root, 'publish', '/command')
    assert who(root, 'publish', '/dry_run/command') == {'/efficient_vla/controller'}


@pytest.mark.parametrize(
    'service',
    ['set_enabled', 'pause', 'stop', 'reset_stop', 'change_state', 'set_parameters'],
)
def test_only_the_operator_enables_and_changes(service):
    root = ET.fromstring(policy(graph()))
    assert who(root, 'request', f'/controller/{service}') == {'/efficient_vla/operator'}
    assert who(root, 'reply', f'/controller/{service}') == {'/efficient_vla/controller'}


def test_the_ladder_of_the_monitor_may_pause_and_lower_and_no_more():
    root = ET.fromstring(policy(graph()))
    monitor = '/efficient_vla/monitor'
    assert monitor in who(root, 'request', '/controller/hold')
    assert monitor in who(root, 'request', '/reasoner/set_parameters_atomically')
    assert allowed(root, 'request')[monitor] == {
        '/controller/hold',
        *(f'/{node}/get_parameters' for node in ('reasoner', 'actor')),
        *(f'/{node}/set_parameters_atomically' for node in ('reasoner', 'actor')),
    }


def test_only_the_operator_gives_tasks_and_only_the_actor_sends_chunks():
    root = ET.fromstring(policy(graph()))
    assert who(root, 'call', '/execute_task') == {'/efficient_vla/operator'}
    assert who(root, 'execute', '/execute_task') == {'/efficient_vla/controller'}
    actors = {'/efficient_vla/actor', '/efficient_vla/policy'}
    assert who(root, 'publish', '/action_chunk') == actors
    planners = {'/efficient_vla/perception_reasoner', '/efficient_vla/policy'}
    assert who(root, 'publish', '/plan') == planners
    assert who(root, 'publish', '/actor/alive') == actors


def test_namespace_remaps_and_cameras_reach_the_policy(tmp_path):
    words = ['--policy', 'passthrough', '--namespace', 'left', '--remap', 'command:=/arm/command']
    chosen = graph(
        namespace='left',
        remaps=('command:=/arm/command', 'monitor:robot_state:=/seen'),
        overrides={'perception.camera_topics': ['corner2:=/wrist/image_raw']},
    )
    root = ET.fromstring(policy(chosen))
    assert who(root, 'publish', '/arm/command') == {'/efficient_vla/left/controller'}
    assert not who(root, 'publish', '/left/command')
    assert '/efficient_vla/left/monitor' in who(root, 'subscribe', '/seen')
    assert '/efficient_vla/left/actor' not in who(root, 'subscribe', '/seen')
    assert '/efficient_vla/left/perception_reasoner' in who(root, 'subscribe', '/wrist/image_raw')
    assert main(words) == 0


def test_a_real_robot_has_an_enclave_for_its_driver(tmp_path):
    own = tmp_path / 'mine.yaml'
    own.write_text('controller:\n  ros__parameters:\n    output: forward\n')
    root = ET.fromstring(policy(graph(robot=str(own))))
    topic = '/forward_command_controller/commands'
    assert who(root, 'subscribe', topic) >= {'/efficient_vla/driver'}
    assert who(root, 'publish', '/robot_state') == {'/efficient_vla/driver'}


def test_a_graph_that_does_not_exist_is_one_sentence(capsys):
    assert main(['--robot', 'nobody']) == 2
    assert "robot 'nobody' is unknown" in capsys.readouterr().err


def test_every_process_is_started_in_its_enclave(tmp_path):
    chosen = graph(namespace='left')
    for process in chosen.processes:
        words = command(chosen, process, tmp_path)
        assert words[words.index('--enclave') + 1] == f'/efficient_vla/left/{process.name}'


def test_no_module_of_the_working_directory_is_run(tmp_path):
    (tmp_path / 'argparse.py').write_text('raise SystemExit(3)')
    chosen = graph()
    words = command(chosen, chosen.processes[0], tmp_path)
    begin = [*words[: words.index('efficient_vla.nodes') + 1], '--help']
    subprocess.run(begin, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_missing_keys_are_named_before_anything_starts(tmp_path):
    paths = [enclave('', 'actor'), enclave('', 'controller')]
    assert why_no_keys({}, paths) is None
    assert why_no_keys({'ROS_SECURITY_ENABLE': 'false'}, paths) is None
    secured = {'ROS_SECURITY_ENABLE': 'true'}
    assert 'ROS_SECURITY_KEYSTORE is not set' in why_no_keys(secured, paths)
    secured['ROS_SECURITY_KEYSTORE'] = str(tmp_path)
    for name in ('actor', 'controller'):
        folder = tmp_path / 'enclaves' / 'efficient_vla' / name
        folder.mkdir(parents=True)
        for key in KEYS:
            (folder / key).write_text('')
    assert why_no_keys(secured, paths) is None
    (folder / 'permissions.p7s').unlink()
    said = why_no_keys(secured, paths)
    assert '/efficient_vla/controller lacks permissions.p7s' in said
    secured['ROS_SECURITY_ENCLAVE_OVERRIDE'] = '/efficient_vla/actor'
    assert why_no_keys(secured, paths) is None
