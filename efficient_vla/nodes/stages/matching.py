# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Images of several cameras: the newest set whose stamps are near, and whose image one is."""

import re
from collections import deque
from typing import Any

KEPT = 8
"""Images of a camera that wait for those of the others."""
GENERIC = frozenset(('camera', 'color', 'rgb', 'image', 'optical', 'link', 'frame'))


class Matcher:
    """Images wait here until every camera has one of about the same time; each is used once."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._waiting: dict[str, deque[tuple[float, Any]]] = {
            name: deque(maxlen=KEPT) for name in names
        }

    def clear(self) -> None:
        """Forget all images."""
        for images in self._waiting.values():
            images.clear()

    def add(self, name: str, stamp: float, image: Any) -> None:
        """Let an image wait that is newer than all of its camera, or of a clock that was set."""
        images = self._waiting[name]
        if images and stamp <= images[-1][0]:
            images.clear()
        images.append((stamp, image))

    def match(self, slop: float) -> tuple[dict[str, tuple[float, Any]] | None, str]:
        """Return the newest set whose stamps [s] differ by at most ``slop``, or ``None``.

        Beside it stands the camera that lags, and by how much in words, where every camera has an
        image and none of them are that near. What is older than the set, or will never be in one,
        is forgotten.
        """
        if not all(self._waiting.values()):
            return None, ''
        newest = {name: images[-1][0] for name, images in self._waiting.items()}
        late = min(newest, key=lambda name: newest[name])
        found = {
            name: min(images, key=lambda item: abs(item[0] - newest[late]))
            for name, images in self._waiting.items()
        }
        stamps = [stamp for stamp, _ in found.values()]
        apart = max(stamps) - min(stamps)
        whole = apart <= slop
        for name, images in self._waiting.items():
            past = found[name][0] if whole else newest[late] - slop
            while images and (images[0][0] < past or (whole and images[0][0] == past)):
                images.popleft()
        if whole:
            return found, ''
        behind = max(newest.values()) - newest[late]
        return None, f'{late} lags by {behind:.3f} s and the nearest images differ by {apart:.3f} s'


def misnamed(frame: str, name: str, names: tuple[str, ...]) -> str | None:
    """Return which other camera of ``names`` the ``frame_id`` of an image of ``name`` is called by.

    ``None`` where it is called by its own, by none or by several. A name of words
    that drivers stamp on the frames of any camera calls none.
    """
    words = set(re.split(r'[^a-z0-9]+', frame.lower()))
    named = {name: set(name.lower().split('_')) for name in names}
    said = [other for other, own in named.items() if own <= words and not own <= GENERIC]
    return said[0] if len(said) == 1 and said[0] != name else None
