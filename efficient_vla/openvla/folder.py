# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the files of an OpenVLA or OpenVLA-OFT folder say, without torch and without the weights.

``config.json`` names the towers, the language model and the statistics of every dataset
(``norm_stats``); ``dataset_statistics.json``, which fine-tuning writes, replaces the latter. OFT
adds its parts as ``action_head--N_checkpoint.pt`` and ``proprio_projector--N_checkpoint.pt``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficient_vla.cards import read_json
from efficient_vla.dataset_statistics import Group, read_groups
from efficient_vla.errors import CheckpointError
from efficient_vla.headers import Entry, read_header
from efficient_vla.openvla.images import FILTERS, STRATEGIES, ImageSpec

VISION = 'dinosiglip-vit-so-224px'
HEADS = 16
"""Attention heads of both towers, which no file says: ViT-L of DINOv2 and so400m of SigLIP."""
INDEX, WEIGHTS = 'model.safetensors.index.json', 'model.safetensors'
PARTS = {
    'vision_backbone': 'it was fine-tuned with FiLM, whose towers read the instruction; expected '
    'towers that see the image alone. Use a folder that was fine-tuned without use_film.',
    'noisy_action_projector': 'its head takes noise off actions through the whole language model; '
    'expected the head of L1 regression. Use a folder that was fine-tuned with use_l1_regression.',
}
"""Part of OFT that is not read -> why."""


@dataclass(frozen=True, slots=True)
class OpenVlaFolder:
    """A checked folder; ``read_folder`` makes it."""

    path: Path
    images: ImageSpec
    text: Mapping[str, Any]
    """``text_config``: the shape of the language model, in the fields of transformers."""
    bins: int
    """Edges of the bins of a number."""
    unused: int
    """Rows of the vocabulary that were added for speed and name no token."""
    groups: Mapping[str, Group]
    """Dataset -> its statistics."""
    action_head: Path | None
    proprio_projector: Path | None

    @property
    def oft(self) -> bool:
        """Whether actions are numbers of the head of OpenVLA-OFT, and not tokens."""
        return self.action_head is not None

    def shards(self) -> dict[Path, set[str] | None]:
        """Return the files of the model, there or not, and the tensors of each; ``None``: all.

        Raises ``CheckpointError`` for an index that cannot be right, and a model not yet merged.
        """
        index = self.path / INDEX
        if not index.is_file():
            path = self.path / WEIGHTS
            if not path.is_file() and (self.path / 'lora_adapter').is_dir():
                raise CheckpointError(_unmerged(self.path))
            return {path: None}
        told = read_json(index).get('weight_map')
        if not isinstance(told, dict) or not all(isinstance(v, str) for v in told.values()):
            raise CheckpointError(f'{index} has no weight_map. Copy the checkpoint again.')
        found: dict[Path, set[str] | None] = {}
        for shard in sorted(set(told.values())):
            if Path(shard).name != shard:
                raise CheckpointError(
                    f'{index} names the file {shard!r}; expected one inside the folder. Copy the '
                    'checkpoint again.'
                )
            found[self.path / shard] = {name for name, place in told.items() if place == shard}
        return found

    def entries(self) -> dict[str, tuple[Path, Entry]]:
        """Return where each tensor of the model lies, from the headers of its files.

        Raises ``CheckpointError`` where a file is missing or damaged, or differs from the index.
        """
        found: dict[str, tuple[Path, Entry]] = {}
        for path, told in self.shards().items():
            header = read_header(path)
            lost = sorted((told or set()) - header.keys())
            if lost:
                raise CheckpointError(
                    f'{path} lacks {lost[0]}, which {INDEX} places there. Copy the whole '
                    'checkpoint folder again.'
                )
            found |= {n: (path, e) for n, e in header.items() if told is None or n in told}
        return found


