# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which heads and decodings `efficient-vla bench decoding` compares."""

from collections.abc import Iterable, Iterator

from benchmarks.job import Condition
from efficient_vla.action.catalogue import TOKENIZERS, decodings

REGRESSION = 'regression'
FLOW, DIFFUSION = 'flow, 10 steps', 'diffusion, 10 steps'
PLAIN = 'autoregressive'
BINS = f'bins, {PLAIN}'
SHORTCUT = 'flow, 1 step, distilled'
CONSISTENCY = 'bins, consistency'
EXACT = ('jacobi', 'speculative')


def _head(
    head: str, name: str, words: Iterable[str], reference: str = '', blending: str = ''
) -> Condition:
    """Return a head with parameters of the actor; without a reference it is its own."""
    given = (f'actor.head={head}', *(f'actor.{word}' for word in words))
    if blending:
        given += (f'controller.blending.method={blending}',)
    return Condition(name, given, reference=reference or name)


def _flow(name: str, *words: str, blending: str = '') -> Condition:
    return _head('flow', name, words, FLOW, blending)


def _diffusion(name: str, *words: str) -> Condition:
    return _head('diffusion', name, words, DIFFUSION)


def _tokens(tokenizer: str, method: str, *words: str, variant: str = '') -> Condition:
    given = (f'tokens.tokenizer={tokenizer}', f'decoding.method={method}', *words)
    return _head('tokens', f'{tokenizer}, {method}{variant}', given, f'{tokenizer}, {PLAIN}')


def _decodings() -> Iterator[Condition]:
    """Yield every decoding that an add-on was trained for, the plain one of a tokenizer first."""
    for tokenizer, entry in TOKENIZERS.items():
        if not entry.whole:
            for method in sorted(decodings(tokenizer), key=lambda method: method != PLAIN):
                words = ('decoding.max_steps=4',) if method == 'consistency' else ()
                yield _tokens(tokenizer, method, *words)


CONDITIONS = (
    _head('regression', REGRESSION, ()),
    _flow(FLOW, 'flow.steps=10', 'flow.shortcut=false'),
    _flow('flow, 5 steps', 'flow.steps=5', 'flow.shortcut=false'),
    _flow('flow, 1 step', 'flow.steps=1', 'flow.shortcut=false'),
    _flow('flow, 2 steps, distilled', 'flow.steps=2'),
    _flow(SHORTCUT, 'flow.steps=1'),
    _flow('flow, adaptive', 'flow.adaptive=true', 'flow.shortcut=false'),
    _flow('flow, 5 steps, rtc', 'guidance.steps=5', blending='rtc'),
    _flow('flow, 1 step, distilled, rtc_trained', 'flow.steps=1', blending='rtc_trained'),
    _diffusion(DIFFUSION, 'diffusion.steps=10'),
    _diffusion('diffusion, 5 steps', 'diffusion.steps=5'),
    _diffusion('diffusion, 10 steps, kept 2', 'diffusion.steps=10', 'diffusion.cache_every=2'),
    _diffusion('diffusion, 10 steps, kept 5', 'diffusion.steps=10', 'diffusion.cache_every=5'),
    Condition(
        'univla, parallel',
        ('reasoner.resampling.method=univla', 'actor.head=tokens'),
        reference='univla, parallel',
    ),
    *_decodings(),
    _tokens('bins', 'speculative', 'decoding.accept=4', variant=', 4 bins'),
    _tokens('bins', 'consistency', 'decoding.max_steps=2', variant=', 2 passes'),
)
"""All that are measured, each after the one it is compared with."""
