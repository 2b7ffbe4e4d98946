# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which ways of computing less `efficient-vla bench compute` compares, taken from the settings."""

from collections.abc import Iterable, Iterator

from benchmarks.job import Condition
from benchmarks.tokens.conditions import COMPOSITION, DENSE, FIXED_RATE, choices
from efficient_vla.bench.overrides import KINDS, has_parameter
from efficient_vla.engined import formats_of
from efficient_vla.reasoning.depth import METHODS

TRUNK = ('perception', 'reasoner')
STAGES = (*TRUNK, 'actor')
FORMAT, ENGINE, DEPTH, WIDTH = 'quantization.mode', 'engine', 'depth.method', 'width.method'
SHARES = (0.75, 0.5)
"""Of the layers, or of their FLOPs where a method has a budget."""


def conditions() -> list[Condition]:
    """Return dense and every technique that this build has, dense first."""
    found = [Condition(DENSE, (), kind=DENSE)]
    found += _with_and_without_head('format', [('', value) for value in _offered(FORMAT)])
    engines = [(engine, mode) for engine in _offered(ENGINE) for mode in formats_of(engine)]
    found += _with_and_without_head('engine', engines)
    for method in _offered(DEPTH):
        if METHODS[method].fixed:
            found.append(Condition(method, (f'reasoner.{DEPTH}={method}',), kind='depth'))
            continue
        dial = 'budget' if method == 'early_exit' else 'share'
        for share in SHARES:
            words = (f'reasoner.{DEPTH}={method}', f'reasoner.depth.{dial}={share!r}')
            found.append(Condition(f'{method} {share:g}', words, kind='depth'))
    for method in _offered(WIDTH):
        found.append(Condition(method, _words(WIDTH, method, ('reasoner',)), kind='width'))
    found.append(Condition(FIXED_RATE, COMPOSITION, kind='composition'))
    return found


def _with_and_without_head(kind: str, chosen: Iterable[tuple[str, str]]) -> Iterator[Condition]:
    """Yield pairs of engine, which executes all stages, and number format of trunk or all."""
    for engine, mode in chosen:
        name = ' '.join(word for word in (engine, mode) if word not in ('', 'none'))
        executed = _words(ENGINE, engine, STAGES)
        trunk, whole = (_words(FORMAT, mode, nodes) for nodes in (TRUNK, STAGES))
        yield Condition(name, (*executed, *trunk), kind=kind)
        if whole != trunk:
            yield Condition(f'{name}, head too', (*executed, *whole), kind=kind)


def _offered(parameter: str, node: str = 'reasoner') -> tuple[str, ...]:
    """Return the values that change something, none where the node has no such parameter."""
    if not has_parameter(KINDS, node, parameter):
        return ()
    return tuple(
        value for value in choices(f'{node}.{parameter}') if value not in ('torch', 'none')
    )


def _words(parameter: str, value: str, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words for those of the nodes that offer the value."""
    return tuple(
        f'{node}.{parameter}={value}' for node in nodes if value in _offered(parameter, node)
    )
