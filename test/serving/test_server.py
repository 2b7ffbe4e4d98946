# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What clients get from a server, those that behave and those that do not."""

import asyncio
import json
import socket
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.serving import Serve, offered
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from efficient_vla.errors import UsageError
from efficient_vla.policy import Policy
from efficient_vla.serving import server
from efficient_vla.serving.protocol import MAX_ANSWER, MAX_OBSERVATION, packed, unpacked
from efficient_vla.serving.served import at_rest
from efficient_vla.serving.server import is_loopback, run_server
from efficient_vla.settings import build

TOKEN = 'correct-horse-battery'
IMAGE = np.full((32, 32, 3), 90, np.uint8)


def observation(**changed: Any) -> bytes:
    message = {
        'observation/image': IMAGE,
        'observation/state': np.array([0.0, 0.6, 0.2, 1.0]),
        'prompt': 'reach the goal',
    }
    return packed(message | changed, MAX_OBSERVATION)


def client(port: int, **options: Any) -> Any:
    """Return a connection whose metadata were read."""
    connection = connect(f'ws://127.0.0.1:{port}', proxy=None, max_size=None, **options)
    connection.metadata = unpacked(connection.recv(timeout=20.0))
    return connection


def ask(connection: Any, frame: bytes | str) -> Any:
    connection.send(frame)
    answer = connection.recv(timeout=20.0)
    return answer if isinstance(answer, str) else unpacked(answer)


class Counting:
    """A policy of one row that counts the passes since it was reset."""

    def __init__(self, policy: Policy) -> None:
        self.perception, self.actor = policy.perception, policy.actor
        self._policy, self._passes = policy, 0

    def act(self, *arguments: Any, **keywords: Any) -> Any:
        chunk = self._policy.act(*arguments, **keywords)
        self._passes += 1
        chunk.actions[:] = self._passes
        return chunk

    def reset(self) -> None:
        self._passes = 0


def test_metadata_come_first_and_say_what_to_send(serve: Serve) -> None:
    with client(serve()) as connection:
        found = connection.metadata['efficient_vla']
    assert found['cameras'] == {'corner2': 'observation/image'}
    assert found['state'] == {'observation/state': ['x', 'y', 'z', 'gripper']}
    assert found['prompt'] == 'prompt'
    assert found['actions'] == {
        'names': ['x', 'y', 'z', 'gripper'],
        'control_mode': 'EE_DELTA',
        'dt': 0.0125,
        'rows': 40,
        'frame': 'base',
        'absolute': [],
    }


def test_an_answer_is_the_chunk_of_the_policy_with_its_times(serve: Serve) -> None:
    with client(serve()) as connection:
        first, second = (ask(connection, observation()) for _ in range(2))
    assert first['actions'].shape == (40, 4)
    assert first['actions'].dtype == np.float32
    np.testing.assert_allclose(first['actions'][7], [0, 0.1 * 0.0125, 0, -1], rtol=1e-6)
    assert first['policy_timing']['infer_ms'] > 0
    assert 'prev_total_ms' not in first['server_timing']
    assert second['server_timing']['prev_total_ms'] > first['server_timing']['infer_ms']


@pytest.mark.parametrize(
    ('frame', 'said'),
    [
        (observation(prompt=''), 'instruction is empty'),
        (observation(prompt='открой'), 'English'),
        (observation(**{'observation/image': IMAGE[:8]}), 'at least 16 a side'),
        (observation(**{'observation/image': np.zeros((16, 9000, 3), np.uint8)}), 'at most 8192'),
        (observation(**{'observation/state': np.array([0, np.nan, 0, 0])}), 'not finite'),
        (packed({}, 100), "lacks 'observation/image'; it has nothing"),
    ],
)
def test_an_observation_that_cannot_be_is_answered_by_a_sentence(
    serve: Serve, frame: bytes, said: str
) -> None:
    with client(serve()) as connection:
        assert said in ask(connection, frame)
        assert ask(connection, observation())['actions'].shape == (40, 4)


@pytest.mark.parametrize('frame', [b'\xc1', b'cos\nsystem\n', b'', 'text', b'\x91' * 5000])
def test_garbage_ends_its_own_connection_and_no_other(serve: Serve, frame: bytes | str) -> None:
    port = serve()
    with client(port) as good, client(port) as bad:
        assert 'frame' in ask(bad, frame)
        with pytest.raises(ConnectionClosed):
            bad.recv(timeout=20.0)
        assert ask(good, observation())['actions'].shape == (40, 4)


def test_a_frame_that_is_too_long_ends_its_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, 'MAX_OBSERVATION', 10_000)
    port = serve()
    with client(port) as good, client(port) as bad:
        with pytest.raises(ConnectionClosed, match='1009'):
            ask(bad, b'\x00' * 10_001)
        assert ask(good, observation())['actions'].shape == (40, 4)


def test_a_client_that_stops_in_the_middle_of_a_frame_delays_nobody(serve: Serve) -> None:
    port = serve()
    with (
        client(port, close_timeout=0.1) as slow,
        client(port) as good,
        socket.create_connection(('127.0.0.1', port)),
    ):
        # A binary frame of 65536 bytes of which ten come.
        slow.socket.sendall(b'\x82\xff' + (65536).to_bytes(8, 'big') + b'mask' + b'x' * 10)
        assert ask(good, observation())['actions'].shape == (40, 4)


