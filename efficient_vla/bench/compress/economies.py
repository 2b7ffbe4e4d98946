# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What can be turned to make a decision cheaper, a list of options a dimension."""

from dataclasses import dataclass

from benchmarks.compute.conditions import conditions
from benchmarks.tokens.conditions import COMPOSITION
from efficient_vla import presets
from efficient_vla.reasoning.pruning import METHODS

KEEPS = (0.5, 0.25, 0.125)
RATES = (0.25, 0.5)
"""Seconds for which the features of one frame serve where the tower runs at a fixed rate."""
DIMENSIONS = {'format': 'numbers', 'engine': 'numbers', 'depth': 'depth', 'width': 'width'}
"""Kind of a measured condition -> the dimension of which one option is chosen."""


@dataclass(frozen=True, slots=True)
class Economy:
    """One value of one dimension; options of different dimensions compose."""

    dimension: str
    name: str
    words: tuple[str, ...]
    """Parameters as ``node.param=value``."""


def economies() -> list[Economy]:
    """Return all that this build offers and that needs no training of its own."""
    found = [
        Economy(DIMENSIONS[condition.kind], condition.name, condition.words)
        for condition in conditions()
        if condition.kind in DIMENSIONS
    ]
    found += [
        Economy(
            'tokens',
            f'{name} {keep:g}',
            (*presets.words(name), f'reasoner.pruning.keep={keep!r}'),
        )
        for name, method in METHODS.items()
        if not method.needs & {'scorer', 'signals', 'motion'}
        and all(word.startswith('reasoner.pruning.') for word in presets.words(name))
        for keep in KEEPS
    ]
    fixed = tuple(word for word in COMPOSITION if word.startswith('perception.'))
    found += [
        Economy(
            'tower',
            f'tower at {1 / age:g} Hz',
            (*fixed, f'perception.cache.max_age={age!r}'),
        )
        for age in RATES
    ]
    found.append(Economy('tower', 'changed patches', ('perception.cache.method=patch',)))
    found.append(Economy('reuse', 'vla_cache', presets.words('vla_cache')))
    return found


def words_of(chosen: tuple[Economy, ...]) -> tuple[str, ...]:
    """Return the parameters of several options; of one that is given twice, the last one."""
    found = {word.partition('=')[0]: word for option in chosen for word in option.words}
    return tuple(found.values())


def name_of(chosen: tuple[Economy, ...]) -> str:
    """Return several options by their names."""
    return ' + '.join(option.name for option in chosen) or 'dense'
