# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Number formats of a model's weights."""

import warnings
from collections.abc import Callable, Collection
from types import MappingProxyType

import torch
from torch import nn

from efficient_vla.compression.packed import (
    ByteRows,
    GroupedInt4,
    GroupedNormal,
    PackedLinear,
    TernaryRows,
    hadamard,
    rotated,
)
from efficient_vla.compression.ranges import Ranges, StaticLinear
from efficient_vla.devices import torch_device
from efficient_vla.quantization_settings import FORMATS, QuantizationSettings
from efficient_vla.settings import InvalidSettingError

HIGH_OF_TOWERS = ('connector', 'projector')
"""Modules of vision towers that stay in float32: what leads into the language model."""
HIGH_OF_HEADS = ('5', 'film')
"""Modules of the head regression that stay in float32: its last layer, and what steers its eye."""
ROTATION = 64
"""Greatest side of a Hadamard rotation; a larger one costs more than what it rotates."""
EXPECTED = ', '.join(FORMATS)


def stage_device(name: str, mode: str) -> torch.device:
    """Return where a stage with this ``device`` and number format computes."""
    if name == 'auto' and mode in FORMATS and FORMATS[mode].cpu_only:
        name = 'cpu'
    return torch_device(name)


def reading_dtype(mode: str) -> torch.dtype:
    """Return the number format in which the weights for a quantization mode are read."""
    return torch.bfloat16 if mode == 'bf16' else torch.float32


def quantize(
    model: nn.Module,
    mode: str | QuantizationSettings,
    high: Collection[str] = (),
    ranges: Ranges = MappingProxyType({}),
) -> nn.Module:
    """Return the model in a number format of ``quantization_settings``; its layers are replaced.

    ``high`` names modules whose linear layers stay in float32, as ``exclude`` of the settings does,
    by any part of their path. ``ranges`` are those of the inputs of all others, for mode int8.
    Biases, norms, embeddings and convolutions are never quantized.

    Raises ``InvalidSettingError`` where the machine cannot, or a name of ``exclude`` is of nothing.
    """
    settings = QuantizationSettings(mode) if isinstance(mode, str) else mode
    mode = settings.mode
    if mode == 'none':
        return model.float()
    if mode == 'bf16':
        return _bfloat16(model)
    if mode not in FORMATS:
        raise ValueError(f'unknown quantization mode {mode!r}; expected one of {EXPECTED}.')
    device = next(model.parameters()).device
    if FORMATS[mode].cpu_only and device.type != 'cpu':
        raise InvalidSettingError(
            f'quantization.mode is {mode} with device {device}; torch computes it on the '
            'CPU alone. Set device to cpu, or quantization.mode to bf16 or int8_weight.'
        )
    model = model.float()
    layers = chosen_layers(model, settings, high, ranges)
    make = _maker(settings)
    while layers:
        name, layer = layers.popitem()
        owner, _, leaf = name.rpartition('.')
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # torch is going to drop its tensors of integers
            made = StaticLinear(layer, ranges[name]) if mode == 'int8' else make(layer)
        setattr(model.get_submodule(owner), leaf, made)
    return model


def chosen_layers(
    model: nn.Module, settings: QuantizationSettings, high: Collection[str], ranges: Ranges
) -> dict[str, nn.Linear]:
    """Return path -> linear layer whose numbers a format of the settings changes.

    Raises ``InvalidSettingError`` where a name of ``exclude`` is of nothing, or ``ranges`` are of
    other layers.
    """
    known = {part for name, _ in model.named_modules() for part in name.split('.')}
    unknown = [name for name in settings.exclude if name not in known]
    if unknown:
        raise InvalidSettingError(
            f'quantization.exclude names {unknown[0]!r}, which is part of no path of a module; '
            f'expected one of {", ".join(sorted(n for n in known if n and not n.isdigit()))}.'
        )
    layers = quantizable(model, high)
    if settings.mode == 'int8' and set(layers) != set(ranges):
        # Where layers were taken out, others have their numbers, and would get their ranges.
        odd = sorted(set(layers) ^ set(ranges))
        raise InvalidSettingError(
            f'quantization.mode is int8 with measured ranges of {len(ranges)} layers; the network '
            f'has {len(layers)}, and {odd[0]} is in one of both alone. Measure them for this '
            'policy by efficient-vla train --method int8 --install, or set int8_dynamic.'
        )
    return quantizable(model, {*high, *settings.exclude})


def quantizable(model: nn.Module, apart: Collection[str]) -> dict[str, nn.Linear]:
    """Return path -> linear layer, without those that have a name of ``apart`` in their path."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and set(apart).isdisjoint(name.split('.'))
    }


def _maker(settings: QuantizationSettings) -> Callable[[nn.Linear], nn.Module]:
    """Return what makes the layer of a mode of a linear one."""
    group = settings.group_size
    makers: dict[str, Callable[[nn.Linear], nn.Module]] = {
        'int8_dynamic': _dynamic,
        'int8_weight': lambda layer: PackedLinear(layer, ByteRows(layer.weight)),
        'int4_weight': lambda layer: PackedLinear(layer, GroupedInt4(layer.weight, group)),
        'nf4': lambda layer: PackedLinear(layer, GroupedNormal(layer.weight, group)),
        'int4_hadamard': lambda layer: _rotated(layer, group),
        'ternary': lambda layer: PackedLinear(layer, TernaryRows(layer.weight), 8),
    }
    return makers.get(settings.mode, _dynamic)


def _dynamic(layer: nn.Linear) -> nn.Module:
    layer.qconfig = torch.ao.quantization.per_channel_dynamic_qconfig
    made: nn.Module = torch.ao.nn.quantized.dynamic.Linear.from_float(layer)
    return made


def _rotated(layer: nn.Linear, group: int) -> nn.Module:
    inputs = layer.in_features
    rotation = hadamard(min(ROTATION, inputs & -inputs), layer.weight.device)
    return PackedLinear(layer, GroupedInt4(rotated(layer.weight, rotation), group), 4, rotation)


def _bfloat16(model: nn.Module) -> nn.Module:
    # A frequency rounded to bfloat16 turns far positions by the wrong angle.
    frequencies = {n: b for n, b in model.named_buffers() if n.endswith('inv_freq')}
    model = model.bfloat16()
    for name, frequency in frequencies.items():
        owner, _, leaf = name.rpartition('.')
        setattr(model.get_submodule(owner), leaf, frequency)
    return model
