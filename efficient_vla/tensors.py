# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Tensors in memory and in safetensors files, which are named where they are damaged."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from efficient_vla.errors import CheckpointError
from efficient_vla.headers import Entry

FORMATS = {
    'F64': torch.float64,
    'F32': torch.float32,
    'F16': torch.float16,
    'BF16': torch.bfloat16,
}
"""Number formats of weights in safetensors files."""


def give_back(cycles: bool = True) -> None:
    """Return what was let go to the system, where the C library keeps it for later.

    ``cycles``: look for objects that hold nothing but each other first, which takes longer.
    """
    if cycles:
        gc.collect()
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def read_numbers(path: Path, entry: Entry, start: int = 0, count: int | None = None) -> Any:
    """Return ``count`` numbers of a tensor from number ``start`` on, by default all, [count].

    They come into memory of their own: a mapped file would count in full as memory of the process,
    beside what is made of it. Raises ``CheckpointError`` where the file became shorter.
    """
    count = entry.values - start if count is None else count
    tensor = torch.empty(count, dtype=FORMATS[entry.dtype])
    if not count:
        return tensor
    wanted, got = memoryview(tensor.view(torch.uint8).numpy()), 0
    with path.open('rb', buffering=0) as file:
        file.seek(entry.start + start * tensor.element_size())
        while got < len(wanted):
            read = file.readinto(wanted[got:])
            if not read:
                raise CheckpointError(f'{path} became shorter while it was read. Copy it again.')
            got += read
    return tensor


def read_tensors(path: Path, prefix: str = '') -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with ``prefix``, without it; numbers in float32.

    Raises ``CheckpointError`` where the file is missing or damaged, or a number is not finite.
    """
    with opened(path) as file:
        return {
            name.removeprefix(prefix): _checked(path, name, file.get_tensor(name))
            for name in file.keys()  # noqa: SIM118 (a safe_open file is not a dict)
            if name.startswith(prefix)
        }


def read_metadata(path: Path) -> dict[str, str]:
    """Return what the file says about itself.

    Raises ``CheckpointError`` where it is missing or damaged.
    """
    with opened(path) as file:
        return file.metadata() or {}


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; raises ``CheckpointError`` where it is missing or damaged."""
    if not path.exists():
        raise CheckpointError(f'{path} is missing. Copy the whole checkpoint folder.')
    try:
        with safe_open(path, 'pt') as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f'{path} cannot be read: {error}. The file is truncated or not safetensors; '
            'copy it again.'
        ) from error


def check_finite(path: Path, name: str, tensor: torch.Tensor) -> None:
    """Raise ``CheckpointError`` where a number of the tensor ``name`` in ``path`` is not finite."""
    # The extremes take one pass and no memory, and are NaN where any value is.
    if tensor.numel() and not all(extreme.isfinite() for extreme in tensor.detach().aminmax()):
        wrong = int((~tensor.isfinite()).sum())
        raise CheckpointError(
            f'{path} holds {wrong} values in {name} that are not finite; expected none. The file '
            'is damaged or its training went wrong: copy it again, or use another one.'
        )


def _checked(path: Path, name: str, tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    check_finite(path, name, tensor)
    return tensor


def weights_mb(model: nn.Module) -> float:
    """Return the megabytes that the model's weights occupy, packed ones as they are packed.

    What an engine holds in place of torch counts too.
    """
    tensors = [t for t in (*model.parameters(), *model.buffers()) if not t.is_meta]
    held = 0
    for module in model.modules():
        held += getattr(module, 'weight_bytes', 0)
        tensors += getattr(module, 'shared_weights', ())
        packed = getattr(module, '_packed_params', None)
        if packed is not None and hasattr(packed, '_weight_bias'):
            tensors += [part for part in packed._weight_bias() if part is not None]
    memory = {(t.device, t.untyped_storage().data_ptr()): t.untyped_storage() for t in tensors}
    return (held + sum(storage.nbytes() for storage in memory.values())) / 1e6
