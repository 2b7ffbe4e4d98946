# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the weights of a folder are: in itself, or in the base of its adapter."""

from pathlib import Path

from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.hub import cached

WEIGHTS = 'model.safetensors'
ADAPTER_CONFIG, ADAPTER = 'adapter_config.json', 'adapter_model.safetensors'


def has_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter in place of weights."""
    return (folder / ADAPTER_CONFIG).is_file()


def adapter_config(folder: Path) -> Fields:
    """Return what an adapter says of itself.

    Raises ``CheckpointError`` for one that is no plain LoRA.
    """
    config = Fields(folder / ADAPTER_CONFIG, read_json(folder / ADAPTER_CONFIG))
    why = 'no adapter but a plain LoRA is read. Merge it into its base: merge_and_unload of PEFT'
    config.refuse('peft_type', 'LORA', why=why)
    for name in ('use_dora', 'fan_in_fan_out', 'lora_bias'):
        config.refuse(name, False, None, why=why)
    config.refuse('bias', 'none', why=why)
    return config


def weights_path(folder: Path) -> Path:
    """Return the file with the weights of a folder, or with those that its adapter changes.

    Raises ``CheckpointError`` where the base is not on this machine.
    """
    if not has_adapter(folder):
        return folder / WEIGHTS
    config = adapter_config(folder)
    name = config.word('base_model_name_or_path')
    for place in (Path(name).expanduser(), folder / name, cached(name)):
        if place is not None and (place / WEIGHTS).is_file():
            return place / WEIGHTS
    raise CheckpointError(
        f'{config.path} names the base {name!r}, which is no folder with {WEIGHTS} on this '
        'machine. Download it, and write its path there.'
    )
