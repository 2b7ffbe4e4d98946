# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Number formats of a model's weights."""

import warnings

import torch
from torch import nn

from efficient_vla.settings import InvalidSettingError


def quantize(model: nn.Module, mode: str) -> nn.Module:
    """Return the model in the number format ``mode``.

    - 'none': float32.
    - 'bf16': weights and activations in bfloat16, frequencies of positions in float32.
    - 'int8_dynamic': the linear layers' weights in int8, scaled by row; activations quantized
      as they come; the rest in float32.
    """
    if mode == 'none':
        return model.float()
    if mode == 'bf16':
        # A frequency rounded to bfloat16 turns far positions by the wrong angle.
        frequencies = {n: b for n, b in model.named_buffers() if n.endswith('inv_freq')}
        model = model.bfloat16()
        for name, frequency in frequencies.items():
            owner, _, leaf = name.rpartition('.')
            setattr(model.get_submodule(owner), leaf, frequency)
        return model
    if mode == 'int8_dynamic':
        device = next(model.parameters()).device
        if device.type != 'cpu':
            raise InvalidSettingError(
                f'quantization.mode is int8_dynamic with device {device}; torch computes it on the '
                'CPU alone. Set device to cpu, or quantization.mode to bf16.'
            )
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return torch.ao.quantization.quantize_dynamic(
                model.float(),
                {nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig},
                dtype=torch.qint8,
            )
    raise ValueError(f'unknown quantization mode {mode!r}; expected none, bf16 or int8_dynamic.')
