# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the reasoner."""

from dataclasses import dataclass

from efficient_vla.settings import group
from efficient_vla.settings import setting

PRUNING_METHODS = ('none', 'fastv', 'uniform', 'random')
QUANTIZATION_MODES = ('none', 'bf16', 'int8_dynamic')


@dataclass(frozen=True, slots=True)
class PruningSettings:
    """Which visual tokens the decoder drops, and after which layer."""

    method: str = setting(
        'none', 'How visual tokens are selected; none keeps all.', choices=PRUNING_METHODS
    )
    keep: float = setting(0.5, 'Fraction of the visual tokens that is kept.', low=0.01, high=1.0)
    layer: int = setting(
        2, 'Decoder layers that see all tokens before the rest is dropped.', low=0, high=128
    )


@dataclass(frozen=True, slots=True)
class QuantizationSettings:
    """Number format of the decoder's weights."""

    mode: str = setting(
        'none',
        'none is float32, bf16 halves the memory, int8_dynamic quantizes the linear '
        'layers by row and the activations as they come.',
        choices=QUANTIZATION_MODES,
        read_only=True,
    )


@dataclass(frozen=True, slots=True)
class ReasonerSettings:
    """Parameters of the reasoner."""

    plan_validity: float = setting(
        2.0,
        'A plan may drive the robot for this long after its frame was captured.',
        unit='s',
        low=0.05,
        high=60.0,
    )
    pruning: PruningSettings = group(PruningSettings)
    quantization: QuantizationSettings = group(QuantizationSettings)

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if self.pruning.method == 'fastv' and self.pruning.layer < 1:
            return (
                'pruning.layer is 0 with pruning.method fastv; expected at least 1, since fastv '
                'ranks tokens by the attention of the layer before the drop. Set it to 2.'
            )
        return None
