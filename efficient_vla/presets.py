# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A method as its paper has it: the selector or cache with its companions, as parameters."""

from collections.abc import Mapping
from typing import Any

from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import InvalidSettingError

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


def preset(name: str) -> dict[str, Any]:
    """Return the parameters of a preset; raises ``InvalidSettingError`` for an unknown name."""
    if name not in PRESETS:
        raise InvalidSettingError(
            f'preset is {name!r}; expected one of {", ".join(PRESETS)}.',
        )
    return PRESETS[name]


def words(name: str) -> tuple[str, ...]:
    """Return the parameters of a preset as words ``node.parameter=value``."""
    return tuple(f'{parameter}={_text(value)}' for parameter, value in preset(name).items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def refuse_unmet(settings: Mapping[str, Any]) -> None:
    """Raise ``InvalidSettingError`` where the reasoner needs what perception does not send.

    ``settings`` are those of the nodes by name; nodes that are missing are not looked at.
    """
    reasoner: ReasonerSettings | None = settings.get('reasoner')
    if reasoner is None or 'perception' not in settings:
        return
    why = reasoner.pruning.why_signals
    if why and not settings['perception'].signals:
        raise InvalidSettingError(
            f'reasoner.pruning.{why} needs contours and saliency of the image, and '
            'perception.signals is false; expected true. Set perception.signals to true.'
        )
