# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A connection that is lost, late or wrong, and comes back."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.policies import write_policy
from fixtures.serving import Scripted, Serve, offered, running
from websockets.sync.server import serve as websockets_serve

from efficient_vla.addresses import ServerAddress
from efficient_vla.errors import PolicyServerError
from efficient_vla.policy import Policy
from efficient_vla.serving import client as module
from efficient_vla.serving.client import PolicyClient
from efficient_vla.serving.protocol import MAX_ANSWER, packed, unpacked
from efficient_vla.serving.served import ServedPolicy

OBSERVATION = {
    'observation/image': np.full((32, 32, 3), 90, np.uint8),
    'observation/state': np.zeros(4),
    'prompt': 'reach the goal',
}
PATIENCE_S = 20.0

Connect = Callable[..., PolicyClient]


@pytest.fixture
def client() -> Iterator[Connect]:
    with ExitStack() as stack:

        def connect(port: int, token: str = '', timeout: float = PATIENCE_S) -> PolicyClient:
            made = PolicyClient(ServerAddress('ws', '127.0.0.1', port), token, timeout, PATIENCE_S)
            stack.callback(made.close)
            return made

        yield connect


def served(path: Path, **fields: Any) -> ServedPolicy:
    return offered(Policy.from_pretrained(write_policy(path, **fields)))


def until_answered(asked: PolicyClient, observation: dict) -> tuple[Any, float]:
    """Return the first answer and the time until it came [s]."""
    begin = time.monotonic()
    while True:
        try:
            return asked.ask(observation), time.monotonic() - begin
        except PolicyServerError:
            assert time.monotonic() - begin < PATIENCE_S
            threading.Event().wait(0.01)


def test_a_server_that_is_not_there_is_named(client: Connect) -> None:
    with pytest.raises(PolicyServerError, match=r'answers at ws://127\.0\.0\.1:1: Connection refu'):
        client(1)


def test_a_wrong_token_is_named(serve: Serve, client: Connect) -> None:
    port = serve(token='the-right-token-of-all')
    with pytest.raises(PolicyServerError, match=r'status 401: wrong token.*remote\.token_file'):
        client(port, token='a-wrong-token-of-some')
    assert client(port, token='the-right-token-of-all').ask(OBSERVATION)['actions'].shape == (40, 4)


def test_what_is_no_policy_server_is_named(client: Connect, scripted: Any) -> None:
    port = scripted(lambda _: {}, metadata={'x': np.zeros(MAX_ANSWER, np.uint8)}).port
    with pytest.raises(PolicyServerError, match=r'no policy server, or hangs: .*1009'):
        client(port)


def test_a_killed_server_is_named_and_asked_again_once_it_is_back(
    tmp_path: Path, client: Connect
) -> None:
    with running(served(tmp_path), '', 0) as port:
        asked = client(port)
        assert asked.ask(OBSERVATION)['actions'].shape == (40, 4)
    with pytest.raises(PolicyServerError, match=f'ws://127.0.0.1:{port}'):
        asked.ask(OBSERVATION)
    with running(served(tmp_path), '', port):
        answer, took = until_answered(asked, OBSERVATION)
    assert answer['actions'].shape == (40, 4)
    assert took < 2.0


def test_another_policy_at_the_same_place_is_not_asked(tmp_path: Path, client: Connect) -> None:
    with running(served(tmp_path), '', 0) as port:
        asked = client(port)
    with running(served(tmp_path, dt=0.05), '', port):
        end = time.monotonic() + PATIENCE_S
        said = ''
        while 'another policy than before' not in said:
            assert time.monotonic() < end, said
            with pytest.raises(PolicyServerError) as error:
                asked.ask(OBSERVATION)
            said = str(error.value)
            threading.Event().wait(0.01)


@pytest.mark.parametrize('said', [np.arange(3.0), float('nan'), {'scale': np.full(2, np.nan)}])
def test_a_server_whose_metadata_hold_arrays_is_asked_again(
    scripted: Any, client: Connect, said: Any
) -> None:
    server: Scripted = scripted(lambda message: 'the server ends\n', {'statistics': said})
    asked = client(server.port)
    asked._thread.loop.call_soon_threadsafe(asked._connection.transport.abort)
    end = time.monotonic() + PATIENCE_S
    error = ''
    while 'the server ends' not in error or server.connections < 2:
        assert time.monotonic() < end, error
        with pytest.raises(PolicyServerError) as raised:
            asked.ask(OBSERVATION)
        error = str(raised.value)
        threading.Event().wait(0.01)


