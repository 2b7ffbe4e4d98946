# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Frames of the last moments, for policies that look at several a row apart."""

import math
import threading
from collections import deque
from collections.abc import Iterable

from efficient_vla.types import Frame

SLACK_S = 0.5
"""Frames are kept so much longer, since a chunk is asked for some time after its frame."""
CLOCK_SET_S = 2.0
"""Only a frame so far back means that a clock was set."""


class EarlierFrames:
    """Remember frames, and find those that lie as far apart as in training."""

    def __init__(self, count: int, dt: float) -> None:
        """A policy looks at ``count`` frames, ``dt`` [s] apart."""
        self.span = (count - 1) * dt
        self._count, self._dt = count, dt
        self._frames: deque[Frame] = deque()
        self._began = -math.inf
        """Capture time of the first frame of the episode [s]."""
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Start a new episode."""
        with self._lock:
            self._frames.clear()

    def add(self, frame: Frame) -> None:
        """Remember a frame, unless a newer one is known, and forget those before its span."""
        with self._lock:
            newest = self._frames[-1].stamp if self._frames else -math.inf
            if frame.stamp == newest:
                self._frames[-1] = frame
            if newest - CLOCK_SET_S < frame.stamp <= newest:
                return
            if frame.stamp < newest:
                self._frames.clear()
            if not self._frames:
                self._began = frame.stamp
            self._frames.append(frame)
            while self._frames[0].stamp < frame.stamp - self.span - SLACK_S:
                self._frames.popleft()

    def until(self, frame: Frame) -> tuple[list[Frame], str]:
        """Return the frames that a policy looks at, ``frame`` the last, and what is wrong of them.

        One that is not there is replaced by the nearest: at the start of an episode by the first,
        as in training, and later with a note.
        """
        with self._lock:
            known = [one for one in self._frames if one.stamp < frame.stamp] + [frame]
        wanted = [frame.stamp - n * self._dt for n in reversed(range(self._count))]
        found = [_nearest(known, stamp) for stamp in wanted]
        off = max(abs(one.stamp - at) for one, at in zip(found, wanted, strict=True))
        if off <= self._dt / 2 or self._began > wanted[0]:
            return found, ''
        return found, (
            f'a frame {off:.3g} s away from where the policy looks for it: it was trained on '
            f'frames {self._dt:.3g} s apart'
        )


def _nearest(frames: Iterable[Frame], stamp: float) -> Frame:
    return min(frames, key=lambda frame: abs(frame.stamp - stamp))
