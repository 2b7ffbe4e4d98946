# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which heads and decodings `efficient-vla bench decoding` compares."""

from benchmarks.job import Condition

REGRESSION = 'regression'
FLOW, DIFFUSION = 'flow, 10 steps', 'diffusion, 10 steps'
BINS, FAST = 'bins, autoregressive', 'fast, autoregressive'
SHORTCUT = 'flow, 1 step, distilled'
CONSISTENCY = 'bins, consistency'
EXACT = ('jacobi', 'speculative')


def _flow(name: str, *words: str, blending: str = '') -> Condition:
    given = ('actor.head=flow', *(f'actor.{word}' for word in words))
    if blending:
        given += (f'controller.blending.method={blending}',)
    return Condition(name, given, reference=FLOW)


def _diffusion(name: str, *words: str) -> Condition:
    given = ('actor.head=diffusion', *(f'actor.{word}' for word in words))
    return Condition(name, given, reference=DIFFUSION)


def _tokens(tokenizer: str, name: str, method: str, *words: str) -> Condition:
    given = (
        'actor.head=tokens',
        f'actor.tokens.tokenizer={tokenizer}',
        f'actor.decoding.method={method}',
        *(f'actor.{word}' for word in words),
    )
    reference = {'bins': BINS, 'fast': FAST}.get(tokenizer, name)
    return Condition(name, given, reference=reference)


CONDITIONS = (
    Condition(REGRESSION, ('actor.head=regression',), reference=REGRESSION),
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
    _tokens('bins', BINS, 'autoregressive'),
    _tokens('bins', 'bins, jacobi', 'jacobi'),
    _tokens('bins', 'bins, speculative', 'speculative'),
    _tokens('bins', 'bins, speculative, 4 bins', 'speculative', 'decoding.accept=4'),
    _tokens('bins', 'bins, parallel', 'parallel'),
    _tokens('bins', CONSISTENCY, 'consistency', 'decoding.max_steps=4'),
    _tokens('bins', 'bins, consistency, 2 passes', 'consistency', 'decoding.max_steps=2'),
    _tokens('fast', FAST, 'autoregressive'),
    _tokens('fast', 'fast, jacobi', 'jacobi'),
    _tokens('fast', 'fast, speculative', 'speculative'),
)
"""All that are measured, each after the one it is compared with."""
