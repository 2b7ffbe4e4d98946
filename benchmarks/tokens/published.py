# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the papers report, beside what was measured here.

Each entry is one operating point of one table of the method's own paper, or of a named other one,
on another model, benchmark and machine than ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from efficient_vla import presets
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.reasoning.settings import PruningSettings

SHORTFALL = 0.95
"""A speed-up below this share of the published one counts as not reproduced."""
SIGNIFICANT = 0.05
DEFAULT_KEEP = PruningSettings().keep
CHANGE_DETECTION = ('perception.cache.threshold', 'perception.cache.release')


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
        'tokens only, 56 of 256, CogACT: 91.3 to 95.6 (one task)',
        '1.25x, A40',
        1.25,
    ),
    'sp_vla': Published(
        'OpenVLA, LIBERO: 74.6 to 74.9 or 71.9, with the scheduler',
        '1.35x or 1.50x',
        1.35,
    ),
    'flashvla': Published(
        'OpenVLA, LIBERO: 74.4 to 73.7, 160 of 256',
        'latency -36.0 %',
        1.56,
    ),
    'lightvla': Published('OpenVLA-OFT, LIBERO: +2.6 points, fine-tuned', 'latency -38.2 %', 1.62),
    'adp': Published(
        'OpenVLA-OFT, LIBERO: 97.1 to 96.3 / 94.8 / 94.4 at keep 0.5 / 0.4 / 0.3',
        '1.23x / 1.29x / 1.35x, language model',
        1.23,
        whole=False,
    ),
    'fastdrivevla': Published('nuScenes open loop, half kept: L2 31.83 to 32.10 cm', 'no latency'),
    'specprune': Published(
        'OpenVLA-OFT, LIBERO: 96.6 to 96.6',
        '109 to 72-78 ms, 1.46x, A800',
        1.46,
    ),
    'sqap': Published(
        'CogACT, SIMPLER, W4A4 with pruning: 74.8 to up to 79.3',
        '1.93x with W4A4',
        1.93,
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
    'otter': Published('an architecture of its own', 'none published'),
}
"""Method -> what its paper, or a named other one, reports."""


def scope(row: Mapping[str, Any]) -> str:
    """Say whether a row is a paper's method 'whole', 'in part' or 'selection only'; '' for others.

    It is whole or in part where it sets all of the method's preset, by what the preset lacks.
    Controls claim nothing, and a variant with a name of its own is nobody's method.
    """
    known = PUBLISHED.get(row.get('method', ''))
    if known is None or not (known.speed_up or known.keeps_success):
        return ''
    if row['name'] not in (row['method'], f'{row["method"]} {row["keep"]}'):
        return ''
    method = row['method']
    if method in METHODS and METHODS[method].selection_only:
        return 'selection only'
    if not absent(row):
        return 'in part' if presets.MISSING.get(method) else 'whole'
    return 'selection only'


def absent(row: Mapping[str, Any]) -> list[str]:
    """Return what the preset has beside the method itself and a row does not set."""
    method, given = row['method'], row['overrides'].split()
    wanted = presets.words(method)[1:] if method in presets.PRESETS else ()
    return [word for word in wanted if word not in given]


def described(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its scope, called by what its parameters do.

    A cache whose thresholds are 1.0 never sees a change: the tower runs at a fixed rate.
    """
    given = dict(word.split('=', 1) for word in row['overrides'].split())
    name = row['name']
    if all(float(given.get(parameter, 0)) >= 1 for parameter in CHANGE_DETECTION):
        rate = 1 / float(given['perception.cache.max_age'])
        keep = float(given.get('reasoner.pruning.keep', DEFAULT_KEEP))
        name = f'tower at {rate:g} Hz + {given.get("reasoner.pruning.method", "all")} {keep:g}'
        name += ' + quantization' if 'reasoner.quantization.mode' in given else ''
    return {**row, 'name': name, 'scope': scope(row), 'p': p_value(row)}


def cost(row: Mapping[str, Any], part: str) -> float:
    """Return what a pass of ``part`` costs, as a ratio to dense.

    A scheduler leaves some plans out, which a median does not show: its mean counts.
    """
    if 'reasoner.schedule.method' in row['overrides']:
        return of_means(row, part)
    return float(row[f'{part}_ratio'])


def of_means(row: Mapping[str, Any], part: str) -> float:
    """Return the mean cost of ``part`` as a ratio to the median of dense, which hardly varies."""
    return float(row[f'{part}_mean_ms'] / row[f'dense_{part}_p50_ms'])


def p_value(row: Mapping[str, Any]) -> str:
    """Return the p value as text; rows keep six decimals of it."""
    return f'{row["p_value"]:.2g}' if row['p_value'] > 0 else '< 1e-06'


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a plain sentence for each published gain that the rows do not show.

    ``rows`` are those of the part ``methods``. Speed and success are always those of one row: a
    method is judged as it comes, and every other operating point where success falls is named with
    the speed that it would have bought.
    """
    return [
        f'{text} {_how(row)}'
        for method, published in PUBLISHED.items()
        for row in rows
        if row['method'] == method and 'plan_ratio' in row
        for text in _shortfalls(row, published)
    ]


def _shortfalls(row: Mapping[str, Any], published: Published) -> Iterator[str]:
    method = row['method']
    here = 1 / cost(row, 'plan' if published.whole else 'reasoner')
    part = 'perception and reasoner together' if published.whole else 'the reasoner'
    point = f'{method} at keep {row["keep"]:g}' if row['keep'] is not None else row['name']
    dense, success = 100 * row['dense_success_rate'], 100 * row['success_rate']
    outcome = f'{dense:.0f} to {success:.0f} % (p {p_value(row)})'
    usual = row['name'] in (method, f'{method} {DEFAULT_KEEP:g}')
    if published.keeps_success and success < dense and row['p_value'] < SIGNIFICANT:
        yield f'{point}: {here:.2f}x for {part}, but success is not kept, {outcome}.'
    elif usual and published.speed_up and here < SHORTFALL * published.speed_up:
        yield (
            f'{point}: the published {published.speed_up:g}x does not reproduce; here it is '
            f'{here:.2f}x for {part}, success {outcome}.'
        )


def _how(row: Mapping[str, Any]) -> str:
    found = scope(row)
    if found in ('', 'whole'):
        return 'The method ran whole.' if found else 'A variant of ours.'
    lacks = '; '.join(
        part for part in (', '.join(absent(row)), presets.MISSING[row['method']]) if part
    )
    return f'{found.capitalize()}: the row lacks {lacks}, so the paper is not refuted.'
