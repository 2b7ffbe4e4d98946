# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Selectors of visual tokens: one file a method.

A method scores tokens and never touches positions, masks or caches. ``score(view)`` returns one
number a token, [n]; the highest stay, ``-inf`` asks to leave a token out even where the budget has
room. What stays beside the best (protected tokens, quotas of cameras, the floor) is decided once,
in ``budget.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from efficient_vla.reasoning.pruning import (
    adp,
    efficientvla,
    fastdrivevla,
    fastv,
    flashvla,
    lightvla,
    random,
    sp_vla,
    specprune,
    sqap,
    uniform,
)
from efficient_vla.reasoning.pruning.view import View


@dataclass(frozen=True, slots=True)
class Method:
    """A selector and what it has to be given."""

    score: Callable[[View], torch.Tensor]
    layer: int = 0
    """Layers that see all tokens before the drop, where ``pruning.layer`` is -1."""
    needs: frozenset[str] = frozenset()
    """Of 'attention', 'output', 'projections', 'signals', 'memory', 'scorer'; see ``View``."""
    later: tuple[float, ...] = ()
    """Shares of the decoder's depth at which the method is asked again."""


_ATTENTION = frozenset({'attention'})

METHODS: dict[str, Method] = {
    'adp': Method(adp.score, needs=frozenset({'projections'})),
    'efficientvla': Method(efficientvla.score, layer=2, needs=_ATTENTION),
    'fastdrivevla': Method(fastdrivevla.score, needs=frozenset({'scorer'})),
    'fastv': Method(fastv.score, layer=2, needs=_ATTENTION),
    'flashvla': Method(flashvla.score, layer=2, needs=frozenset({'output'})),
    'lightvla': Method(lightvla.score),
    'random': Method(random.score),
    'sp_vla': Method(sp_vla.score, needs=frozenset({'signals'})),
    'specprune': Method(
        specprune.score,
        layer=2,
        needs=frozenset({'attention', 'memory'}),
        later=(5 / 32, 10 / 32, 15 / 32, 20 / 32),
    ),
    'sqap': Method(sqap.score, layer=2, needs=_ATTENTION),
    'uniform': Method(uniform.score),
}
"""``pruning.method`` -> selector."""
