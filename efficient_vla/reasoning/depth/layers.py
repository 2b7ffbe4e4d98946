# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which layers of a decoder are left, and where one is found that settings name by its number.

Settings count the layers of the whole decoder. What happens before a layer that is not left happens
before the next one that is.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers that are left, by their places from 0 on."""

    numbers: tuple[int, ...]
    """Number of each place in the whole decoder, increasing."""
    whole: tuple[int, ...]
    """Places whose layer attends and feeds forward; others give keys and values alone."""
    depth: int
    """Layers of the whole decoder."""

    @classmethod
    def all_of(cls, depth: int) -> 'Layers':
        """Return a decoder of ``depth`` layers that lacks none."""
        every = tuple(range(depth))
        return cls(every, every, depth)

    def place(self, number: int) -> int | None:
        """Return the place before which happens what is meant for layer ``number``.

        That of the first whole layer from there on, else of the first one; ``None`` behind all.
        """
        from_there = [place for place, own in enumerate(self.numbers) if own >= number]
        return next(
            (place for place in from_there if place in self.whole), min(from_there, default=None)
        )

    def before(self, place: int, count: int) -> tuple[int, ...]:
        """Return the last ``count`` whole layers before a place, fewer where there are fewer."""
        earlier = [whole for whole in self.whole if whole < place]
        return tuple(earlier[max(0, len(earlier) - count) :])

    def only(self, whole: Sequence[int]) -> 'Layers':
        """Return these layers with no others whole than ``whole``."""
        return Layers(self.numbers, tuple(whole), self.depth)
