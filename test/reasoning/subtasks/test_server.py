# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a server does, the one that asks hears of it in time, and can ask again."""

import socket
import ssl
import time
import zlib

import pytest
from fixtures.chat import naming, reply

from efficient_vla.errors import PolicyServerError
from efficient_vla.reasoning.subtasks.chat import Question
from efficient_vla.reasoning.subtasks.server import MOST, TOKEN, SubtaskServer
from efficient_vla.reasoning.subtasks.settings import SubtaskSettings
from efficient_vla.settings import InvalidSettingError, build

STEP = 'open the drawer'
SOON_S = 20.0


class Asker:
    def __init__(self, address, environment=None, **values):
        given = {'server': address, 'model': 'm', 'timeout': 10.0, **values}
        self.settings = build(SubtaskSettings, given)
        self.server = SubtaskServer(self.settings, environment or {})

    def ask(self):
        return self.server.ask(Question('tidy up'), self.settings).result(SOON_S)

    def refused(self, *words):
        with pytest.raises(PolicyServerError) as refused:
            self.ask()
        for word in words:
            assert word in str(refused.value)


@pytest.fixture
def asker():
    made = []

    def make(address, **values):
        made.append(Asker(address, **values))
        return made[-1]

    yield make
    for each in made:
        each.server.close()
        each.server._thread.join(SOON_S)
        assert not each.server._thread.is_alive()


def test_a_server_that_answers_names_the_subtask(chat, asker):
    server = chat(lambda handler: reply(handler, naming(STEP)))
    assert asker(server.address).ask() == STEP
    assert server.paths == ['/v1/chat/completions']
    assert 'Authorization' not in server.headers[0]


def test_the_token_of_the_environment_is_sent(chat, asker):
    server = chat(lambda handler: reply(handler, naming(STEP)))
    asker(server.address, environment={TOKEN: 'sesame'}).ask()
    assert server.headers[0]['Authorization'] == 'Bearer sesame'


def test_a_token_that_is_none_is_refused_and_not_repeated():
    settings = build(SubtaskSettings, {'server': 'http://h:1', 'model': 'm'})
    with pytest.raises(InvalidSettingError) as refused:
        SubtaskServer(settings, {TOKEN: 'open\nsesame'})
    assert 'sesame' not in str(refused.value)


@pytest.mark.parametrize(
    ('status', 'word'), [(401, TOKEN), (404, 'subtasks.model'), (500, 'status 500')]
)
def test_a_status_that_is_none_of_success_is_told_with_its_remedy(chat, asker, status, word):
    answers = [status, 200]
    server = chat(lambda handler: reply(handler, naming(STEP), answers.pop(0)))
    asking = asker(server.address)
    asking.refused(str(status), word)
    assert asking.ask() == STEP


def test_a_redirect_is_not_followed(chat, asker):
    elsewhere = chat(lambda handler: reply(handler, naming('fall down')))
    target = f'{elsewhere.address}/v1/chat/completions'
    server = chat(lambda handler: reply(handler, b'', 307, Location=target))
    asker(server.address).refused('redirects', 'not followed')
    assert not elsewhere.seen


def test_an_answer_without_an_end_is_left_when_it_is_too_long(chat, asker):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while not server.closing.is_set():
            handler.wfile.write(b' ' * 65536)

    server = chat(endless)
    asker(server.address).refused(f'more than {MOST} bytes')


def test_a_compressed_answer_is_not_unpacked(chat, asker):
    body = zlib.compress(naming(STEP))
    server = chat(lambda handler: reply(handler, body, Content_Encoding='deflate'))
    asker(server.address).refused('compresses')


def test_an_answer_that_drips_is_given_up_in_time(chat, asker):
    def drip(handler):
        handler.wfile.write(b'HTTP/1.1 200 OK\r\n')
        while not server.closing.wait(0.02):
            handler.wfile.write(b'X-Slow: 1\r\n')

    server = chat(drip)
    asking = asker(server.address, timeout=0.3)
    begin = time.monotonic()
    asking.refused('within subtasks.timeout 0.3 s')
    assert time.monotonic() - begin < SOON_S / 2
    server.answer = lambda handler: reply(handler, naming(STEP))
    assert Asker.ask(asking) == STEP


def test_an_answer_that_breaks_off_is_none(chat, asker):
    def broken(handler):
        handler.send_response(200)
        handler.send_header('Content-Length', '500')
        handler.end_headers()
        handler.wfile.write(b'{"choices"')
        handler.close_connection = True

    asker(chat(broken).address).refused('does not answer')


def test_what_does_not_speak_http_is_none(asker):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        asking = asker(f'http://127.0.0.1:{listener.getsockname()[1]}')
        asked = asking.server.ask(Question('tidy up'), asking.settings)
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b'SSH-2.0-OpenSSH\r\n\r\n')
        with pytest.raises(PolicyServerError, match='does not answer'):
            asked.result(SOON_S)


def test_where_nobody_listens_that_is_told_and_asked_again(asker):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        address = f'http://127.0.0.1:{listener.getsockname()[1]}'
    asking = asker(address)
    asking.refused(address, 'Start the server')
    asking.refused(address)


def test_a_server_with_an_unknown_certificate_is_told_nothing(chat, asker, tmp_path):
    server = chat(lambda handler: reply(handler, naming(STEP)))
    with socket.create_server(('127.0.0.1', 0)) as listener:
        asking = asker(f'https://localhost:{listener.getsockname()[1]}')
        context = asking.server._context
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    plain = server.address.replace('http:', 'https:')
    asker(plain).refused('does not answer')
    assert not server.seen


def test_a_certificate_that_is_none_is_refused(tmp_path):
    values = {'server': 'https://h:1', 'model': 'm', 'certificate': str(tmp_path / 'ca.pem')}
    with pytest.raises(InvalidSettingError, match=r'subtasks.certificate .*ca.pem'):
        SubtaskServer(build(SubtaskSettings, values), {})
