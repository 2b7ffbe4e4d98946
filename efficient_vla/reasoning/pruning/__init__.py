# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The catalogue of selectors of visual tokens: one file a method, and one entry here.

A method scores tokens and never touches positions, masks or caches. ``score(view)`` returns one
number a token, [n]; the highest stay, ``-inf`` asks to leave a token out even where the budget has
room. What stays beside the best (protected tokens, quotas of cameras, the floor) is decided once,
in ``budget.py``. Settings, help, docs and presets derive from the catalogue, which loads no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

NOT_READ = 'known here from descriptions of the paper, not from its text'


@dataclass(frozen=True, slots=True)
class Method:
    """What a selector has to be given, and what its paper has beside it."""

    layer: int = 0
    """Layers that see all tokens before the drop, where ``pruning.layer`` is -1."""
    looks_back: int = 0
    """Layers before the drop whose attention it ranks by."""
    needs: frozenset[str] = frozenset()
    """Of 'output', 'projections', 'signals', 'memory', 'scorer', 'tower', 'motion'; the first five
    are fields of ``View``, 'tower' are tokens as they leave the vision tower (layer 0 only), and
    'motion' is the state of a robot."""
    later: tuple[float, ...] = ()
    """Shares of the decoder's depth at which the method is asked again."""
    companions: Mapping[str, Any] = field(default_factory=dict)
    """``node.parameter`` -> value, of what the paper has beside the selector."""
    missing: str = ''
    """What of the paper is not here, or is done in another way."""
    selection_only: bool = False
    """Whether so much is missing that only the selection is the paper's."""

    @property
    def least_layer(self) -> int:
        """Layers that have to come before the drop."""
        return max(self.looks_back, int('output' in self.needs))

    @property
    def needs_attention(self) -> bool:
        """Whether it asks for what only a decoder with attention has."""
        return bool(self.looks_back or self.needs & {'output', 'projections', 'memory'})


def _needs(*names: str) -> frozenset[str]:
    return frozenset(names)


METHODS: dict[str, Method] = {
    'fastv': Method(layer=2, looks_back=1),
    'efficientvla': Method(
        layer=2,
        looks_back=1,
        missing='leaving out layers, pruning the feed-forward weights and caching of the diffusion '
        'head',
        selection_only=True,
    ),
    'sp_vla': Method(
        needs=_needs('signals', 'motion'),
        companions={
            'perception.signals': True,
            'reasoner.pruning.protect.contours': 0.0005,
            'reasoner.pruning.protect.beyond': True,
            'reasoner.schedule.method': 'intuitive',
        },
        missing='the ridge regression over the last actions; the head answers from the plan before '
        f'instead. The rules are {NOT_READ}',
    ),
    'flashvla': Method(
        layer=2,
        needs=_needs('output'),
        companions={'reasoner.schedule.method': 'steady'},
        missing=f'the thresholds of rank, angle and overlap, which are ours; {NOT_READ}',
    ),
    'lightvla': Method(needs=_needs('tower')),
    'adp': Method(
        needs=_needs('projections'),
        companions={
            'reasoner.pruning.gate.method': 'extrema',
            'reasoner.pruning.camera_weights': (0.4, 0.6),
        },
    ),
    'fastdrivevla': Method(
        needs=_needs('scorer', 'tower'), missing='position ids in the layer of the scorer'
    ),
    'specprune': Method(
        layer=2,
        looks_back=2,
        needs=_needs('memory', 'motion'),
        later=(5 / 32, 10 / 32, 15 / 32, 20 / 32),
        companions={'reasoner.pruning.specprune.alpha': 0.8},
        missing='rotation in the coarse or fine decision, pixels in the comparison of frames '
        '(features stand for them), and emptying the action queue when fine work begins',
    ),
    'sqap': Method(
        layer=2,
        looks_back=1,
        companions={
            'reasoner.pruning.protect.end_effector': True,
            'reasoner.quantization.mode': 'int8_dynamic',
        },
        missing='the Hadamard rotation and W4A4 (int8 weights and activations stand for them), and '
        f'the shares of the budget, which are ours; {NOT_READ}',
    ),
    'uniform': Method(),
    'random': Method(),
}
"""``pruning.method`` -> its entry; the last two are controls."""


def load(method: str) -> Callable[[Any], Any]:
    """Return ``score`` of a method's file."""
    return import_module(f'{__name__}.{method}').score  # type: ignore[no-any-return]