def test_every_client_has_a_state_of_its_own(serve: Serve, passthrough: Path) -> None:
    port = serve(Counting(Policy.from_pretrained(passthrough)))
    with client(port) as one, client(port) as two:
        seen = [ask(who, observation())['actions'][0, 0] for who in (one, one, two, one, two, two)]
    assert seen == [1, 2, 1, 1, 1, 2]


def test_an_episode_begins_anew_where_the_client_says_so(serve: Serve, passthrough: Path) -> None:
    port = serve(Counting(Policy.from_pretrained(passthrough)))
    with client(port) as one:
        frames = (observation(), observation(), observation(reset=True), observation(reset=1))
        seen = [ask(one, frame)['actions'][0, 0] for frame in frames]
    assert seen == [1, 2, 1, 2]


def test_a_policy_that_fails_is_told_and_serves_the_next(
    serve: Serve, passthrough: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy.from_pretrained(passthrough)
    port = serve(policy)
    with client(port) as first:
        with monkeypatch.context() as broken:
            broken.setattr(policy, 'act', lambda *_, **__: 1 / 0)
            assert ask(first, observation()) == (
                'the policy failed: ZeroDivisionError: division by zero'
            )
        with pytest.raises(ConnectionClosed, match='1011'):
            first.recv(timeout=20.0)
    with client(port) as second:
        assert ask(second, observation())['actions'].shape == (40, 4)


@pytest.mark.parametrize(
    'headers',
    [{}, {'Authorization': TOKEN}, {'Authorization': f'Api-Key {TOKEN}x'}],
)
def test_without_the_token_nobody_gets_in(serve: Serve, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus, match='401'):
        client(serve(token=TOKEN), additional_headers=headers)


def test_with_the_token_a_client_of_openpi_gets_in(serve: Serve) -> None:
    headers = {'Authorization': f'Api-Key {TOKEN}'}
    with client(serve(token=TOKEN), additional_headers=headers) as connection:
        assert ask(connection, observation())['actions'].shape == (40, 4)


def test_a_page_in_a_browser_does_not_get_in(serve: Serve) -> None:
    with pytest.raises(InvalidStatus, match='403'):
        client(serve(), origin='http://example.org')


def test_one_client_too_many_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, 'MAX_CLIENTS', 1)
    port = serve()
    with client(port), pytest.raises(InvalidStatus, match='503'):
        client(port)


def test_health_is_told_to_whoever_asks_by_http(serve: Serve) -> None:
    with urllib.request.urlopen(f'http://127.0.0.1:{serve()}/healthz') as answer:
        assert (answer.status, answer.read()) == (200, b'OK\n')


def test_a_client_that_left_while_it_waited_costs_no_pass(serve: Serve, passthrough: Path) -> None:
    policy, begun, go = Policy.from_pretrained(passthrough), threading.Event(), threading.Event()
    port, act, passes = serve(policy), policy.act, []

    def held(*arguments: Any, **keywords: Any) -> Any:
        passes.append(1)
        begun.set()
        assert go.wait(20.0)
        return act(*arguments, **keywords)

    policy.act = held  # type: ignore[method-assign]
    with client(port) as first:
        first.send(observation())
        assert begun.wait(20.0)
        with client(port) as second:
            second.send(observation())
        go.set()
        assert first.recv(timeout=20.0)
        assert ask(first, observation())['actions'].shape == (40, 4)
    assert len(passes) == 2


@pytest.mark.parametrize(
    ('host', 'expected'),
    [('127.0.0.1', True), ('localhost', True), ('::1', True), ('0.0.0.0', False), ('', False)],
)
def test_loopback_is_told_from_other_addresses(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_beyond_this_machine_a_token_is_demanded(passthrough: Path) -> None:
    served = offered(Policy.from_pretrained(passthrough))
    with pytest.raises(UsageError, match='can be reached from other machines'):
        asyncio.run(run_server(served, '0.0.0.0', 0))


def test_a_port_that_is_taken_is_named(serve: Serve, passthrough: Path) -> None:
    served, port = offered(Policy.from_pretrained(passthrough)), serve()
    with pytest.raises(UsageError, match=f'port {port}: .*--port'):
        asyncio.run(run_server(served, '127.0.0.1', port))


def test_metadata_fit_into_an_answer_and_into_json(passthrough: Path) -> None:
    metadata = offered(Policy.from_pretrained(passthrough)).metadata()
    assert unpacked(packed(metadata, MAX_ANSWER)) == json.loads(json.dumps(metadata))


def test_the_first_pass_is_inside_every_calibrated_range() -> None:
    from efficient_vla.joint_settings import JointSettings

    joints = build(
        JointSettings,
        {
            'names': ['pan', 'jaw'],
            'unit': ['deg', 'percent'],
            'low': [0.0, 0.5],
            'high': [0.0, 1.5],
        },
    )
    found = at_rest({'front': (48, 64)}, ['pan', 'jaw', 'other'], joints)
    assert found.state.tolist() == [0.0, 1.0, 0.0]
    assert found.images['front'].shape == (48, 64, 3)
