# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Narrower layers of the decoder; importing this loads no torch."""

from dataclasses import dataclass

from efficient_vla.settings import setting

METHOD = 'structured'
"""``width.method``, and the name of its add-on."""


@dataclass(frozen=True, slots=True)
class WidthSettings:
    """How many heads and channels of each layer of the decoder stay."""

    method: str = setting(
        'none',
        'Whether layers of the decoder lose heads of their attention and channels of their '
        'feed-forward network, those that matter least for the actions. structured: by measured '
        'importance, with updates of what stays at the shares that it was trained for.',
        choices=('none', METHOD),
        read_only=True,
    )
    heads: float = setting(
        1.0,
        'Share of the heads of each layer that stay, rounded, at least one; heads that have keys '
        'and values in common go together.',
        low=0.0,
        high=1.0,
        read_only=True,
    )
    channels: float = setting(
        0.5,
        'Share of the channels of each feed-forward network that stay, rounded.',
        low=0.01,
        high=1.0,
        read_only=True,
    )

    def counts(self, groups: int, channels: int) -> tuple[int, int]:
        """Return how many of ``groups`` of heads and of ``channels`` stay."""
        return max(1, round(self.heads * groups)), max(1, round(self.channels * channels))
