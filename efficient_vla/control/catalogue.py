# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every blending, once: choices, help, classes and what it asks of the head derive from here.

A name is that of a class of ``blending/<file>.py``, which is loaded when it is used.
"""

from dataclasses import dataclass

from efficient_vla.types import HeadHelp


@dataclass(frozen=True, slots=True)
class BlendingEntry:
    """A way in which a new chunk takes over."""

    kind: str
    """``file:Class``, made of the settings of blending."""
    about: str
    help: HeadHelp = HeadHelp.NONE


BLENDINGS = {
    'latest_only': BlendingEntry('latest_only:LatestOnly', 'switches to the newest chunk'),
    'weighted_average': BlendingEntry(
        'weighted_average:WeightedAverage', 'goes over to the newest chunk while both last'
    ),
    'temporal_ensemble': BlendingEntry(
        'temporal_ensemble:TemporalEnsemble', 'averages all live chunks'
    ),
    'offset_fade': BlendingEntry('offset_fade:OffsetFade', 'fades the offset at the seam out'),
    'rtc': BlendingEntry(
        'rtc:RealTimeChunking',
        'asks the actor to draw chunks to the one before, at the cost of a backward pass a step; '
        'needs actor.head flow, and what offset remains fades',
        HeadHelp.INPAINT,
    ),
    'rtc_trained': BlendingEntry(
        'rtc:RealTimeChunking',
        'asks the actor to keep the first rows, which training knew; needs actor.head flow, and '
        'what offset remains fades',
        HeadHelp.PREFIX,
    ),
}
"""``blending.method`` -> what it is."""


def head_help(blending: str) -> HeadHelp:
    """Return what a blending asks of the head; nothing where it is of another controller."""
    entry = BLENDINGS.get(blending)
    return entry.help if entry is not None else HeadHelp.NONE
