# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Layers that are taken out once, when a policy is loaded."""

from typing import Any, Protocol

from efficient_vla.reasoning.depth import METHODS, DepthSettings
from efficient_vla.reasoning.depth.similarity_skip import Importance, most_important
from efficient_vla.reasoning.depth.student import Student
from efficient_vla.settings import InvalidSettingError


class Shortened(Protocol):
    """What layers are taken out of."""

    parts: Any
    """A ``Decoder``."""

    def keep_layers(self, numbers: tuple[int, ...]) -> None:
        """Take out all layers but these."""


def shorten(trunk: Shortened, settings: DepthSettings, chosen: Any = None) -> None:
    """Take out the layers that are never going to run, before weights are fused or packed.

    ``chosen`` is what ``checkpoint.load_depth`` returns; ``early_exit`` needs none of the layers
    behind its last exit. Raises ``InvalidSettingError`` for a number of layers out of reach, or a
    file of another decoder.
    """
    method, depth = settings.method, trunk.parts.left.depth
    if method == 'none' or METHODS[method].routed:
        return
    count = settings.count(depth)
    if isinstance(chosen, Student):
        trunk.keep_layers(chosen.chosen(settings, depth))
        return
    if not isinstance(chosen, Importance):
        trunk.keep_layers(tuple(range(count)))
        return
    if len(chosen.scores) != depth:
        raise InvalidSettingError(
            f'depth.method {method} has measured {len(chosen.scores)} layers; the decoder has '
            f'{depth}. Measure it again: efficient-vla train --method {method} --install.'
        )
    trunk.keep_layers(most_important(chosen.scores, count))
