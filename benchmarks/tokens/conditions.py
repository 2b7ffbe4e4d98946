# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which ways of spending tokens `efficient-vla bench tokens` compares, taken from the settings."""

from collections.abc import Sequence

from benchmarks.job import Condition, Sizes
from efficient_vla import presets
from efficient_vla.bench.overrides import KINDS
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.settings import specs

DENSE = 'dense'
COMPOSITION = (
    'perception.cache.method=reuse',
    'perception.cache.threshold=1.0',
    'perception.cache.release=1.0',
    'perception.cache.max_age=0.25',
    'reasoner.pruning.method=random',
    'reasoner.pruning.keep=0.125',
)
"""The cheapest that keeps success; with thresholds of 1.0 no change is ever seen, so that the tower
runs at a fixed rate, every ``max_age``. What ``--composition`` replaces."""
FIXED_RATE = 'tower at 4 Hz + random 0.125'
COMPOSITIONS: dict[str, tuple[str, ...]] = {
    FIXED_RATE: COMPOSITION,
    f'{FIXED_RATE} + quantization': (
        *COMPOSITION,
        'perception.quantization.mode=bf16',
        'reasoner.quantization.mode=int8_dynamic',
    ),
    'fastv + vla_cache': (
        'reasoner.pruning.method=fastv',
        'reasoner.pruning.keep=0.5',
        'reasoner.reuse.method=vla_cache',
    ),
    'univla with action words': (
        'reasoner.resampling.method=univla',
        'actor.architecture=single',
        'actor.head=tokens',
    ),
    'patch + vla_cache': ('perception.cache.method=patch', 'reasoner.reuse.method=vla_cache'),
    'fastv + gate + coverage': (
        'reasoner.pruning.method=fastv',
        'reasoner.pruning.keep=0.25',
        'reasoner.pruning.gate.method=speed',
        'reasoner.pruning.protect.coverage=0.25',
    ),
}
"""Techniques together: name -> parameters."""


def pruning(method: str, keep: float, name: str = '') -> Condition:
    """Return a method with what its paper has beside the selector."""
    words = (*presets.words(method), f'reasoner.pruning.keep={keep!r}')
    return Condition(name or f'{method} {keep:g}', words, method, 'pruning', keep)


def conditions(
    keeps: Sequence[float] = Sizes().keeps, composition: Sequence[str] = ()
) -> list[Condition]:
    """Return dense and every technique that this build has, dense first."""
    found = [Condition(DENSE, (), DENSE, DENSE, 1.0)]
    offered = choices('reasoner.pruning.method')
    for keep in keeps:
        found += [pruning(method, keep) for method in offered if method in METHODS]
    for kind, parameter in (
        ('reuse', 'reasoner.reuse.method'),
        ('cache', 'perception.cache.method'),
        ('resampling', 'reasoner.resampling.method'),
    ):
        found += [
            Condition(method, _words(parameter, method), method, kind)
            for method in choices(parameter)
            if (kind, method) not in WHOLE_FRAME_CACHES
        ]
    found.append(Condition('vla_cache, all layers', REUSE_IN_ALL_LAYERS, 'vla_cache', 'reuse'))
    together = COMPOSITIONS
    if composition:
        others = {name: words for name, words in COMPOSITIONS.items() if name != FIXED_RATE}
        together = {'composition': tuple(composition), **others}
    found += [Condition(name, words, name, 'composition') for name, words in together.items()]
    return found


def _words(parameter: str, method: str) -> tuple[str, ...]:
    return presets.words(method) if method in presets.PRESETS else (f'{parameter}={method}',)


REUSE_IN_ALL_LAYERS = ('reasoner.reuse.method=vla_cache', 'reasoner.reuse.adaptive=false')
WHOLE_FRAME_CACHES = (('cache', 'reuse'), ('cache', 'skip'))
"""They have rows in ``bench techniques``: all tokens or none, no token is chosen."""


def choices(parameter: str) -> tuple[str, ...]:
    """Return the values of ``node.param`` beside 'none'."""
    node, _, name = parameter.partition('.')
    (found,) = (spec.choices for known, _, spec in specs(KINDS[node]) if known == name)
    return tuple(choice for choice in found if choice != 'none')
