# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""In which numbers a stage holds its weights; importing this does not import torch."""

from dataclasses import dataclass

from efficient_vla.settings import described, setting


@dataclass(frozen=True, slots=True)
class Format:
    """One number format of linear layers."""

    about: str
    cpu_only: bool = False
    weights_only: bool = False
    """Whether numbers that are multiplied with the weights stay as they are."""


FORMATS = {
    'none': Format('float32'),
    'bf16': Format('weights and activations in bfloat16'),
    'int8_dynamic': Format(
        'weights in 8 bits by row, activations in 7 or 8 as they come, products of integers',
        cpu_only=True,
    ),
    'int8': Format(
        'the same with ranges that were measured before (efficient-vla train --method int8)',
        cpu_only=True,
    ),
    'int8_weight': Format('weights in 8 bits by row', weights_only=True),
    'int4_weight': Format('weights in 4 bits by group', weights_only=True),
    'nf4': Format(
        'weights as one of 16 quantiles of a normal distribution, by group', weights_only=True
    ),
    'int4_hadamard': Format(
        'weights by group and activations by row in 4 bits, after a Hadamard rotation (SQAP-VLA)',
    ),
    'ternary': Format(
        'weights -1, 0 and 1 of one scale in 2 bits, activations in 8 by row (BitVLA), for '
        'policies that were trained with it (efficient-vla train --method ternary)',
    ),
}
"""``quantization.mode`` -> its entry. All but the first two are of linear layers alone."""
WEIGHTS_ONLY = tuple(name for name, entry in FORMATS.items() if entry.weights_only)


@dataclass(frozen=True, slots=True)
class QuantizationSettings:
    """Number format of the weights of a stage's network."""

    mode: str = setting(
        'none',
        f'{described(FORMATS)} What stays in float32: quantization.md.',
        choices=tuple(FORMATS),
        read_only=True,
    )
    group_size: int = setting(
        64,
        'Weights of a row that share a scale, in modes int4_weight, nf4 and int4_hadamard. Each '
        'group takes 2 bytes for its scale, and with int4 2 for its least value.',
        unit='weights',
        low=8,
        high=4096,
        read_only=True,
    )
    exclude: tuple[str, ...] = setting(
        (),
        'More linear layers that stay in float32: names in the paths of modules, as self_attn.',
        read_only=True,
    )

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if self.group_size % 8:
            return (
                f'quantization.group_size is {self.group_size}; expected a multiple of 8, since '
                'groups are whole bytes. Set it to 32 or 64.'
            )
        if self.exclude and self.mode == 'bf16':
            return (
                f'quantization.exclude is {", ".join(self.exclude)} with quantization.mode bf16, '
                'which is of all layers; expected none. Leave it empty, or choose another mode.'
            )
        return None
