# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights that were trained to be -1, 0 and 1 times one number, as an add-on holds them.

``<stage>.<layer>.codes`` are 2 bits a weight, uint8 [N, K / 4, rounded up], ``.scale`` [1] is what
they are multiplied with, and ``<stage>.<norm>.gain`` [D] the weight of a norm that learned beside
them. They take the place of the weights of a policy, which ``quantization.mode`` ternary packs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from efficient_vla import addons, checkpoint
from efficient_vla.compression.packed import joined
from efficient_vla.errors import CheckpointError

METHOD = 'ternary'
CODES, SCALE, GAIN = 'codes', 'scale', 'gain'


def packed(codes: torch.Tensor) -> torch.Tensor:
    """Return -1, 0 and 1, [N, K], as 2 bits each, the first in the lowest ones."""
    digits = nn.functional.pad((codes + 1).to(torch.uint8), (0, -codes.shape[1] % 4), value=1)
    return joined(digits, 2)


def unpacked(held: torch.Tensor, inputs: int) -> torch.Tensor:
    """Return what ``packed`` packed of rows of ``inputs`` numbers, and 2 where that is none."""
    places = torch.arange(0, 8, 2, dtype=torch.uint8)
    return ((held[..., None] >> places) & 3).flatten(1)[:, :inputs].float() - 1


def load(folder: Path, stage: str, network: nn.Module) -> bool:
    """Put what was trained for a stage in the place of a network's weights; false without any.

    Raises ``CheckpointError`` where it is of another policy, or does not fit.
    """
    if not addons.path(folder, METHOD).exists():
        return False
    addon = addons.read(folder, METHOD, checkpoint.sha256(folder))
    _check_whole(addon)
    start = f'{stage}.'
    held = {n.removeprefix(start): t for n, t in addon.tensors.items() if n.startswith(start)}
    made = dict(_weights(addon, start, held, network))
    for weight, trained in made.items():
        weight.data.copy_(trained)
    return bool(made)


class Extent(NamedTuple):
    """What an add-on says that it holds."""

    layers: int
    stages: list[str]


def _check_whole(addon: addons.Addon) -> None:
    """Raise ``CheckpointError`` where some of what was trained is not there.

    The weights of the policy would be rounded in its place.
    """
    held = Extent(
        sum(name.endswith(f'.{CODES}') for name in addon.tensors),
        sorted({name.partition('.')[0] for name in addon.tensors}),
    )
    said = addon.make(Extent)
    if held != said:
        raise CheckpointError(
            f'{addon.path} holds {held.layers} layers of {held.stages}; it says that it has '
            f'{said.layers} of {said.stages}. {addon.again}'
        )


def _weights(
    addon: addons.Addon, start: str, held: dict[str, torch.Tensor], network: nn.Module
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield each weight of a network that was trained, and what it became."""
    modules = dict(network.named_modules())
    for path in sorted({name.rpartition('.')[0] for name in held}):
        weight: Any = getattr(modules.get(path), 'weight', None)
        keys = {name: f'{path}.{name}' for name in (CODES, SCALE, GAIN)}
        parts = {name: held[key] for name, key in keys.items() if key in held}
        expected = 'no such layer' if weight is None else list(weight.shape)
        if weight is not None and weight.ndim == 1 and set(parts) == {GAIN}:
            found = parts[GAIN]
        elif weight is not None and weight.ndim == 2 and set(parts) == {CODES, SCALE}:
            found = _dense(parts[CODES], parts[SCALE], weight.shape[1])
        else:
            found = torch.empty(0)
        if expected != list(found.shape):
            raise CheckpointError(
                f'{addon.path} holds {", ".join(parts)} of {start}{path} that make '
                f'{list(found.shape)} numbers of -1, 0 and 1 times a scale; the policy has '
                f'{expected}. {addon.again}'
            )
        yield weight, found


def _dense(codes: torch.Tensor, scale: torch.Tensor, inputs: int) -> torch.Tensor:
    """Return weights [N, K], empty where codes are no bytes of a layer that wide."""
    fits = codes.dtype == torch.uint8 and codes.ndim == 2 and codes.shape[1] == -(-inputs // 4)
    if not fits or not len(codes) or scale.shape != (1,) or not float(scale) > 0:
        return torch.empty(0)
    numbers = unpacked(codes, inputs)
    return torch.empty(0) if numbers.max() > 1 else numbers * scale.float()
