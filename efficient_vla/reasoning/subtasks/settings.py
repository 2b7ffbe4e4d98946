# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which server is asked for subtasks, how often, and what holds while it says nothing."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from efficient_vla.instructions import checked_instruction
from efficient_vla.settings import InvalidSettingError, setting
from efficient_vla.types import InvalidRecordError

LONGEST = 200
"""Characters of a subtask."""
TOPIC = re.compile(r'[~/]?[A-Za-z_]\w*(/[A-Za-z_]\w*)*')
FALLBACKS = ('instruction', 'hold')
PROMPT = (
    'You plan for a robot arm that does one short step at a time. From the task and the images of '
    'now, name the step that the arm shall do now. Keep to a step until the images show that it is '
    'done, then name the next one. Answer with a JSON object whose one key, subtask, holds the '
    'step as a short imperative sentence.'
)


@dataclass(frozen=True, slots=True)
class SubtaskSettings:
    """Task decomposition by a server that speaks OpenAI's chat completions."""

    server: str = setting(
        '',
        'Address of a server of OpenAI-compatible chat completions, such as http://gpu.lan:8000: '
        'the decoder reads the subtask that it names in place of the instruction. Empty: none.',
        read_only=True,
    )
    model: str = setting('', 'Name of the model there.', read_only=True)
    certificate: str = setting(
        '',
        'File with the certificate of an authority of your own, for https://; empty: those that '
        'the machine trusts.',
        read_only=True,
    )
    images: tuple[str, ...] = setting(
        ('camera/image_raw',),
        'Topics of the images that the server sees, the newest of each; on one that ends in '
        '/compressed sensor_msgs/CompressedImage. Empty: the sentence alone.',
        read_only=True,
    )
    image_size: int = setting(
        448,
        'Larger images are shrunk to so many pixels along their longer side.',
        unit='px',
        low=32,
        high=4096,
    )
    choices: tuple[str, ...] = setting(
        (),
        'Sentences that the policy knows, one of which is a subtask; empty: any sentence.',
    )
    prompt: str = setting(PROMPT, 'What the model is told first.')
    max_tokens: int = setting(
        128, 'Longest answer; models that reason before it need more.', low=8, high=8192
    )
    period: float = setting(
        2.0, 'The server is asked again after this long.', unit='s', low=0.1, high=600.0
    )
    timeout: float = setting(
        5.0, 'An answer that takes longer is none.', unit='s', low=0.05, high=600.0
    )
    max_age: float = setting(
        15.0,
        'A subtask that no answer named again for this long holds no more.',
        unit='s',
        low=0.1,
        high=3600.0,
    )
    fallback: str = setting(
        'instruction',
        'What is read while no subtask holds. instruction: the sentence of the operator, if it is '
        'one of choices or there are none; hold: no plan is made, so that the robot holds.',
        choices=FALLBACKS,
    )

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if not self.server:
            return None
        try:
            address = completions_url(self.server)
        except InvalidSettingError as error:
            return str(error)
        if not self.model.strip():
            return (
                'subtasks.model is empty while subtasks.server is set; expected the name under '
                'which the server has its model. Ask it: curl SERVER/v1/models.'
            )
        if self.certificate and not address.startswith('https:'):
            return (
                'subtasks.certificate is set while subtasks.server is no https:// address; '
                'expected one. Leave the certificate out, or correct the address.'
            )
        if self.max_age < self.period + self.timeout:
            return (
                f'subtasks.max_age is {self.max_age} s; expected at least period and timeout, '
                f'{self.period + self.timeout} s, or a subtask ends while the next answer is under '
                'way. Raise it.'
            )
        return self._check_lists()

    def _check_lists(self) -> str | None:
        odd = [topic for topic in self.images if not TOPIC.fullmatch(topic)]
        if odd or _twice(self.images):
            return (
                f'subtasks.images is {list(self.images)}; expected names of topics, each once, as '
                'camera/image_raw.'
            )
        for choice in self.choices:
            try:
                fits = checked_instruction(choice) == choice and len(choice) <= LONGEST
            except InvalidRecordError as error:
                return f'subtasks.choices has {choice!r}: {error}'
            if not fits:
                return (
                    f'subtasks.choices has {choice!r}; expected a sentence of at most {LONGEST} '
                    'characters without superfluous space. Shorten it.'
                )
        twice = _twice(map(plain, self.choices))
        if twice:
            return f'subtasks.choices has {twice!r} more than once; expected each once.'
        return None


def plain(sentence: str) -> str:
    """Return a sentence by which it is told from others: without case and a stop at its end."""
    return ' '.join(sentence.split()).rstrip('.!').casefold()


def _twice(names: Iterable[str]) -> str:
    return next((name for name, count in Counter(names).items() if count > 1), '')


def completions_url(server: str) -> str:
    """Return where chat completions are asked for; raise ``InvalidSettingError`` for no address.

    What may hold a password is repeated in no message.
    """
    if '@' in server:
        raise InvalidSettingError(
            'subtasks.server has an @; expected an address without user and password, which would '
            'be shown with the parameters. Give a token by the environment.'
        )
    wrong = InvalidSettingError(
        f'subtasks.server is {server!r}; expected http://HOST:PORT or https://HOST:PORT, such as '
        'http://127.0.0.1:8000.'
    )
    try:
        parts = urlsplit(server)
        host, _ = parts.hostname or '', parts.port
        if ':' in host:
            ip_address(host)
    except ValueError as error:
        raise wrong from error
    extra = parts.query or parts.fragment or not server.isascii() or not server.isprintable()
    if parts.scheme not in ('http', 'https') or not host or extra or ' ' in server:
        raise wrong
    base = server.rstrip('/').removesuffix('/v1')
    return f'{base}/v1/chat/completions'