def test_answers_that_nobody_asked_for_are_not_taken_for_those_of_later_frames(
    client: Connect,
) -> None:
    both = threading.Event()

    def handle(connection: Any) -> None:
        connection.send(packed({}, MAX_ANSWER))
        for frame in connection:
            for _ in range(2):
                connection.send(packed({'number': unpacked(frame)['number']}, MAX_ANSWER))
            connection.ping().wait(PATIENCE_S)
            both.set()

    server = websockets_serve(handle, '127.0.0.1', 0, compression=None)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        asked = client(server.socket.getsockname()[1])
        assert asked.ask({'number': 1}) == {'number': 1}
        # An answered ping comes behind both answers.
        assert both.wait(PATIENCE_S)
        with pytest.raises(PolicyServerError, match='sent more answers than it was asked for'):
            asked.ask({'number': 2})
        assert until_answered(asked, {'number': 3})[0] == {'number': 3}
    finally:
        asked.close()
        server.shutdown()
        thread.join(PATIENCE_S)


class Late:
    """Answers with the number of the observation; the first answer waits for ``go``."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, message: dict) -> dict:
        if message['number'] == 1:
            assert self.go.wait(PATIENCE_S)
        return {'number': message['number']}


def test_an_answer_that_comes_too_late_is_dropped(scripted: Any, client: Connect) -> None:
    late = Late()
    server: Scripted = scripted(late)
    asked = client(server.port, timeout=0.05)
    with pytest.raises(PolicyServerError, match=r'has not answered for .*remote\.timeout 0\.05 s'):
        asked.ask({'number': 1})
    with pytest.raises(PolicyServerError, match='has not answered'):
        asked.ask({'number': 2})
    late.go.set()
    asked.timeout = PATIENCE_S
    assert asked.ask({'number': 3}) == {'number': 3}
    assert [message['number'] for message in server.seen] == [1, 3]
    assert server.connections == 1


def test_an_answer_that_never_comes_ends_its_connection(
    scripted: Any, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'GIVE_UP_S', 0.0)
    late = Late()
    server: Scripted = scripted(late)
    asked = client(server.port, timeout=0.05)
    for _ in range(2):
        with pytest.raises(PolicyServerError):
            asked.ask({'number': 1})
    asked.timeout = PATIENCE_S
    answer, _ = until_answered(asked, {'number': 5})
    late.go.set()
    assert answer == {'number': 5}
    assert server.connections == 2


@pytest.mark.parametrize(
    ('answer', 'said'),
    [
        (
            'Traceback ...\n  File "x"\nKeyError: \'state\'\n',
            "refused the observation: KeyError: 's",
        ),
        ('', 'refused the observation: nothing'),
        (b'\xc1', 'the answer of ws://.* is none: frame is not msgpack'),
        (b'\x93\x01\x02\x03', 'holds a list; expected a map'),
    ],
)
def test_an_answer_that_is_none_is_named(
    scripted: Any, client: Connect, answer: Any, said: str
) -> None:
    asked = client(scripted(lambda _: answer).port)
    for _ in range(2):
        with pytest.raises(PolicyServerError, match=said):
            asked.ask({})


def test_an_answer_that_is_too_long_ends_its_connection_only(
    scripted: Any, client: Connect
) -> None:
    long = {'x': np.zeros(MAX_ANSWER, np.uint8)}
    server: Scripted = scripted(lambda message: long if message['long'] else {'short': 1})
    asked = client(server.port)
    with pytest.raises(PolicyServerError, match=r'is lost: .*1009'):
        asked.ask({'long': True})
    assert until_answered(asked, {'long': False})[0] == {'short': 1}


def test_an_observation_that_is_too_long_is_not_sent(
    scripted: Any, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'MAX_OBSERVATION', 100)
    server: Scripted = scripted(lambda _: {})
    with pytest.raises(PolicyServerError, match=r'nothing was sent .*expected at most 100'):
        client(server.port).ask({'x': np.zeros(100, np.uint8)})
    assert not server.seen
