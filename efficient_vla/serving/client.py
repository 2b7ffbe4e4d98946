# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A connection to a policy server that comes back by itself.

Answers have no number on the wire, but they keep the order of the observations on their connection.
So one that comes too late is waited for before anything else is asked, and dropped.
"""

import asyncio
import socket
import time
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from efficient_vla.addresses import ServerAddress
from efficient_vla.errors import PolicyServerError
from efficient_vla.loop_thread import LoopThread
from efficient_vla.serving.protocol import (
    MAX_ANSWER,
    MAX_OBSERVATION,
    ProtocolError,
    packed,
    unpacked,
)

REACH_S = 1.0
"""A machine that does not take the connection within this is not there."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 0.5
"""Pause before a connection is tried again; it doubles each time."""
GIVE_UP_S = 5.0
"""An answer that is missing for longer will not come; the connection is made anew."""
SAID = 300
"""Characters that are repeated of what a server said."""


class PolicyClient:
    """Asks one policy server; of its methods only ``close`` may be called from another thread."""

    def __init__(
        self, address: ServerAddress, token: str, timeout: float, connect_timeout: float
    ) -> None:
        """Connect; raises ``PolicyServerError`` where that fails.

        An answer is waited for ``timeout`` [s], the metadata ``connect_timeout`` [s].
        """
        self.address, self.timeout = address, timeout
        self._headers = {'Authorization': f'Api-Key {token}'} if token else None
        self._connect_timeout = connect_timeout
        self._problem = ''
        self._connection: ClientConnection | None = None
        self._owed = 0
        """Answers that are still to come on this connection."""
        self._asked = 0.0
        """When the oldest of them was asked for, by the steady clock [s]."""
        self._thread = LoopThread(str(address), self._end)
        try:
            self._connection, self.metadata = self._thread.submit(self._connect()).result()
        except PolicyServerError:
            self.close()
            raise
        self._thread.submit(self._keep(self._connection))

    def ask(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to an observation.

        Raises ``PolicyServerError`` where there is no connection, no answer in time, or one that
        is none.
        """
        try:
            frame = packed(observation, MAX_OBSERVATION)
        except ProtocolError as error:
            raise PolicyServerError(f'nothing was sent to {self.address}: {error}') from error
        return self._thread.submit(self._ask(frame)).result()

    def close(self) -> None:
        """Leave the server; nothing may be asked any more."""
        self._thread.close()

    async def _end(self) -> None:
        if self._connection is not None:
            self._connection.transport.abort()
            await self._connection.wait_closed()

    async def _ask(self, frame: bytes) -> dict[str, Any]:
        connection = self._connection
        if connection is None:
            raise PolicyServerError(self._problem)
        try:
            async with asyncio.timeout(self.timeout):
                while self._owed:
                    await connection.recv()
                    self._owed -= 1
                if await _has_more(connection):
                    connection.transport.abort()
                    raise PolicyServerError(
                        f'{self.address} sent more answers than it was asked for; expected one '
                        'for each observation, since they have no number. Correct the server.'
                    )
                self._owed, self._asked = 1, time.monotonic()
                await connection.send(frame)
                answer = await connection.recv()
                self._owed = 0
        except TimeoutError as error:
            missing = time.monotonic() - self._asked
            if missing > max(GIVE_UP_S, self.timeout):
                connection.transport.abort()
            raise PolicyServerError(
                f'{self.address} has not answered for {missing:.1f} s; expected an answer within '
                f'remote.timeout {self.timeout} s. Is the server overloaded, or does it hang?'
            ) from error
        except (WebSocketException, OSError) as error:
            raise self._lost(error) from error
        return self._read(answer)

    def _read(self, answer: bytes | str) -> dict[str, Any]:
        if isinstance(answer, str):
            # A traceback ends with what went wrong.
            lines = [line.strip() for line in answer.splitlines() if line.strip()]
            said = lines[-1][:SAID] if lines else 'nothing'
            raise PolicyServerError(f'{self.address} refused the observation: {said}')
        try:
            return unpacked(answer)
        except ProtocolError as error:
            raise PolicyServerError(f'the answer of {self.address} is none: {error}') from error

    async def _keep(self, connection: ClientConnection) -> None:
        """Make a new connection whenever there is none."""
        while True:
            await connection.wait_closed()
            self._connection = None
            self._problem = str(self._lost(None))
            connection = await self._again()
            self._owed = 0
            self._connection = connection

    async def _again(self) -> ClientConnection:
        wait = FIRST_WAIT_S
        while True:
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)
            try:
                connection, metadata = await self._connect()
            except PolicyServerError as error:
                self._problem = str(error)
                continue
            if _same(metadata, self.metadata):
                return connection
            connection.transport.abort()
            self._problem = (
                f'{self.address} has another policy than before: its metadata changed. Configure '
                'the node again, or start the earlier policy.'
            )

    async def _connect(self) -> tuple[ClientConnection, dict[str, Any]]:
        address, host = self.address, (self.address.host, self.address.port)
        try:
            plain = await asyncio.to_thread(socket.create_connection, host, REACH_S)
        except (OSError, UnicodeError) as error:
            raise PolicyServerError(
                f'no policy server answers at {address}: {_reason(error)}. Start it, or correct '
                'the address.'
            ) from error
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await connect(
                    str(address),
                    sock=plain,
                    additional_headers=self._headers,
                    compression=None,
                    max_size=MAX_ANSWER,
                    max_queue=4,
                    open_timeout=None,
                    # A server that computes in its event loop answers no ping meanwhile.
                    ping_interval=None,
                    close_timeout=1.0,
                    proxy=None,
                )
                try:
                    return connection, self._read(await connection.recv())
                except BaseException:
                    connection.transport.abort()
                    raise
        except InvalidStatus as error:
            plain.close()
            body = (error.response.body or b'').decode(errors='replace').strip()[:SAID]
            denied = error.response.status_code == 401
            remedy = 'Set remote.token_file, or --token-file of inspect.' if denied else ''
            raise PolicyServerError(
                f'{address} refuses the connection with status {error.response.status_code}: '
                f'{body} {remedy}'.rstrip()
            ) from error
        except (TimeoutError, WebSocketException, OSError) as error:
            plain.close()
            raise PolicyServerError(
                f'{address} is no policy server, or hangs: {_reason(error)}; expected metadata '
                f'within remote.connect_timeout {self._connect_timeout} s.'
            ) from error

    def _lost(self, error: Exception | None) -> PolicyServerError:
        why = f': {_reason(error)}' if error is not None else ''
        return PolicyServerError(
            f'the connection to the policy server {self.address} is lost{why}. It is made anew as '
            'soon as the server is back.'
        )


async def _has_more(connection: ClientConnection) -> bool:
    """Return whether a message came that nobody waits for, and take it."""
    try:
        async with asyncio.timeout(0):
            await connection.recv()
    except TimeoutError:
        return False
    return True


def _same(one: Any, other: Any) -> bool:
    """Return whether two parts of metadata say the same; arrays and NaN know no ``==`` for that."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return packed({'': one}, MAX_ANSWER) == packed({'': other}, MAX_ANSWER)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return 'no answer in time'
    return (getattr(error, 'strerror', None) or str(error) or type(error).__name__).rstrip('.')
