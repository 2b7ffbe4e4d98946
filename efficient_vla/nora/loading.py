# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Build the stages of a NORA from its folder."""

from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from efficient_vla import checkpoint, end_effector
from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.stage import Actor
from efficient_vla.compression.quantization import (
    HIGH_OF_TOWERS,
    quantize,
    reading_dtype,
    stage_device,
)
from efficient_vla.dataset_statistics import choose, scale_of
from efficient_vla.devices import torch_device
from efficient_vla.errors import CheckpointError
from efficient_vla.image_processor import image_normalisation
from efficient_vla.nora.facts import REFUSED
from efficient_vla.nora.fast import PublishedFast
from efficient_vla.nora.folder import MODEL_TYPE, NoraFolder, read_fast, read_folder
from efficient_vla.nora.head import NoraTokens
from efficient_vla.nora.images import SIZE, pixels, square
from efficient_vla.nora.trunk import NoraTrunk
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.prompts import TEMPLATES
from efficient_vla.reasoning.depth.static import shorten
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.reasoning.words import prompt_words
from efficient_vla.settings import InvalidSettingError, refuse_techniques

OUTPUT = 'lm_head.weight'
CAMERAS = ('image',)
"""Name of the image where the settings give none."""


def load_perception(folder: Path, settings: PerceptionSettings) -> Perception:
    """Return the perception stage."""
    cameras = settings.cameras or CAMERAS
    if len(cameras) != 1:
        raise InvalidSettingError(
            f'cameras are {", ".join(cameras)}; expected one, as a NORA sees. Name that one.'
        )
    mean, std = image_normalisation(folder)
    config, family = checkpoint.open_model(folder)
    mode = settings.quantization.mode
    dtype = reading_dtype(mode)
    tower = checkpoint.tower_of(folder, config, family, dtype)
    tower = tower.to(stage_device(settings.device, mode))
    tower = quantize(tower, settings.quantization, HIGH_OF_TOWERS)

    def seen(image: np.ndarray) -> np.ndarray:
        return pixels(square(image), mean, std)

    return Perception(tower, cameras, seen, settings, square)


def load_reasoner(folder: Path, settings: ReasonerSettings) -> Reasoner:
    """Return the reasoner, with its decoder in the number format of the settings."""
    mode = settings.quantization.mode
    device = stage_device(settings.device, mode)
    refuse_techniques('reasoner', settings, REFUSED)
    settings.depth.refuse_dynamic()
    read_folder(folder)
    config, family = checkpoint.open_model(folder)
    place = Path(settings.tokenizer).expanduser() if settings.tokenizer else folder
    tokenizer = checkpoint.tokenizer(place)
    encode = partial(prompt_words, tokenizer, MODEL_TYPE, 1)
    encode('')  # what is wrong with the tokenizer is said now, not with the first instruction
    decoder = checkpoint.trunk_of(folder, config, family, 0, reading_dtype(mode)).decoder
    marker = tokenizer.convert_tokens_to_ids(TEMPLATES[MODEL_TYPE].marker)
    trunk = NoraTrunk(decoder, marker).eval().requires_grad_(False)
    shorten(trunk, settings.depth, checkpoint.load_depth(folder, settings.depth))
    trunk.parts.fuse()
    trunk.to(device)
    trunk.replace(quantize(trunk.decoder, settings.quantization))
    vision = config.vision_config
    tokens = (SIZE // (vision.patch_size * vision.spatial_merge_size)) ** 2
    return Reasoner(trunk, tokenizer, tokens, settings, encode=encode)


def load_actor(folder: Path, settings: ActorSettings) -> Actor:
    """Return the actor."""
    if settings.architecture == 'dual' or settings.head not in ('auto', 'tokens'):
        raise InvalidSettingError(
            f'architecture is {settings.architecture} and head {settings.head}, while a NORA '
            'names tokens of one chunk for each plan; expected single and tokens, or auto. Set '
            'both to auto.'
        )
    found = read_folder(folder)
    group = choose(found.groups, settings.unnorm_key, folder)
    scale = scale_of(group.action, 'bounds_q99', 'actions', folder)
    joints = end_effector.joints(settings.joints, 0, len(scale))
    fast = PublishedFast(read_fast(folder, settings.nora.fast), settings.nora.chunk, len(scale))
    if fast.size > len(found.actions):
        raise CheckpointError(
            f'{folder} has {len(found.actions)} tokens <robot_action_N>, while FAST has '
            f'{fast.size}; expected one for each. Use the FAST that this NORA was trained with.'
        )
    head = NoraTokens(found, fast, _output(found))
    head.configure(settings)
    head.to(torch_device(settings.device))
    space = end_effector.EndEffectorSpace(joints, scale, settings.nora.gripper)
    config, _ = checkpoint.open_model(folder)
    return Actor(head, (), space, None, (1, config.text_config.hidden_size), 'single')


def _output(folder: NoraFolder) -> nn.Linear | None:
    """Return the output layer of the language model, ``None`` where that is its embedding."""
    if folder.tied:
        return None
    weight = checkpoint.model_tensor(folder.path, OUTPUT)
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device='meta')
    made.weight = nn.Parameter(weight, requires_grad=False)
    return made
