# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the papers report, beside what was measured here.

Source: the survey of the methods in ``research/pruning.md``, section 1; each entry is one operating
point of one table, on another model, benchmark and machine than ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHORTFALL = 0.95
"""A speed-up below this share of the published one counts as not reproduced."""
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Published:
    """One method's own numbers."""

    success: str
    speed: str
    speed_up: float | None = None
    """The smallest one that the method is published with; ``None`` where there is none."""
    whole: bool = True
    """Whether it is that of the whole policy, or of the language model only."""
    keeps_success: bool = True
    """Whether success is published as kept, within a point."""


PUBLISHED: dict[str, Published] = {
    'fastv': Published(
        'OpenVLA-OFT, LIBERO: 97.1 to 86.8 (ADP), 96.6 to 93.3 (SpecPrune-VLA)',
        '1.24x (ADP) and 1.44x (SpecPrune-VLA)',
        1.24,
        keeps_success=False,
    ),
    'efficientvla': Published(
        'tokens only, 56 of 256, CogACT: 91.3 to 95.6 (one task)', '1.25x, A40', 1.25
    ),
    'sp_vla': Published(
        'OpenVLA, LIBERO: 74.6 to 74.9 or 71.9, with the scheduler', '1.35x or 1.50x', 1.35
    ),
    'flashvla': Published('OpenVLA, LIBERO: 74.4 to 73.7, 160 of 256', 'latency -36.0 %', 1.56),
    'lightvla': Published('OpenVLA-OFT, LIBERO: +2.6 points, fine-tuned', 'latency -38.2 %', 1.62),
    'adp': Published(
        'OpenVLA-OFT, LIBERO: 97.1 to 96.3 / 94.8 / 94.4 at keep 0.5 / 0.4 / 0.3',
        '1.23x / 1.29x / 1.35x, language model',
        1.23,
        whole=False,
    ),
    'fastdrivevla': Published(
        'nuScenes open loop, half kept: L2 31.83 to 32.10 cm', 'no latency in the notes'
    ),
    'specprune': Published(
        'OpenVLA-OFT, LIBERO: 96.6 to 96.6', '109 to 72-78 ms, 1.46x, A800', 1.46
    ),
    'sqap': Published(
        'CogACT, SIMPLER, W4A4 with pruning: 74.8 to up to 79.3', '1.93x with W4A4', 1.93
    ),
    'random': Published(
        'CogACT, 112 of 256: 20.9 (EfficientVLA)',
        'as the selector with as many tokens',
        keeps_success=False,
    ),
    'vla_cache': Published(
        'OpenVLA, LIBERO: 75.0 to 74.7; OpenVLA-OFT: 96.8 to 97.4',
        '1.63x language model, 1.26x OpenVLA-OFT; by others 1.07x and 0.996x',
        1.26,
    ),
    'patch': Published(
        'TTF-VLA (fuses patches, still computes all), OpenVLA, LIBERO: 68.4 to 72.4',
        'no speed-up (TTF-VLA)',
    ),
    'univla': Published('LIBERO 95.5, an architecture of its own', 'none published'),
    'otter': Published('an architecture of its own', 'none in the notes'),
}
"""Method -> what its paper, or a named other one, reports."""


def speed_up(row: Mapping[str, Any], whole: bool) -> float:
    """Return how many times faster than dense a row of the part ``methods`` is."""
    return 1 / float(row['plan_ratio' if whole else 'reasoner_ratio'])


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a plain sentence for each published gain that the rows do not show.

    ``rows`` are those of the part ``methods``; of a method the fastest one is held against the
    paper, and the one at the highest keep where success is in question.
    """
    found = []
    for method, published in PUBLISHED.items():
        mine = [row for row in rows if row['method'] == method and 'plan_ratio' in row]
        if not mine:
            continue
        fastest = max(mine, key=lambda row: speed_up(row, published.whole))
        here = speed_up(fastest, published.whole)
        if published.speed_up is not None and here < SHORTFALL * published.speed_up:
            part = 'perception and reasoner together' if published.whole else 'the reasoner'
            found.append(
                f'{method}: the published {published.speed_up:g}x does not reproduce; here it is '
                f'{here:.2f}x for {part}{_at(fastest)}.'
            )
        gentle = max(mine, key=lambda row: row['keep'] or 0.0)
        lost = gentle['dense_success_rate'] - gentle['success_rate']
        if published.keeps_success and lost > 0 and gentle['p_value'] < SIGNIFICANT:
            found.append(
                f'{method}: success is published as kept; here it falls by {100 * lost:.0f} '
                f'points{_at(gentle)} (p = {gentle["p_value"]:.3g}).'
            )
    return found


def _at(row: Mapping[str, Any]) -> str:
    return f' at keep {row["keep"]:g}' if row['keep'] is not None else ''
