# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Read and write policy folders: safetensors in the layout of transformers, and no pickle.

A folder holds ``policy.json`` (shapes, cameras, units), ``config.json`` and ``model.safetensors``
(a vision-language model of transformers, plus the queries and heads under names of their own) and
the tokenizer. Each stage reads only its own tensors.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedTokenizerFast

from efficient_vla import addons, cards
from efficient_vla.action.policies import DualPolicy, SinglePolicy
from efficient_vla.errors import CheckpointError
from efficient_vla.perception.conv_stem import ConvStem
from efficient_vla.perception.qwen_tower import QwenTower
from efficient_vla.perception.tower import VisionTower
from efficient_vla.reasoning.ecot.thinker import Thinker
from efficient_vla.reasoning.pruning.fastdrivevla import ReconPruner
from efficient_vla.reasoning.pruning.lightvla import TextSide
from efficient_vla.reasoning.resampling.resamplers import RESAMPLERS
from efficient_vla.reasoning.stage import Trunk
from efficient_vla.tensors import read_tensors
from efficient_vla.types import ControlMode

FORMAT = 1
WEIGHTS = 'model.safetensors'
QUERIES = 'queries'
STEMS = ('patch', 'conv')
POSITIVE = (
    'image_size',
    'tokens_per_camera',
    'queries',
    'state_std',
    'horizon',
    'dt',
    'image_std',
)
"""Fields of a card whose numbers are more than 0."""
LEARNED: dict[str, type[nn.Module]] = {
    'fastdrivevla': ReconPruner,
    'lightvla': TextSide,
    'ecot': Thinker,
}
"""Method of the reasoner that may be chosen while it runs -> the module that is trained for it."""
UNTRAINED = ('lightvla',)
"""Those of them that have a meaning without the module too."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a policy expects and gives; the contents of ``policy.json``."""

    name: str
    cameras: tuple[str, ...]
    image_size: int
    """Side of the square image the policy sees [pixels]."""
    tokens_per_camera: int
    stem: str
    """'patch' (the vision model's own) or 'conv' (``ConvStem``)."""
    queries: int
    state_names: tuple[str, ...]
    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    action_names: tuple[str, ...]
    action_scale: tuple[float, ...]
    """Units of an action that 1 in the network's output stands for."""
    control_mode: str
    horizon: int
    dt: float
    """Seconds a row of the chunk lasts."""
    image_mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Of intensities in [0, 1], as the vision tower was trained."""
    image_std: tuple[float, ...] = (0.5, 0.5, 0.5)
    policy_type: str = 'evla'
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Family:
    """Where a class of vision-language models keeps its parts."""

    vision: str
    connector: str
    """Empty where the vision module projects by itself."""
    text: str
    bidirectional_prefix: bool = False
    """Whether image and instruction see each other both ways."""
    chooses_layer: bool = False
    """Whether the configuration names the layer whose output is projected, and the class token."""


FAMILIES = {
    'smolvlm': Family('vision_model', 'connector', 'text_model'),
    'idefics3': Family('vision_model', 'connector', 'text_model'),
    'llava': Family('vision_tower', 'multi_modal_projector', 'language_model', chooses_layer=True),
    'qwen2_5_vl': Family('visual', '', 'language_model'),
    'paligemma': Family(
        'vision_tower', 'multi_modal_projector', 'language_model', bidirectional_prefix=True
    ),
}
"""``model_type`` of transformers -> names of the parts."""


def read_card(folder: Path) -> Card:
    """Return the checked contents of ``policy.json``."""
    path = folder / 'policy.json'
    fields = cards.read_json(path)
    if fields.get('format') != FORMAT:
        raise CheckpointError(
            f'{folder} has format {fields.get("format")!r}; expected {FORMAT}. '
            'Use a checkpoint of this version of the package.'
        )
    card = cards.make(Card, path, fields)
    misfit = _misfit(card)
    if misfit:
        raise CheckpointError(f'{path} does not fit: {misfit}. Use a checkpoint of this version.')
    return card


def _misfit(card: Card) -> str:
    """Return which field cannot be, and what is expected; empty for a card that can be used."""
    states, colours = len(card.state_names), 3
    lengths = {
        'state_mean': states,
        'state_std': states,
        'action_scale': len(card.action_names),
        'image_mean': colours,
        'image_std': colours,
    }
    for name, length in lengths.items():
        if len(getattr(card, name)) != length:
            return f'{name} is {list(getattr(card, name))}; expected {length} numbers'
    for name in POSITIVE:
        if np.any(np.asarray(getattr(card, name)) <= 0):
            return f'{name} is {getattr(card, name)}; expected more than 0'
    for name, known in {'stem': STEMS, 'control_mode': tuple(ControlMode.__members__)}.items():
        if getattr(card, name) not in known:
            return f'{name} is {getattr(card, name)!r}; expected one of {", ".join(known)}'
    return ''


def load_tower(folder: Path) -> tuple[Card, VisionTower | QwenTower]:
    """Return the card and the vision tower, in evaluation mode."""
    card, config, family = _open(folder)
    with torch.device('meta'):
        model = AutoModel.from_config(config)
    # Buffers that are not stored, such as CLIP's position ids, exist only in a real model.
    encoder: Any = type(getattr(model, family.vision))._from_config(config.vision_config)
    if card.stem == 'conv':
        encoder.embeddings.patch_embedding = ConvStem(config.vision_config.hidden_size)
    _fill(encoder, folder, f'{family.vision}.')
    if not family.connector:
        return card, QwenTower(encoder).eval()
    connector = getattr(model, family.connector)
    _fill(connector, folder, f'{family.connector}.')
    layer, skip = None, 0
    if family.chooses_layer:
        layer = config.vision_feature_layer
        skip = int(config.vision_feature_select_strategy == 'default')
    return card, VisionTower(encoder, connector, layer, skip).eval()


def load_trunk(folder: Path) -> tuple[Card, Trunk, PreTrainedTokenizerFast]:
    """Return the card, the language half with its queries, and the tokenizer."""
    card, config, family = _open(folder)
    # Rotary frequencies are not stored, so the decoder is built for real.
    trunk = Trunk(
        AutoModel.from_config(config.text_config), card.queries, family.bidirectional_prefix
    )
    _fill(trunk.decoder, folder, f'{family.text}.')
    queries = read_tensors(folder / WEIGHTS, QUERIES).get('')
    if queries is None or queries.shape != trunk.queries.shape:
        found = 'none' if queries is None else list(queries.shape)
        raise CheckpointError(
            f'{folder / WEIGHTS} holds {found} as {QUERIES}; expected {list(trunk.queries.shape)}, '
            'as its policy.json and config.json say. Use matching files.'
        )
    trunk.queries = nn.Parameter(queries)
    return card, trunk.eval(), _tokenizer(folder / 'tokenizer.json')


def _tokenizer(path: Path) -> PreTrainedTokenizerFast:
    if not path.exists():
        raise CheckpointError(f'{path} is missing. Copy the whole checkpoint folder.')
    try:
        return PreTrainedTokenizerFast(tokenizer_file=str(path))
    except Exception as error:  # tokenizers raises nothing more precise
        raise CheckpointError(
            f'{path} is no tokenizer: {error}. Copy the checkpoint again.'
        ) from error


def plan_shape(folder: Path) -> tuple[int, int]:
    """Return queries and width of the policy's plans."""
    card, config, _ = _open(folder)
    return card.queries, config.text_config.hidden_size


