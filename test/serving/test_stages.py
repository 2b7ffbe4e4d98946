# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy in a server, as the three stages and as `Policy`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.serving import Scripted, Serve

from efficient_vla.addresses import ServerAddress, server_address
from efficient_vla.bringup.graph import Selection, describe
from efficient_vla.cli import run_options
from efficient_vla.errors import PolicyServerError, UsageError
from efficient_vla.places import policy_place
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import ControlMode, Execution, Frame, HeadHelp

IMAGE = np.full((64, 48, 3), 90, np.uint8)
STATE = [0.0, 0.6, 0.2, 1.0]
ARM = {
    'remote_cameras': ('high', 'wrist'),
    'remote_image_keys': ('images.cam_high', 'images.cam_wrist'),
    'remote_state_keys': ('state:1', 'grip:1'),
    'remote_image_layout': 'colours_rows_columns',
    'remote_image_size': 16,
    'joints_names': ('pan', 'jaw'),
    'joints_unit': ('deg', 'percent'),
    'joints_low': (0.0, 1.0),
    'joints_high': (0.0, 3.0),
    'joints_mode': 'joint_position',
    'joints_rate': 10.0,
}
"""A foreign server of an arm of two joints."""


def at(port: int) -> str:
    return f'ws://127.0.0.1:{port}'


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ('ws://127.0.0.1:8000', ServerAddress('ws', '127.0.0.1', 8000)),
        ('wss://robot.lan:1/', ServerAddress('wss', 'robot.lan', 1)),
        ('ws://[::1]:65535', ServerAddress('ws', '::1', 65535)),
        (Path('ws://h:80'), ServerAddress('ws', 'h', 80)),
        ('ws', None),
        ('models/ws:', None),
    ],
)
def test_an_address_is_told_from_a_path(given: Any, expected: ServerAddress | None) -> None:
    assert server_address(given) == expected


@pytest.mark.parametrize(
    'given',
    ['ws://h', 'ws://h:0', 'ws://h:65536', 'ws://:80', 'ws://u@h:1', 'ws://h:1/x', 'ws:///h:1'],
)
def test_an_address_that_cannot_be_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match='expected ws://HOST:PORT'):
        server_address(given)


def test_an_address_keeps_both_slashes_on_its_way_into_the_graph() -> None:
    graph = describe(Selection(policy='ws://localhost:8000'))
    given = {graph.parameters[node]['policy'] for node in ('perception', 'reasoner', 'actor')}
    assert given == {'ws://localhost:8000'}
    assert str(policy_place(Path('ws://[::1]:8000'))) == 'ws://[::1]:8000'


def test_a_command_that_looks_into_a_policy_refuses_an_address() -> None:
    with pytest.raises(UsageError, match='ws://h:1; this command looks into a policy'):
        run_options.policy_folder('ws://h:1')
    assert run_options.policy_place('ws://h:1') == ServerAddress('ws', 'h', 1)


def test_a_policy_in_a_server_does_what_it_does_here(serve: Serve, passthrough: Path) -> None:
    there = Policy.from_pretrained(at(serve()))
    here = Policy.from_pretrained(passthrough)
    assert there.perception.cameras == there.actor.cameras == ('corner2',)
    chunk = there.act(IMAGE, 'reach the goal', state=STATE, stamp=12.5)
    own = here.act(IMAGE, 'reach the goal', state=STATE, stamp=12.5)
    np.testing.assert_array_equal(chunk.actions, own.actions)
    for name in ('dt', 'names', 'control_mode', 'stamp', 'plan_stamp', 'instruction'):
        assert getattr(chunk, name) == getattr(own, name)


def test_an_episode_begins_with_the_first_frame_after_a_reset(scripted: Any) -> None:
    said = {
        'version': 1,
        'cameras': {'front': 'see'},
        'state': {},
        'prompt': 'do',
        'reset': 'new',
        'actions': {'names': ['x'], 'control_mode': 'EE_DELTA', 'dt': 0.1, 'rows': 2},
    }
    rows = {'actions': np.zeros((2, 1))}
    server: Scripted = scripted(lambda _: rows, {'efficient_vla': said})
    policy = Policy.from_pretrained(at(server.port))
    for reset in (False, False, True):
        if reset:
            policy.reset()
        policy.act(IMAGE, 'reach the goal')
    assert [message.get('new') for message in server.seen] == [True, None, True]
    assert server.seen[0]['see'].shape == IMAGE.shape


def test_a_foreign_server_is_asked_in_its_own_keys_order_and_units(scripted: Any) -> None:
    server: Scripted = scripted(lambda _: {'actions': np.array([[90.0, 50.0], [0.0, 100.0]])})
    policy = Policy.from_pretrained(at(server.port), **ARM)
    assert policy.actor.state_names == ('pan', 'jaw')
    frame = Frame({'high': IMAGE, 'wrist': IMAGE}, np.array([np.pi, 1.5], np.float32), 3.0)
    chunk = policy.act(frame, 'pick it up')
    (seen,) = server.seen
    assert seen['images']['cam_high'].shape == seen['images']['cam_wrist'].shape == (3, 16, 16)
    assert seen['images']['cam_high'][:, 8, 8].tolist() == [90, 90, 90]
    assert seen['images']['cam_high'][:, 8, 0].tolist() == [0, 0, 0]
    np.testing.assert_allclose(seen['state'], [180.0], rtol=1e-6)
    np.testing.assert_allclose(seen['grip'], [25.0], rtol=1e-6)
    assert seen['prompt'] == 'pick it up'
    np.testing.assert_allclose(chunk.actions, [[np.pi / 2, 2.0], [0.0, 3.0]], rtol=1e-6)
    assert (chunk.dt, chunk.control_mode) == (0.1, ControlMode.JOINT_POSITION)
    assert chunk.stamp == 3.0
    assert policy.plan is not None
    policy.actor.chunk(replace(policy.plan, subtask='reach for it'), frame)
    assert server.seen[-1]['prompt'] == 'reach for it'


