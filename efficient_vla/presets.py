# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A method as its paper has it: the selector or cache with its companions, as parameters."""

import json
from collections.abc import Mapping
from typing import Any

from efficient_vla.dual_settings import CONDITIONINGS, OWN
from efficient_vla.reasoning.depth import METHODS as DEPTH
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.reasoning.settings import needs_signals
from efficient_vla.settings import InvalidSettingError, flatten

COSINE_0_996 = 0.0894
"""Relative difference of two vectors of one length whose cosine is 0.996: sqrt(2 - 2 x 0.996)."""
DUAL_SYSTEMS = {
    'lcb': 'act_token',
    'hirt': 'map_pool',
    'robodual': 'perceiver',
    'openhelix': 'prompt_tuning',
}
"""Preset -> its ``dual.conditioning``."""

PRESETS: dict[str, dict[str, Any]] = {
    **{
        name: {'reasoner.pruning.method': name, **method.companions}
        for name, method in METHODS.items()
    },
    'smolvla_layers': {
        'reasoner.depth.method': 'truncate',
        'reasoner.depth.share': 16 / 32,
    },
    'efficientvla_layers': {
        'reasoner.depth.method': 'similarity_skip',
        'reasoner.depth.share': 22 / 32,
    },
    'deer': {'reasoner.depth.method': 'early_exit'},
    'mole': {'reasoner.depth.method': 'mole', 'reasoner.depth.share': 0.5},
    'student': {'reasoner.depth.method': 'student'},
    **{
        name: {f'{node}.dual.conditioning': conditioning for node in ('reasoner', 'actor')}
        for name, conditioning in DUAL_SYSTEMS.items()
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
    'smolvla_layers': DEPTH['truncate'].missing,
    'efficientvla_layers': DEPTH['similarity_skip'].missing,
    'deer': DEPTH['early_exit'].missing,
    'mole': DEPTH['mole'].missing,
    'student': DEPTH['student'].missing,
    **{name: CONDITIONINGS[conditioning].missing for name, conditioning in DUAL_SYSTEMS.items()},
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


def unmet(
    perception: Mapping[str, Any], reasoner: Mapping[str, Any], actor: Mapping[str, Any]
) -> str:
    """Return why a stage lacks what another has to send, or nothing.

    All map dotted parameters to values; what is not there is at its default.
    """
    given, read = (stage.get('dual.conditioning', OWN) for stage in (reasoner, actor))
    if given != read:
        return (
            f'reasoner.dual.conditioning is {given} and actor.dual.conditioning {read}; expected '
            'one for both, since a plan is made for what reads it. Set both to the same.'
        )
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
    reason = unmet(*(flatten(settings[name]) for name in ('perception', 'reasoner', 'actor')))
    if reason:
        raise InvalidSettingError(reason)
