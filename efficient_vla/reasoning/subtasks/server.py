# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A server of chat completions, asked on a thread of its own; nothing that it does ends that."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from concurrent.futures import Future

import httpx2

from efficient_vla.errors import PolicyServerError
from efficient_vla.loop_thread import LoopThread
from efficient_vla.reasoning.subtasks.chat import Question, read_answer, request_body
from efficient_vla.reasoning.subtasks.settings import SubtaskSettings, completions_url
from efficient_vla.settings import InvalidSettingError

TOKEN = 'EFFICIENT_VLA_SERVER_TOKEN'
"""Variable of the environment with the token that the server demands."""
REACH_S = 1.0
"""A machine that does not take the connection within this is not there."""
MOST = 256 * 1024
"""Bytes of an answer."""
REMEDIES = {
    401: f' Set {TOKEN} to the token of the server.',
    403: f' Set {TOKEN} to a token that may use the model.',
    404: ' Correct subtasks.server, or subtasks.model.',
}


class SubtaskServer:
    """Asks one server; of its methods none waits for it."""

    def __init__(
        self, settings: SubtaskSettings, environment: Mapping[str, str] = os.environ
    ) -> None:
        """Prepare; raises ``InvalidSettingError`` for a certificate or a token that is none."""
        self._url = completions_url(settings.server)
        self._headers = {'Content-Type': 'application/json', 'Accept-Encoding': 'identity'}
        token = environment.get(TOKEN, '')
        if token:
            if not (token.isascii() and token.isprintable()) or ' ' in token:
                raise InvalidSettingError(
                    f'{TOKEN} holds a space or another character that no token has; expected one '
                    'word.'
                )
            self._headers['Authorization'] = f'Bearer {token}'
        self._context = _trusting(settings.certificate)
        self._client: httpx2.AsyncClient | None = None
        self._thread = LoopThread('subtasks', self._end)

    def ask(self, question: Question, settings: SubtaskSettings) -> 'Future[str]':
        """Return the subtask of now, as soon as there is one.

        The future ends within ``settings.timeout``, with ``PolicyServerError`` where no answer
        came or it is none.
        """
        return self._thread.submit(self._ask(question, settings))

    def close(self) -> None:
        """Leave the server, and what is asked of it."""
        self._thread.close()

    async def _end(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self, question: Question, settings: SubtaskSettings) -> str:
        try:
            async with asyncio.timeout(settings.timeout):
                body = await self._answer(request_body(question, settings), settings.timeout)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise PolicyServerError(
                f'{self._url} has not answered within subtasks.timeout {settings.timeout} s. Is '
                'the server overloaded, or does it hang?'
            ) from error
        except (httpx2.HTTPError, OSError) as error:
            reason = str(error).rstrip('.') or type(error).__name__
            raise PolicyServerError(
                f'{self._url} does not answer: {reason}. Start the server, or correct '
                'subtasks.server.'
            ) from error
        return read_answer(body, settings.choices)

    async def _answer(self, body: bytes, timeout: float) -> bytes:
        if self._client is None:
            # No proxy and no .netrc of the environment; redirects are not followed.
            self._client = httpx2.AsyncClient(
                verify=self._context, trust_env=False, follow_redirects=False
            )
        limits = httpx2.Timeout(timeout, connect=min(REACH_S, timeout))
        asked = self._client.stream(
            'POST', self._url, content=body, headers=self._headers, timeout=limits
        )
        async with asked as response:
            self._refuse(response)
            found = bytearray()
            async for part in response.aiter_raw():
                found += part
                if len(found) > MOST:
                    raise PolicyServerError(
                        f'{self._url} answers with more than {MOST} bytes; expected a sentence.'
                    )
        return bytes(found)

    def _refuse(self, response: httpx2.Response) -> None:
        status, headers = response.status_code, response.headers
        if 300 <= status < 400:
            raise PolicyServerError(
                f'{self._url} redirects to another address, which is not followed. Set '
                'subtasks.server to where it is.'
            )
        if status != 200:
            raise PolicyServerError(
                f'{self._url} answers with status {status}; expected 200.'
                f'{REMEDIES.get(status, " Its log says why.")}'
            )
        if headers.get('content-encoding', 'identity') != 'identity':
            raise PolicyServerError(
                f'{self._url} compresses its answer, which it was asked not to do; expected plain '
                'JSON. Correct the server, or the proxy before it.'
            )


def _trusting(certificate: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=certificate or None)
    except OSError as error:
        raise InvalidSettingError(
            f'subtasks.certificate {certificate!r} cannot be used: {error}. Give a file in PEM.'
        ) from error
