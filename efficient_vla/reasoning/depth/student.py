# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A student: some of a policy's layers, taught to plan as all of them do.

The layers that stay have learned updates of low rank, which are added to their weights when the
policy is loaded, so that a pass costs what its layers cost and nothing else. Losses are those of
distillation in MoLE (arXiv 2503.20384): the demonstrated action, and the teacher's plan, which is
what the paper's cognition token is; and the teacher's actions beside them.
"""

from collections.abc import Sequence

from torch import nn

from efficient_vla.reasoning.depth import DepthSettings
from efficient_vla.settings import InvalidSettingError


class Student(nn.Module):
    """Which layers stay; what they learned are updates in the same file."""

    def __init__(self, depth: int, layers: Sequence[int]) -> None:
        """Keep ``layers``, increasing, of a decoder of ``depth``."""
        super().__init__()
        self.depth, self.layers = depth, tuple(layers)
        if not layers or sorted({n for n in layers if 0 <= n < depth}) != list(layers):
            raise ValueError(f'layers are {layers} of {depth}; expected some, increasing')

    def chosen(self, settings: DepthSettings, depth: int) -> tuple[int, ...]:
        """Return the layers that stay of a decoder of ``depth``.

        Raises ``InvalidSettingError`` for another decoder, or settings that ask for another number.
        """
        count = len(self.layers)
        if self.depth != depth:
            raise InvalidSettingError(
                f'depth.method student was trained for {self.depth} layers; the decoder has '
                f'{depth}. Train it again: efficient-vla train --method student --install.'
            )
        asked = settings.layers or (
            count if settings.share == 1.0 else max(1, round(settings.share * depth))
        )
        if asked != count:
            raise InvalidSettingError(
                f'depth.layers {settings.layers} and depth.share {settings.share:g} ask for '
                f'{asked} layers; the student has {count} of {depth}. Leave both out.'
            )
        return self.layers