def load_head(folder: Path, architecture: str) -> tuple[Card, SinglePolicy | DualPolicy]:
    """Return the card and the fast policy of ``architecture``, 'single' or 'dual'."""
    card, config, _ = _open(folder)
    kind = {'single': SinglePolicy, 'dual': DualPolicy}[architecture]
    width = config.text_config.hidden_size
    head = kind(card.queries, width, len(card.state_names), card.horizon, len(card.action_names))
    _fill(head, folder, f'{architecture}.')
    return card, head.eval()


def load_learned(folder: Path) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Return the module of each method of ``LEARNED``, and why others have none.

    Those are no error: only who chooses the method misses its add-on.
    """
    stored = any(addons.path(folder, method).exists() for method in LEARNED)
    weights = sha256(folder) if stored else ''
    learned, lacking = {}, {}
    for method, kind in LEARNED.items():
        if method in UNTRAINED and not addons.path(folder, method).exists():
            continue
        try:
            addon = addons.read(folder, method, weights)
            module = addon.make(kind)
            addon.fill(module)
        except CheckpointError as error:
            lacking[method] = str(error)
        else:
            learned[method] = module
    return learned, lacking


def load_resampler(folder: Path, method: str, trunk: Trunk) -> nn.Module:
    """Return the resampler of an add-on file, and update the trunk that reads its tokens."""
    addon = addons.read(folder, method, sha256(folder))
    resampler = addon.make(RESAMPLERS[method])
    addon.fill(resampler)
    addon.merge(trunk.decoder)
    return resampler


def save(
    folder: Path,
    card: Card,
    config: PretrainedConfig,
    tensors: dict[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Write a policy folder; ``tensors`` are named as ``load_*`` expect them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'policy.json').write_text(json.dumps(asdict(card), indent=2) + '\n')
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_file(
        {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()},
        folder / WEIGHTS,
        metadata={'format': 'pt'},
    )


def sha256(folder: Path) -> str:
    """Return the hash of the weights."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def _open(folder: Path) -> tuple[Card, Any, Family]:
    card = read_card(folder)
    path = folder / 'config.json'
    kind = cards.read_json(path).get('model_type')
    if kind not in FAMILIES:
        raise CheckpointError(
            f'{folder} holds a model of type {kind!r}; expected one of '
            f'{", ".join(sorted(FAMILIES))}.'
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many kinds: transformers checks values in many places
        raise CheckpointError(
            f'{path} describes no model: {" ".join(str(error).split()).rstrip(".")}. '
            'Copy the checkpoint again.'
        ) from error
    return card, config, FAMILIES[kind]


def _fill(module: nn.Module, folder: Path, prefix: str) -> None:
    """Put the tensors under ``prefix`` into the module."""
    try:
        module.load_state_dict(read_tensors(folder / WEIGHTS, prefix), strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(
            f'{folder} does not fit the architecture that its policy.json and config.json name: '
            f'{str(error).splitlines()[-1].strip()} Use matching files.'
        ) from error