@pytest.mark.parametrize(
    ('actions', 'said'),
    [
        (None, 'are NoneType; expected numbers'),
        (np.zeros(2), r'float64 of shape \[2\]'),
        (np.zeros((2, 3)), r'shape \[2, 3\]; expected numbers \[1 to 512, 2\]'),
        (np.zeros((0, 2)), r'shape \[0, 2\]'),
        (np.zeros((513, 2)), r'shape \[513, 2\]'),
        (np.zeros((2, 2), bool), 'bool'),
        (np.array([[1.0, np.nan]]), 'not finite'),
        (np.array([[1.0, 1e300]]), 'not finite'),
    ],
)
def test_actions_that_cannot_be_make_no_chunk(scripted: Any, actions: Any, said: str) -> None:
    policy = Policy.from_pretrained(at(scripted(lambda _: {'actions': actions}).port), **ARM)
    frame = Frame({'high': IMAGE, 'wrist': IMAGE}, np.array([0.0, 2.0], np.float32), 3.0)
    with pytest.raises(PolicyServerError, match=said):
        policy.act(frame, 'pick it up')


@pytest.mark.parametrize(
    ('left_out', 'said'),
    [
        ('remote_cameras', r'name no cameras; expected remote\.cameras'),
        ('joints_names', r'joints\.names is empty'),
        ('joints_rate', r'joints\.rate is 0'),
        ('joints_mode', r'joints\.mode is unknown'),
    ],
)
def test_what_a_foreign_server_does_not_say_has_to_be_given(
    scripted: Any, left_out: str, said: str
) -> None:
    words = {name: value for name, value in ARM.items() if name != left_out}
    if left_out == 'joints_names':
        words = {name: value for name, value in words.items() if not name.startswith('joints')}
    with pytest.raises(InvalidSettingError, match=said):
        Policy.from_pretrained(at(scripted(lambda _: {}).port), **words)


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ({'remote_prompt_key': 'task'}, r'remote\.prompt_key is set, but ws://'),
        ({'remote_cameras': ('wrist',)}, r"remote\.cameras is \['wrist'\]; expected \['corner2'\]"),
        ({'pruning_method': 'uniform'}, 'pruning.method is uniform; expected none, since the poli'),
        ({'cache_method': 'reuse'}, 'cache.method is reuse; expected none'),
        ({'architecture': 'single'}, 'architecture is single and head auto; expected auto'),
    ],
)
def test_what_the_server_decides_is_not_set_here(
    serve: Serve, words: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidSettingError, match=said):
        Policy.from_pretrained(at(serve()), **words)


@pytest.mark.parametrize('said', [3, {}, {'version': 2}, {'version': 1, 'cameras': 'x'}])
def test_metadata_of_another_version_are_refused(scripted: Any, said: Any) -> None:
    port = scripted(lambda _: {}, {'efficient_vla': said}).port
    with pytest.raises(PolicyServerError, match='not those of this version'):
        Policy.from_pretrained(at(port))


def test_blending_that_needs_the_head_is_refused(serve: Serve) -> None:
    actor = Policy.from_pretrained(at(serve())).actor
    execution = Execution(1.0, 1.0, 0.0, 1.0, 0.0, 'rtc', HeadHelp.INPAINT)
    with pytest.raises(InvalidSettingError, match=r'controller\.blending\.method is rtc'):
        actor.note_execution(execution)


def test_the_word_of_a_token_file_opens_a_server(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / 'token'
    file.write_text('a-word-that-nobody-guesses\n')
    file.chmod(0o600)
    port = serve(token='a-word-that-nobody-guesses')
    policy = Policy.from_pretrained(at(port), remote_token_file=str(file))
    assert policy.act(IMAGE, 'reach the goal', state=STATE).actions.shape == (40, 4)


@pytest.mark.parametrize(
    ('text', 'mode', 'said'),
    [
        ('a-word-that-nobody-guesses', 0o644, 'open to other users.*chmod 600'),
        ('short', 0o600, 'holds 5 characters'),
        ('two words in one file here', 0o600, 'expected one word'),
        (None, 0, 'cannot be read'),
    ],
)
def test_a_token_file_that_is_none_is_refused(
    tmp_path: Path, text: str | None, mode: int, said: str
) -> None:
    file = tmp_path / 'token'
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    with pytest.raises(InvalidSettingError, match=said):
        Policy.from_pretrained('ws://127.0.0.1:1', remote_token_file=str(file))


def test_what_a_server_says_of_its_policy_can_be_inspected(serve: Serve, scripted: Any) -> None:
    found = folder_facts(ServerAddress('ws', '127.0.0.1', serve()))
    assert (found.family, found.horizon, found.dt) == ('remote', 40, 0.0125)
    assert (list(found.cameras), found.action_names) == (['corner2'], ('x', 'y', 'z', 'gripper'))
    assert not found.missing
    foreign = folder_facts(ServerAddress('ws', '127.0.0.1', scripted(lambda _: {}).port))
    assert 'does not say what it takes and gives' in foreign.missing[0]
    with pytest.raises(PolicyServerError, match='no policy server answers'):
        folder_facts(ServerAddress('ws', '127.0.0.1', 1))
