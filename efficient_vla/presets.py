# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A method as its paper has it: the selector or cache with its companions, as parameters."""

import json
from collections.abc import Mapping
from typing import Any

from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.reasoning.settings import needs_signals
from efficient_vla.settings import InvalidSettingError, flatten

COSINE_0_996 = 0.0894
"""Relative difference of two vectors of one length whose cosine is 0.996: sqrt(2 - 2 x 0.996)."""

PRESETS: dict[str, dict[str, Any]] = {
    **{
        name: {'reasoner.pruning.method': name, **method.companions}
        for name, method in METHODS.items()
    },
    'vla_cache': {
        'reasoner.reuse.method': 'vla_cache',
        'reasoner.reuse.threshold': COSINE_0_996,
        'reasoner.reuse.task_share': 120 / 256,
        'reasoner.reuse.layers': (2 / 32, 6 / 32, 9 / 32, 11 / 32),
    },
}
"""Name -> ``node.parameter`` -> value."""

MISSING = {
    **{name: method.missing for name, method in METHODS.items()},
    'vla_cache': 'pixels in the comparison of frames (features stand for them), and the limit of '
    '130 static tokens',
}
"""Name -> what of the paper its preset does not have, or does in another way."""


def preset_of(name: str) -> dict[tuple[str, str], Any]:
    """Return (node, parameter) -> value of a preset.

    Raises ``InvalidSettingError`` for an unknown name.
    """
    if name not in PRESETS:
        raise InvalidSettingError(f'preset is {name!r}; expected one of {", ".join(PRESETS)}.')
    parts = {word.partition('.'): value for word, value in PRESETS[name].items()}
    return {(node, parameter): value for (node, _, parameter), value in parts.items()}


def words(name: str) -> tuple[str, ...]:
    """Return the parameters of a known preset as words ``node.parameter=value`` without spaces."""
    return tuple(f'{parameter}={_text(value)}' for parameter, value in PRESETS[name].items())


def _text(value: Any) -> str:
    return json.dumps(value, separators=(',', ':')) if not isinstance(value, str) else value


def unmet(perception: Mapping[str, Any], reasoner: Mapping[str, Any]) -> str:
    """Return why the reasoner lacks what perception has to send, or nothing.

    Both map dotted parameters to values; what is not there is at its default.
    """
    why = needs_signals(
        reasoner.get('pruning.method', 'none'), reasoner.get('pruning.protect.contours', 0.0)
    )
    if not why or perception.get('signals', False):
        return ''
    return (
        f'reasoner.pruning.{why} needs contours and saliency of the image, but perception.signals '
        'is false; expected true. Set perception.signals to true.'
    )


def refuse_unmet(settings: Mapping[str, Any]) -> None:
    """Raise ``InvalidSettingError`` where settings of nodes, by name, do not fit together."""
    reason = unmet(flatten(settings['perception']), flatten(settings['reasoner']))
    if reason:
        raise InvalidSettingError(reason)
