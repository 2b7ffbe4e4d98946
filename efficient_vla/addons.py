# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Trained methods of a policy: ``<policy>/<method>.safetensors``, beside weights that stay.

An add-on holds the method's own module (``module.*``) and, where the decoder has to know of it,
low-rank updates of the decoder's linear layers (``lora.<layer>.down`` [R, in] and ``.up`` [out, R],
arXiv 2106.09685), which are added to the weights when the policy is loaded. ``actions.*`` is a head
of the actor that reads what the module made of the plan. Its metadata name the method, the module's
shape and the weights it was trained for.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from efficient_vla.errors import CheckpointError
from efficient_vla.tensors import read_metadata, read_tensors

Made = TypeVar('Made')
Module = TypeVar('Module', bound=nn.Module)
LORA, MODULE = 'lora.', 'module.'
ACTIONS = 'actions.'


@dataclass(frozen=True, slots=True)
class Addon:
    """The contents of one file."""

    path: Path
    method: str
    shape: dict[str, Any]
    """Keywords of the module's class."""
    tensors: dict[str, torch.Tensor]

    @property
    def again(self) -> str:
        """How to get a file that fits."""
        return f'Train it again: {command(self.path.parent, self.method)}.'

    def make(self, kind: Callable[..., Made]) -> Made:
        """Return ``kind`` of this shape; raises ``CheckpointError`` where that cannot be."""
        try:
            return kind(**self.shape)
        except (TypeError, ValueError, LookupError, RuntimeError) as error:
            raise CheckpointError(
                f'{self.path} describes no {getattr(kind, "__name__", kind)}: {error}. {self.again}'
            ) from error

    def fill(self, module: nn.Module, prefix: str = MODULE) -> None:
        """Put the tensors under ``prefix`` into ``module``, and end its training.

        Raises ``CheckpointError`` where they do not fit.
        """
        tensors = {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }
        own = module.state_dict()
        for name in tensors.keys() & own.keys():
            if tensors[name].is_floating_point() != own[name].is_floating_point():
                raise CheckpointError(
                    f'{self.path} holds {prefix}{name} in {tensors[name].dtype}; expected '
                    f'{own[name].dtype}. {self.again}'
                )
        try:
            module.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(
                f'{self.path} does not fit {type(module).__name__}({self.shape}): '
                f'{str(error).splitlines()[-1].strip()} {self.again}'
            ) from error
        module.eval()

    def module(self, kind: type[Module]) -> Module:
        """Return a trained ``kind``; raises ``CheckpointError`` as ``make`` and ``fill`` do."""
        held = sum(part.numel() for part in self.tensors.values())
        # A shape that nothing in the file has could fill all memory before it is compared: by as
        # many layers as it says, or by their size.
        wanted = max(_whole(self.shape), default=0)
        if wanted <= held:
            with torch.device('meta'):
                wanted = sum(part.numel() for part in self.make(kind).state_dict().values())
        if wanted > held:
            raise CheckpointError(
                f'{self.path} holds {held} numbers; {kind.__name__}({self.shape}) has {wanted} or '
                f'more. {self.again}'
            )
        module = self.make(kind)
        self.fill(module)
        return module

    def merge(self, decoder: nn.Module, prefix: str = LORA) -> None:
        """Add the low-rank updates under ``prefix`` to the weights of the decoder, or of a head.

        Raises ``CheckpointError`` where an update is not whole, or a layer missing or misshapen.
        """
        names = {n.removeprefix(prefix) for n in self.tensors if n.startswith(prefix)}
        layers = sorted({name.rpartition('.')[0] for name in names})
        odd = names ^ {f'{layer}.{half}' for layer in layers for half in ('down', 'up')}
        if odd:
            raise CheckpointError(
                f'{self.path} lacks or misspells {", ".join(sorted(odd)[:3])} of {prefix}*; '
                f'expected <layer>.down and <layer>.up of each layer. {self.again}'
            )
        modules = dict(decoder.named_modules())
        for layer in layers:
            up, down = (self.tensors[f'{prefix}{layer}.{half}'] for half in ('up', 'down'))
            weight = getattr(modules.get(layer), 'weight', None)
            found = list(weight.shape) if isinstance(weight, torch.Tensor) else 'no such layer'
            pair = up.ndim == down.ndim == 2 and up.shape[1] == len(down)
            whole = '' if up.is_floating_point() and down.is_floating_point() else ' in integers'
            if not pair or whole or found != [len(up), down.shape[1]]:
                raise CheckpointError(
                    f'{self.path} updates {layer} by {list(up.shape)} times {list(down.shape)}'
                    f'{whole}; the policy has {found}. {self.again}'
                )
            with torch.no_grad():
                weight += (up @ down).to(weight)


def _whole(value: Any) -> Iterator[int]:
    """Yield the whole numbers in what a JSON file may hold."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _whole(part)


def path(folder: Path, method: str) -> Path:
    """Return where the add-on of a method lies."""
    return folder / f'{method}.safetensors'


def command(folder: Path, method: str) -> str:
    """Return the command that trains a method for the policy in ``folder`` and puts it there."""
    return f'efficient-vla train --method {method} --policy {folder} --install'


def read(folder: Path, method: str, weights: str) -> Addon:
    """Return the add-on of a method for the policy whose weights have the hash ``weights``.

    Raises ``CheckpointError`` where it is missing, damaged or was trained for other weights.
    """
    file = path(folder, method)
    if not file.exists():
        raise CheckpointError(
            f'{file} is missing; {method} has to be trained for a policy. Run '
            f'{command(folder, method)}, or choose another method.'
        )
    tensors = read_tensors(file)
    about = read_metadata(file)
    if about.get('method') != method:
        raise CheckpointError(
            f'{file} holds the method {about.get("method")!r}; expected {method!r}. '
            'Give the file its own name.'
        )
    if about.get('weights') != weights:
        raise CheckpointError(
            f'{file} was trained for weights {about.get("weights", "")[:12]}; those of {folder} '
            f'are {weights[:12]}. Either they were trained further: train the method for them by '
            f'{command(folder, method)}. Or the file of the weights is damaged: copy it again.'
        )
    try:
        shape = json.loads(about.get('shape', ''))
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f'{file} does not say its shape: {error}. Train it again: {command(folder, method)}.'
        ) from error
    return Addon(file, method, shape, tensors)
