# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Write policy folders and add-ons, as ``checkpoint`` and ``addons`` read them."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PretrainedConfig, PreTrainedTokenizerFast

from efficient_vla import addons, checkpoint


def prefixed(prefix: str, module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a module by the names that they have in a file."""
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], half: bool = True
) -> None:
    """Write all tensors, floating ones in float16 if ``half``, or leave the file as it was."""
    temporary = path.with_suffix('.tmp')
    stored = {
        name: (t.half() if half and t.is_floating_point() else t).detach().contiguous().cpu()
        for name, t in tensors.items()
    }
    save_file(stored, temporary, metadata=dict(metadata))
    temporary.chmod(0o644)
    os.replace(temporary, path)


def write_policy(
    folder: Path,
    card: checkpoint.Card,
    config: PretrainedConfig,
    tensors: dict[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerFast,
    half: bool = False,
) -> None:
    """Write a policy folder, in float16 if ``half``; tensors are named as ``load_*`` expect."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'policy.json').write_text(json.dumps(asdict(card), indent=2) + '\n')
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_tensors(folder / checkpoint.WEIGHTS, tensors, {'format': 'pt'}, half)


def write_addon(
    folder: Path,
    method: str,
    shape: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    weights: str,
) -> None:
    """Write an add-on in float16, or leave an earlier one as it was."""
    about = {'method': method, 'shape': json.dumps(shape), 'weights': weights}
    write_tensors(addons.path(folder, method), tensors, about)
