# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What an interrupted training needs to go on: weights, optimizer state and progress."""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from efficient_vla.tensors import read_metadata
from efficient_vla.tensors import read_tensors

MODEL, OPTIMIZER = 'model.', 'optimizer.'


def write(
    path: Path,
    model: nn.Module,
    stage: str,
    optimizer: torch.optim.Optimizer,
    done: dict[str, int],
) -> None:
    """Write all of it, or leave the file as it was."""
    tensors = {MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()['state'].items():
        tensors |= {f'{OPTIMIZER}{index}.{name}': tensor for name, tensor in state.items()}
    temporary = path.with_suffix('.tmp')
    save_file(
        {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()},
        temporary,
        metadata={'done': json.dumps(done), 'stage': stage},
    )
    os.replace(temporary, path)


def read_model(path: Path, model: nn.Module) -> dict[str, int]:
    """Put the weights into the model and return how many steps of each stage were done."""
    tensors = read_tensors(path, MODEL)
    model.load_state_dict(tensors)
    return json.loads(read_metadata(path)['done'])


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
