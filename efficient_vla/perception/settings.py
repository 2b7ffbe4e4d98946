# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the perception stage."""

from dataclasses import dataclass

from efficient_vla.settings import group
from efficient_vla.settings import setting

CACHE_METHODS = ('none', 'reuse', 'skip')


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Temporal token cache: what happens when a camera frame has not changed."""

    method: str = setting(
        'none',
        'What an unchanged frame costs: none recomputes it, reuse sends the earlier tokens again, '
        'skip sends nothing so that the reasoner keeps its plan.',
        choices=CACHE_METHODS,
    )
    threshold: float = setting(
        0.02,
        'A frame is unchanged while no patch differs by more than this mean absolute difference '
        'of intensity (0 to 1) from the frame that was encoded.',
        low=0.0,
        high=1.0,
    )
    max_age: float = setting(
        1.0,
        'Tokens older than this are recomputed whatever the image says.',
        unit='s',
        low=0.0,
        high=60.0,
    )


@dataclass(frozen=True, slots=True)
class PerceptionSettings:
    """Parameters of the perception stage."""

    cache: CacheSettings = group(CacheSettings)
