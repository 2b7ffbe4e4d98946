# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What an interrupted training needs to go on: weights, optimizer state and progress."""

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.tensors import read_metadata, read_tensors
from efficient_vla.training.files import prefixed, write_tensors

MODEL, OPTIMIZER = 'model.', 'optimizer.'
REMEDY = 'Give another --out, or --restart to forget it.'


def write(
    path: Path,
    model: nn.Module,
    stage: str,
    optimizer: torch.optim.Optimizer,
    done: dict[str, int],
    belongs: Mapping[str, Any] | None = None,
) -> None:
    """Write all of it, or leave the file as it was; ``belongs`` is for ``check``."""
    tensors = prefixed(MODEL, model)
    for index, state in optimizer.state_dict()['state'].items():
        tensors |= {f'{OPTIMIZER}{index}.{name}': tensor for name, tensor in state.items()}
    about = {
        'done': json.dumps(done),
        'stage': stage,
        'belongs': json.dumps(dict(belongs or {})),
    }
    write_tensors(path, tensors, about, half=False)


def check(path: Path, belongs: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` unless the file was written for what ``belongs`` says, name by name.

    What a file of an earlier version does not say is no reason.
    """
    written = json.loads(_about(path).get('belongs', '{}'))
    for name, wanted in json.loads(json.dumps(dict(belongs))).items():
        if written.get(name, wanted) != wanted:
            raise UsageError(
                f'{path} was trained with {name} {reprlib.repr(written[name])}; expected '
                f'{reprlib.repr(wanted)}. {REMEDY}'
            )


def read_model(path: Path, model: nn.Module) -> dict[str, int]:
    """Put the weights into the model and return how many steps of each stage were done.

    Raises ``UsageError`` where the model has another shape, or the file is damaged.
    """
    about = _about(path)
    try:
        model.load_state_dict(read_tensors(path, MODEL))
    except RuntimeError as error:
        raise UsageError(
            f'{path} does not fit what is trained: {str(error).splitlines()[-1].strip()} {REMEDY}'
        ) from error
    return json.loads(about['done'])


def _about(path: Path) -> dict[str, str]:
    """Return what the file says; raises ``UsageError`` where it is none of a training."""
    try:
        about = read_metadata(path)
        if 'done' not in about:
            raise CheckpointError('it holds no training')
    except CheckpointError as error:
        why = ' '.join(str(error).split()).removeprefix(f'{path} ')
        raise UsageError(f'{path} cannot be gone on with: {why.rstrip(".")}. {REMEDY}') from error
    return about


def read_optimizer(path: Path, stage: str, optimizer: torch.optim.Optimizer) -> bool:
    """Put the stored state into the optimizer; return false where it is another stage's."""
    if read_metadata(path).get('stage') != stage:
        return False
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in read_tensors(path, OPTIMIZER).items():
        index, key = name.split('.', 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), 'state': state})
    return True