def read_folder(path: Path) -> OpenVlaFolder:
    """Return what the JSON files of a folder say.

    Raises ``CheckpointError`` where one is missing or damaged, or describes what is not supported.
    """
    card = path / 'config.json'
    config = read_json(card)
    towers = config.get('vision_backbone_id')
    if towers != VISION or config.get('use_fused_vision_backbone', True) is not True:
        raise CheckpointError(
            f'{card} has vision_backbone_id {towers!r}; expected {VISION}, the fused towers of '
            'OpenVLA. Use a folder with these.'
        )
    text = config.get('text_config')
    if not isinstance(text, dict) or text.get('model_type', 'llama') != 'llama':
        kind = text.get('model_type') if isinstance(text, dict) else text
        raise CheckpointError(
            f'{card} has a text_config of type {kind!r}; expected llama, as OpenVLA has it. Use a '
            'folder with a Llama 2.'
        )
    bins, unused = (
        _whole(card, config, name, default)
        for name, default in (('n_action_bins', 256), ('pad_to_multiple_of', 64))
    )
    for part, why in PARTS.items():
        if _part(path, part) is not None:
            raise CheckpointError(f'{path} holds a part {part}: {why}')
    return OpenVlaFolder(
        path,
        _images(path, config),
        text,
        bins,
        unused,
        read_groups(path, config),
        _part(path, 'action_head'),
        _part(path, 'proprio_projector'),
    )


def _part(path: Path, name: str) -> Path | None:
    """Return the file of a part that OFT saves apart, or ``None``."""
    found = sorted(path.glob(f'{name}--*checkpoint.pt'))
    if len(found) > 1:
        raise CheckpointError(
            f'{path} holds {" and ".join(file.name for file in found)}; expected one {name}. '
            'Remove those of other steps.'
        )
    return found[0] if found else None


def _images(path: Path, config: Mapping[str, Any]) -> ImageSpec:
    """Return what ``preprocessor_config.json`` says, checked against ``config.json``."""
    file = path / 'preprocessor_config.json'
    said = read_json(file)
    try:
        sizes = [tuple(int(side) for side in size) for size in said['input_sizes']]
        means, stds = (
            tuple(tuple(float(value) for value in tower) for tower in said[name])
            for name in ('means', 'stds')
        )
        interpolations = set(map(str, said['interpolations']))
        strategy = str(said['image_resize_strategy'])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{file} does not fit: {type(error).__name__}: {error}. Copy the checkpoint again.'
        ) from error
    size = sizes[0][-1] if sizes else 0
    told = config.get('image_sizes', [size, size])
    for name, found, expected in (
        ('input_sizes', sizes, [(3, size, size)] * 2),
        ('image_sizes of config.json', told, [size, size]),
        ('means', [len(mean) for mean in means], [3, 3]),
        ('stds', [sum(value > 0 for value in std) for std in stds], [3, 3]),
    ):
        if found != expected:
            raise CheckpointError(
                f'{file} does not fit: {name} is {said.get(name, told)}; expected one entry for '
                'each of two towers of one size, of three colours. Copy the checkpoint again.'
            )
    if strategy not in STRATEGIES:
        raise CheckpointError(
            f'{file} has image_resize_strategy {strategy!r}; expected one of '
            f'{", ".join(STRATEGIES)}. Use another folder.'
        )
    if len(interpolations) != 1 or not interpolations <= set(FILTERS):
        raise CheckpointError(
            f'{file} has the interpolations {sorted(interpolations)}; expected one of '
            f'{", ".join(FILTERS)} for both towers. Use another folder.'
        )
    return ImageSpec(size, strategy, interpolations.pop(), means, stds)


def _whole(card: Path, config: Mapping[str, Any], name: str, default: int) -> int:
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 2:
        raise CheckpointError(
            f'{card} has {name} {value!r}; expected a number from 2 up. Copy the checkpoint again.'
        )
    return value


def _unmerged(path: Path) -> str:
    return (
        f'{path} holds updates of a model (lora_adapter) without the model; expected them merged '
        f'into {WEIGHTS}. Merge them: vla-scripts/merge_lora_weights_and_save.py of OpenVLA-OFT.'
    )
