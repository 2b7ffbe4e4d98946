# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The subtask that the decoder reads in place of the instruction, as a server names it."""

import math
from concurrent.futures import CancelledError, Future
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from efficient_vla.errors import PolicyServerError
from efficient_vla.nodes.base.conversions import refuse_future, stamp_to_seconds
from efficient_vla.nodes.base.pictures import image_type, pixels_of
from efficient_vla.nodes.base.qos import camera_qos
from efficient_vla.reasoning.subtasks.chat import REMEMBERED, Question
from efficient_vla.reasoning.subtasks.server import SubtaskServer
from efficient_vla.reasoning.subtasks.settings import plain
from efficient_vla.types import InvalidRecordError

if TYPE_CHECKING:
    from efficient_vla.nodes.stages.reasoner import ReasonerNode

RULE = 'subtasks'
IMAGE_AGE_S = 1.0
"""The server decides on images that are no older."""
RETRY_S = 1.0
"""A server that gave no answer is asked again after this, or after ``period`` if that is less."""


class Subtasks:
    """Ask again and again while there is a task; only the executor's thread calls.

    Times are those of the steady clock: a server thinks in real time.
    """

    def __init__(self, node: 'ReasonerNode') -> None:
        """Raise ``InvalidSettingError`` where the server cannot be asked at all."""
        self._node = node
        self._images: dict[str, Any] = {}
        """Newest message of each topic."""
        self._read: str | None = None
        """What was to be read at the last look."""
        self._subtask = ''
        self._since = -math.inf
        """When it was first named."""
        self._told = -math.inf
        """When the oldest image was captured by which an answer last named it."""
        self._done: list[str] = []
        """Subtasks of this task before it."""
        self._asked: Future[str] | None = None
        self._asked_at = self._due = -math.inf
        self._answers = self._failures = 0
        for topic in node.settings.subtasks.images:
            self._follow(topic)
        self._server = SubtaskServer(node.settings.subtasks)

    def begin(self) -> None:
        """Forget the task before, and ask at the next look."""
        if self._asked is not None:
            self._asked.cancel()
        self._asked = None
        self._subtask, self._done = '', []
        self._due = -math.inf
        for rule in (RULE, 'no_subtask', 'subtask_image'):
            self._node.health.clear(rule)

    def close(self) -> None:
        """Ask no more."""
        self._server.close()

    def reading(self, instruction: str) -> str | None:
        """Return what is read in its place; empty: nothing, ``None``: no plan is made."""
        settings = self._node.settings.subtasks
        if self._subtask and monotonic() - self._told <= settings.max_age:
            return self._subtask
        known = not settings.choices or plain(instruction) in map(plain, settings.choices)
        return '' if settings.fallback == 'instruction' and known else None

    def look(self, instruction: str, since: float) -> bool:
        """Take an answer and ask anew, where it is time; return whether another one is read now.

        Images of before ``since`` [s] show nothing of this task.
        """
        now = monotonic()
        if self._asked is not None and self._asked.done():
            self._take(self._asked, now)
            self._asked = None
        if self._asked is None and now >= self._due:
            self._ask(instruction, since, now)
        read, before = self.reading(instruction), self._read
        self._read = read
        waits = (
            'no subtask of the server holds, and subtasks.fallback is hold, or the instruction is '
            'none of subtasks.choices: no plan is made'
        )
        self._node.health.warn('no_subtask', waits if read is None else '')
        return read != before

    def report(self) -> dict[str, Any]:
        """Return what /diagnostics shows."""
        return {
            'subtask': self._subtask,
            'subtask_age_s': monotonic() - self._told,
            'subtask_answers': self._answers,
            'subtask_failures': self._failures,
        }

    def _follow(self, topic: str) -> None:
        def received(message: Any) -> None:
            expected.heard(stamp_to_seconds(message.header.stamp))
            self._images[topic] = message

        node = self._node
        kind = image_type(node.resolve_topic_name(topic), '', ())
        expected = node.follow(kind, topic, camera_qos(), received, lambda: node.tasked, False)

    def _ask(self, instruction: str, since: float, now: float) -> None:
        """Ask, where every camera has shown what is there now."""
        settings, clock = self._node.settings.subtasks, self._node.seconds()
        seen = [self._seen(topic, max(since, clock - IMAGE_AGE_S)) for topic in settings.images]
        pictures = [(picture, stamp) for picture, stamp in seen if picture is not None]
        if len(pictures) < len(seen):
            return
        self._node.health.clear('subtask_image')
        oldest = min((stamp for _, stamp in pictures), default=clock)
        self._asked_at, self._due = now - max(clock - oldest, 0.0), now + settings.period
        lasted = now - self._since if self._subtask else 0.0
        images = tuple(picture for picture, _ in pictures)
        question = Question(instruction, tuple(self._done), self._subtask, lasted, images)
        self._asked = self._server.ask(question, settings)

    def _seen(self, topic: str, since: float) -> tuple[np.ndarray | None, float]:
        """Return the newest image of a topic and its stamp, ``None`` where none is of ``since``."""
        message, why = self._images.get(topic), 'no image came. Is the topic right?'
        stamp = -math.inf if message is None else stamp_to_seconds(message.header.stamp)
        try:
            refuse_future(topic, stamp, self._node.seconds(), self._node.settings.max_future)
            if stamp >= since:
                return pixels_of(message), stamp
            if message is not None:
                why = 'its newest image is too old to ask about'
        except InvalidRecordError as error:
            why = str(error)
        self._node.health.warn('subtask_image', f'{topic}: {why}')
        return None, stamp

    def _take(self, asked: 'Future[str]', now: float) -> None:
        try:
            said = asked.result()
        except CancelledError:
            return
        except PolicyServerError as error:
            self._failed(str(error), now)
        except Exception as error:
            self._failed(f'{type(error).__name__}: {error}', now)
        else:
            self._answers += 1
            self._node.health.clear(RULE)
            self._told = self._asked_at
            if said != self._subtask:
                self._done = [*self._done, *filter(None, [self._subtask])][-REMEMBERED:]
                self._subtask, self._since = said, now

    def _failed(self, reason: str, now: float) -> None:
        self._failures += 1
        self._node.health.warn(RULE, reason)
        self._due = now + min(self._node.settings.subtasks.period, RETRY_S)
