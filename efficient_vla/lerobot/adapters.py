# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters beside a policy: the weights of a local base with their low-rank change.

LoRA: arXiv 2106.09685; its scale over the square root of the rank: arXiv 2312.03732.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.base import ADAPTER, adapter_config, weights_path
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.weights import Stored, Tensors, stored

PREFIX = 'base_model.model.'
FACTORS = re.compile(r'(?P<module>.+)\.lora_(?P<factor>[AB])(\.default)?\.weight')
SAVED = re.compile(r'\.modules_to_save(\.default)?(?=\.)')


def merged(folder: Path) -> dict[str, Stored]:
    """Return the tensors of the base with those of the adapter in ``folder`` added or in place.

    W + s B A with s = alpha / r, or alpha / sqrt(r) with ``use_rslora``, computed in float32.
    Raises ``CheckpointError`` for another adapter, where the base is not on this machine, and where
    the two do not fit.
    """
    config = adapter_config(folder)
    base = stored(weights_path(folder))
    factors: dict[str, dict[str, str]] = {}
    adapter = stored(folder / ADAPTER)
    for name, entry in adapter.items():
        plain = SAVED.sub('', name.removeprefix(PREFIX))
        match = FACTORS.fullmatch(plain)
        if match:
            factors.setdefault(match['module'], {})[match['factor']] = name
        elif plain in base and base[plain].shape == entry.shape:
            base[plain] = entry
        else:
            raise CheckpointError(
                f'{entry.path} holds {name} of shape {list(entry.shape)}, which the base does not '
                'have. Use the base that the adapter was trained on.'
            )
    if not factors:
        raise CheckpointError(
            f'{folder / ADAPTER} holds no lora_A and lora_B. Copy the adapter again.'
        )
    for module, names in factors.items():
        weight = f'{module}.weight'
        if set(names) != {'A', 'B'} or weight not in base:
            raise CheckpointError(
                f'{folder / ADAPTER} changes {weight} with {", ".join(names.values())}; expected '
                'lora_A and lora_B of a tensor of the base. Use the base that it was trained on.'
            )
        base[weight] = _changed(base[weight], adapter[names['A']], adapter[names['B']], config)
    return base


def _changed(weight: Stored, down: Stored, up: Stored, config: Fields) -> Stored:
    """Return a weight [out, in] changed by ``up`` [out, r] times ``down`` [r, in]."""
    module = weight.name.removesuffix('.weight')
    rank = _of_module(config, 'rank_pattern', module, config.integer('r'))
    alpha = _of_module(config, 'alpha_pattern', module, config.number('lora_alpha', low=0))
    rows, columns = weight.shape if len(weight.shape) == 2 else (0, 0)
    if (down.shape, up.shape) != ((rank, columns), (rows, rank)):
        raise CheckpointError(
            f'{down.path} changes {weight.name} of shape {list(weight.shape)} by lora_A of shape '
            f'{list(down.shape)} and lora_B of {list(up.shape)}; expected rank {rank:g}, as '
            f'{config.path.name} says. Use files of one training.'
        )
    scale = alpha / (rank**0.5 if config.flag('use_rslora', False) else rank)

    def read() -> torch.Tensor:
        parts = {'down': down, 'up': up, 'weight': weight}
        read = Tensors(parts)
        return torch.addmm(read['weight'], read['up'], read['down'], alpha=scale)

    return replace(weight, read=read, dtype='F32')


def _of_module(config: Fields, name: str, module: str, usual: float) -> float:
    """Return the rank or scale of one module, where a pattern says another one."""
    patterns: Mapping[str, object] = config.part(name, {}).values
    for pattern, value in patterns.items():
        if re.fullmatch(rf'(.*\.)?({pattern})', module) and isinstance(value, int | float):
            return float(value)
    return usual
