# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A websocket server for one policy.

Observations of all clients wait in one line, one of each client at most, so that nobody is served
twice while another waits. A client that sends slowly, reads slowly or sends nonsense costs the
others no more than its turn.
"""

import asyncio
import hmac
import http
import ipaddress
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.protocol import State

from efficient_vla.errors import PolicyServerError, UsageError
from efficient_vla.serving.protocol import MAX_ANSWER, MAX_OBSERVATION, ProtocolError, packed
from efficient_vla.serving.served import ServedPolicy
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import InvalidRecordError

MAX_CLIENTS = 16
SEND_S = 10.0
"""A client that does not read its answer for so long is cut off."""
OPEN_S = 10.0
"""The same for one that does not finish its handshake."""
LOG = logging.getLogger('efficient_vla.serving')


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches ``host``.

    Raises ``UsageError`` for one that is none of its addresses.
    """
    try:
        found = socket.getaddrinfo(host or None, 0, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f'--host {host!r} is no address of this machine: {error}. Give 127.0.0.1, or the '
            'address of a network card.'
        ) from error
    return all(ipaddress.ip_address(str(entry[4][0]).split('%')[0]).is_loopback for entry in found)


def refuse_open(host: str, token: str) -> None:
    """Raise ``UsageError`` for an address beyond this machine without a token."""
    if not token and not is_loopback(host):
        raise UsageError(
            f'--host {host} can be reached from other machines; expected a token that clients have '
            'to know. Give --token-file, or listen on 127.0.0.1 and let clients come through ssh.'
        )


async def run_server(
    served: ServedPolicy,
    host: str,
    port: int,
    token: str = '',
    ready: Callable[[str, int], None] | None = None,
) -> None:
    """Serve until cancelled; ``ready`` is told host and port as soon as clients may come.

    Raises ``UsageError`` where the address cannot be listened on, or reaches beyond this machine
    without a token.
    """
    refuse_open(host, token)
    server = _Server(served, token)
    with ThreadPoolExecutor(1, 'policy') as server.thread:
        try:
            listening = await serve(
                server.handle,
                host,
                port,
                # Browsers name the page that asks; no page has any business here.
                origins=[None],
                process_request=server.admit,
                compression=None,
                open_timeout=OPEN_S,
                close_timeout=1.0,
                ping_timeout=60.0,
                max_size=MAX_OBSERVATION,
                max_queue=1,
                server_header=None,
            )
        except OSError as error:
            raise UsageError(
                f'cannot listen on {host} port {port}: {error.strerror or error}. Choose another '
                '--port.'
            ) from error
        async with listening:
            if ready is not None:
                ready(*listening.sockets[0].getsockname()[:2])
            await listening.serve_forever()


class _Server:
    def __init__(self, served: ServedPolicy, token: str) -> None:
        self.thread: ThreadPoolExecutor
        self._served = served
        self._expected = f'Api-Key {token}'.encode() if token else b''
        self._metadata = packed(served.metadata(), MAX_ANSWER)
        self._turn = asyncio.Lock()
        self._clients = 0

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a handshake without the token, or one client too many."""
        if request.path == '/healthz':
            return connection.respond(http.HTTPStatus.OK, 'OK\n')
        given = ', '.join(request.headers.get_all('Authorization'))
        if self._expected and not hmac.compare_digest(
            given.encode(errors='replace'), self._expected
        ):
            LOG.warning('refused %s: wrong token', _name(connection))
            return connection.respond(
                http.HTTPStatus.UNAUTHORIZED,
                'wrong token or none; expected the header Authorization: Api-Key TOKEN.\n',
            )
        if self._clients >= MAX_CLIENTS:
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE, f'{MAX_CLIENTS} clients are connected.\n'
            )
        return None

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one client until it goes."""
        self._clients += 1
        LOG.info('%s connected', _name(connection))
        try:
            await _send(connection, self._metadata)
            total: dict[str, float] = {}
            while True:
                frame = await connection.recv()
                begin = time.perf_counter()
                answer, code = await self._answer(connection, frame, total)
                await _send(connection, answer)
                total = {'prev_total_ms': (time.perf_counter() - begin) * 1e3}
                if code is not None:
                    await connection.close(code)
        except (ConnectionClosed, TimeoutError) as error:
            LOG.info('%s left: %s', _name(connection), str(error) or 'it read no answer')
        finally:
            self._clients -= 1

    async def _answer(
        self, connection: ServerConnection, frame: bytes | str, total: dict[str, float]
    ) -> tuple[bytes | str, CloseCode | None]:
        """Return an answer, or a sentence and how to close where there is no going on."""
        loop = asyncio.get_running_loop()
        try:
            async with self._turn:
                if connection.state is not State.OPEN:
                    return '', CloseCode.GOING_AWAY
                call = partial(self._served.answer, connection, frame, total)
                return await loop.run_in_executor(self.thread, call), None
        except ProtocolError as error:
            return str(error), CloseCode.UNSUPPORTED_DATA
        except (InvalidRecordError, InvalidSettingError, PolicyServerError) as error:
            return str(error), None
        except Exception as error:
            LOG.exception('the policy failed')
            return f'the policy failed: {type(error).__name__}: {error}', CloseCode.INTERNAL_ERROR


async def _send(connection: ServerConnection, message: bytes | str) -> None:
    try:
        async with asyncio.timeout(SEND_S):
            await connection.send(message)
    except TimeoutError:
        connection.transport.abort()
        raise


def _name(connection: Any) -> str:
    address = connection.remote_address
    return f'{address[0]} port {address[1]}' if address else 'a client'
