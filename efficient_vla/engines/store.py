# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where exports are kept, beside the policy or in the user's cache folder, and by which name."""

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

from efficient_vla.engines.graphs import EngineGraph, EngineRequest
from efficient_vla.places import EXPORTS, user_cache

GRAPHS = 2
"""Version of how graphs are cut; another one makes other exports."""
PLAIN = (bool, int, float, str)
"""Types of what a module computes with beside its weights."""
INSTRUCTIONS = ('avx2', 'avx512f', 'avx512_vnni', 'avx_vnni', 'avx512_bf16', 'amx_int8', 'amx_bf16')


@cache
def instruction_sets() -> tuple[str, ...]:
    """Return the instruction sets of this processor that matter here, or its architecture."""
    try:
        text = Path('/proc/cpuinfo').read_text()
    except OSError:
        return (platform.machine(),)
    flags = {
        word for line in text.splitlines() if line.startswith('flags') for word in line.split()
    }
    return tuple(name for name in INSTRUCTIONS if name in flags) or (platform.machine(),)


@cache
def processor() -> str:
    """Return the name of this processor."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor()


def key(graph: EngineGraph, request: EngineRequest, version: str) -> str:
    """Return the hash of all that an export depends on."""
    digest = hashlib.sha256()
    said = (
        GRAPHS,
        request.engine,
        version,
        torch.__version__,
        request.format.name,
        request.format.precision,
        request.format.facts(graph),
        instruction_sets(),
        graph.shapes,
        [str(given.dtype) for given in graph.calls[0]],
        repr(graph.module),
        _constants(graph.module),
    )
    digest.update(repr(said).encode())
    for name, tensor in sorted(graph.module.state_dict(keep_vars=True).items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        numbers = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
        digest.update(memoryview(numbers.numpy()))
    return digest.hexdigest()[:32]


def _constants(module: nn.Module) -> list[tuple[str, str, str]]:
    """Return numbers and words that modules compute with and do not tell, by path and name."""
    return [
        (path, name, repr(value))
        for path, part in module.named_modules()
        for name, value in sorted(vars(part).items())
        if name != 'training' and (isinstance(value, PLAIN) or is_dataclass(value))
    ]


def place(policy: Path | None) -> Path | None:
    """Return the folder for exports, ``None`` where nothing can be written."""
    folders = [user_cache(EXPORTS)]
    if policy is not None:
        folders.insert(0, policy / EXPORTS)
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


def write(folder: Path, key: str, save: Callable[[Path], None]) -> None:
    """Let ``save`` write an export to a folder of its own, then put its files in ``folder``.

    Their hashes come last and say that all are there. What cannot be written is left out.
    """
    sums = f'{key}.sha256'
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix='.') as aside:
            save(Path(aside))
            made = sorted(Path(aside).iterdir())
            text = ''.join(f'{_digest(path)}  {path.name}\n' for path in made)
            (Path(aside) / sums).write_text(text)
            for name in (*(path.name for path in made), sums):
                os.replace(Path(aside) / name, folder / name)
    except OSError:
        (folder / sums).unlink(missing_ok=True)


def vouch(folder: Path, key: str) -> None:
    """Take down that the export of this name met the bound of its format."""
    with suppress(OSError):
        shutil.copyfile(folder / f'{key}.sha256', folder / f'{key}.met')


def vouched(folder: Path, key: str) -> bool:
    """Return whether the export of this name is there as it was when it met its bound."""
    try:
        met, said = ((folder / f'{key}.{kind}').read_bytes() for kind in ('met', 'sha256'))
    except OSError:
        return False
    return met == said and intact(folder, key)


def intact(folder: Path, key: str) -> bool:
    """Return whether the export of this name is there as it was written.

    A damaged one may be within the bounds of errors, which are wider where inputs are rounded.
    """
    try:
        lines = (folder / f'{key}.sha256').read_text().splitlines()
        said = [line.split('  ', 1) for line in lines]
        return bool(said) and all(digest == _digest(folder / name) for digest, name in said)
    except (OSError, ValueError):
        return False


def _digest(path: Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
