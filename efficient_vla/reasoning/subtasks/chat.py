# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of a server of chat completions, and which answers are some."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from efficient_vla.errors import PolicyServerError
from efficient_vla.instructions import checked_instruction
from efficient_vla.reasoning.subtasks.settings import LONGEST, SubtaskSettings, plain
from efficient_vla.types import InvalidRecordError

JPEG_QUALITY = 85
SAID = 80
"""Characters that are repeated of what a server said."""
REMEMBERED = 8
"""Latest subtasks of a task that the server is told."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is known of a task now."""

    instruction: str
    done: tuple[str, ...] = ()
    """Subtasks before the present one, the oldest first."""
    subtask: str = ''
    """The present one, or empty."""
    seconds: float = 0.0
    """How long that has been at work [s]."""
    images: tuple[np.ndarray, ...] = ()
    """uint8 rgb, [rows, columns, 3] each."""


def request_body(question: Question, settings: SubtaskSettings) -> bytes:
    """Return the JSON of a request, with its images as JPEG."""
    content: list[dict[str, Any]] = [{'type': 'text', 'text': _told(question, settings.choices)}]
    for image in question.images:
        url = f'data:image/jpeg;base64,{_jpeg(image, settings.image_size)}'
        content.append({'type': 'image_url', 'image_url': {'url': url}})
    subtask: dict[str, Any] = {'type': 'string'}
    if settings.choices:
        subtask = {'type': 'string', 'enum': list(settings.choices)}
    schema = {
        'type': 'object',
        'properties': {'subtask': subtask},
        'required': ['subtask'],
        'additionalProperties': False,
    }
    asked = {
        'model': settings.model,
        'messages': [
            {'role': 'system', 'content': settings.prompt},
            {'role': 'user', 'content': content},
        ],
        'max_tokens': settings.max_tokens,
        'temperature': 0,
        'response_format': {
            'type': 'json_schema',
            'json_schema': {'name': 'subtask', 'strict': True, 'schema': schema},
        },
    }
    return json.dumps(asked).encode()


def read_answer(body: bytes, choices: Sequence[str]) -> str:
    """Return the subtask that the body of an answer names, one of ``choices`` where there are some.

    Raises ``PolicyServerError`` for anything else.
    """
    answer = _json(body, 'the answer')
    match answer:
        case {'choices': [{'message': {'content': str(content)}} as choice, *_]}:
            if choice.get('finish_reason') == 'length':
                raise PolicyServerError(
                    'the answer was cut off at its longest; expected a whole one. Raise '
                    'subtasks.max_tokens.'
                )
        case _:
            raise PolicyServerError(
                f'the answer is {_shown(body)}; expected choices, with a message and its content. '
                'Is it a server of chat completions?'
            )
    said = _json(content.encode(), 'the content of the answer')
    if not (isinstance(said, dict) and set(said) == {'subtask'}):
        raise PolicyServerError(
            f'the model said {_shown(content)}; expected {{"subtask": "a sentence"}} alone. Use a '
            'model and a server that keep to response_format.'
        )
    return _resolved(said['subtask'], choices)


def _told(question: Question, choices: Sequence[str]) -> str:
    lines = [f'Task: {question.instruction}']
    if choices:
        lines.append(f'Steps that the arm knows: {"; ".join(choices)}')
    if question.done:
        lines.append(f'Steps before: {"; ".join(question.done[-REMEMBERED:])}')
    if question.subtask:
        lines.append(f'Step under way for {question.seconds:.0f} s: {question.subtask}')
    return '\n'.join(lines)


def _jpeg(image: np.ndarray, longest: int) -> str:
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest))
    file = io.BytesIO()
    picture.save(file, 'JPEG', quality=JPEG_QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def _json(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyServerError(
            f'{what} is {_shown(text)}; expected JSON. Is it a server of chat completions?'
        ) from error


def _resolved(said: Any, choices: Sequence[str]) -> str:
    """Return the one of ``choices`` that is meant, or any sentence where there are none."""
    try:
        sentence = checked_instruction(said)
    except InvalidRecordError as error:
        raise PolicyServerError(f'the subtask is none: {str(error)[:LONGEST]}') from error
    if len(sentence) > LONGEST:
        raise PolicyServerError(
            f'the subtask has {len(sentence)} characters; expected at most {LONGEST}.'
        )
    known = {plain(choice): choice for choice in choices}
    if choices and plain(sentence) not in known:
        raise PolicyServerError(
            f'the subtask is {_shown(sentence)}; expected one of subtasks.choices. Name them in '
            'the prompt, or use a server that keeps to response_format.'
        )
    return known.get(plain(sentence), sentence)


def _shown(said: bytes | str) -> str:
    text = said.decode(errors='replace') if isinstance(said, bytes) else said
    return ascii(text if len(text) <= SAID else f'{text[:SAID]}...')
