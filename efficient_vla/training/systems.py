# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders in the shape of published systems, with random weights.

Such a policy runs, takes the time of its shape and knows no task. It has the cameras, columns and
words of a shipped policy, queries and heads as training begins with them, and the add-ons that the
profile of its system asks for, as untrained as their recipes make them.
"""

import json
import math
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModel,
    BartConfig,
    Florence2Config,
    LlavaConfig,
    Qwen2_5_VLConfig,
)
from transformers.utils import logging

from efficient_vla import __version__, checkpoint
from efficient_vla.action.catalogue import RECIPES as OF_HEADS
from efficient_vla.bringup import system_folders
from efficient_vla.dual_settings import addon_name
from efficient_vla.policy_folders import ORIGIN
from efficient_vla.training import lerobot_systems, published
from efficient_vla.training.dataset import Frames
from efficient_vla.training.features import Features
from efficient_vla.training.files import prefixed, write_addon, write_tensors
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.recipes import recipe_class
from efficient_vla.training.trunks import TRUNKS, TrunkSizes
from efficient_vla.training.vlm import Untrained

VERSION = 1
"""Of how folders are made; another one makes them anew."""
SEED = 0
WIDTH, LAYERS, SIDE, PATCH = 192, 6, 96, 12
"""Of a small shape: width and layers of the trunk, image and patch [pixels]."""
FRAMES = {'small': 16, 'full': 2}
"""Of noise, on which add-ons are fitted and thresholds are found."""
NEVER = -1e3
"""Logit of a token that is not said."""
LEROBOT_WORDS = 320
"""Of the tokenizer of the shipped SmolVLA."""
BYTES = 4
"""Of a number while a policy runs."""
OVERHEAD = 1.25
"""Memory that has to be free, in that of the weights."""
SMALL_TOWER = {
    'hidden_size': 128,
    'intermediate_size': 512,
    'num_hidden_layers': 3,
    'num_attention_heads': 4,
    'image_size': SIDE,
    'patch_size': PATCH,
}


@dataclass(frozen=True, slots=True)
class SystemShape:
    """The model of a system in both shapes, and what lies beside it."""

    small: Callable[[int], Any]
    """Words of the vocabulary -> configuration."""
    full: Callable[[], Any]
    size: int
    """Side of the image in the full shape [pixels]."""
    addons: tuple[str, ...] = ()


def small_text(trunk: str, words: int) -> dict[str, Any]:
    """Return a small decoder of a kind of ``TRUNKS``."""
    kind = TRUNKS[trunk]
    return {**kind.config(TrunkSizes(WIDTH, LAYERS, words)), 'model_type': kind.model_type}


def behind_clip(trunk: str, words: int) -> LlavaConfig:
    """Return a small decoder behind a small tower of CLIP."""
    vision = {'model_type': 'clip_vision_model', **SMALL_TOWER}
    text = small_text(trunk, words)
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=words - 1)


def behind_siglip(words: int) -> LlavaConfig:
    """Return a small Llama behind a small tower of SigLIP."""
    vision = {'model_type': 'siglip_vision_model', 'vision_use_head': False, **SMALL_TOWER}
    return LlavaConfig(
        vision_config=vision,
        text_config=small_text('llama', words),
        image_token_index=words - 1,
        vision_feature_layer=-2,
        vision_feature_select_strategy='full',
    )


def small_qwen(words: int) -> Qwen2_5_VLConfig:
    """Return a small Qwen2.5-VL, four patches a token."""
    vision = {
        'depth': SMALL_TOWER['num_hidden_layers'],
        'hidden_size': SMALL_TOWER['hidden_size'],
        'intermediate_size': SMALL_TOWER['intermediate_size'],
        'num_heads': SMALL_TOWER['num_attention_heads'],
        'patch_size': PATCH // 2,
        'window_size': 2 * PATCH,
        'fullatt_block_indexes': [1],
        'out_hidden_size': WIDTH,
    }
    text = small_text('qwen2_5_vl', words)
    return Qwen2_5_VLConfig(vision_config=vision, text_config=text, image_token_id=words - 1)


def small_florence(words: int) -> Florence2Config:
    """Return a small Florence-2, whose tower shrinks the image twice."""
    vision = {
        'depths': (1, 1),
        'patch_size': (7, 3),
        'patch_stride': (PATCH // 2, 2),
        'patch_padding': (3, 1),
        'patch_prenorm': (False, True),
        'embed_dim': (64, 128),
        'num_heads': (2, 4),
        'num_groups': (2, 4),
        'window_size': 4,
        'projection_dim': WIDTH,
    }
    text = BartConfig(**small_text('bart', words))
    return Florence2Config(vision_config=vision, text_config=text, image_token_id=words - 1)


def _of_llava(*names: str) -> SystemShape:
    return SystemShape(partial(behind_clip, 'llama'), partial(published.llava, False), 336, names)


def _of_openvla(*names: str) -> SystemShape:
    return SystemShape(behind_siglip, partial(published.behind_siglip, False), 224, names)


SYSTEM_SHAPES = {
    'tinyvla': SystemShape(
        partial(behind_clip, 'gpt_neox'), partial(published.tinyvla, False), 336, ('diffusion',)
    ),
    'robomamba': SystemShape(
        partial(behind_clip, 'mamba'), partial(published.robomamba, False), 336
    ),
    'nora': SystemShape(small_qwen, partial(published.qwen2_5_vl, False), 224, ('fast',)),
    'flower': SystemShape(small_florence, partial(published.florence2, False), 224, ('flow',)),
    'openvla': _of_openvla('bins'),
    'deer': SystemShape(
        partial(behind_clip, 'llama'), partial(published.openflamingo, False), 336, ('early_exit',)
    ),
    'mole': _of_openvla('diffusion', 'mole'),
    'lcb': _of_llava(addon_name('act_token')),
    'hirt': _of_llava(addon_name('map_pool')),
    'robodual': _of_openvla(addon_name('perceiver')),
    'openhelix': _of_llava(addon_name('prompt_tuning')),
}
"""System -> its shape."""


class Noise(Frames):
    """Frames that show nothing, for what is fitted before it is trained."""

    def __init__(self, card: checkpoint.Card, sentence: str, count: int) -> None:
        """Draw ``count`` images, states and chunks as ``card`` describes them."""
        made = torch.Generator().manual_seed(SEED)
        side = card.image_size
        self.image = torch.randint(0, 256, (count, side, side, 3), generator=made).byte()
        mean, std = torch.tensor(card.state_mean), torch.tensor(card.state_std)
        self.state = mean + std * torch.randn(count, len(mean), generator=made)
        scale = torch.tensor(card.action_scale)
        # Of one direction each, as a motion is, and rough enough that no two lines are alike.
        ways = torch.randn(count, 1, len(scale), generator=made)
        rough = 0.3 * torch.randn(count, card.horizon, len(scale), generator=made)
        self.chunk = scale * (ways + rough)
        self.labels, self.label_scale = torch.zeros(count, 1), torch.ones(1)
        self.step, self.first = np.arange(count), np.zeros(count, int)
        self.episodes, self.dt, self.sentence = 1, card.dt, sentence

    def corpus(self) -> list[str]:
        """Return the one sentence."""
        return [self.sentence]

    def units(self) -> dict[str, Any]:
        """Return nothing: the card is there already."""
        return {}

    def _sentence(self, frame: int, words: random.Random) -> str:
        return self.sentence

    def _unfit(self, frame: int, words: random.Random) -> str:
        return self.sentence


def folder_of(name: str, shape: str, like: Path) -> Path:
    """Return the folder of a system, made where it is not there yet.

    ``shape`` is 'small' or 'full'; ``like`` is a policy of this package whose cameras, columns and
    words it gets, but for systems of LeRobot. Raises ``UsageError`` where memory does not suffice
    or nothing can be written.
    """
    values = system_folders.profile_of(name)
    known = [(like / file).read_bytes() for file in ('policy.json', 'tokenizer.json')]
    config = config_of(name, shape, len(checkpoint.tokenizer(like)))
    said = (VERSION, __version__, config.to_json_string(), values, *known)

    def make(folder: Path) -> None:
        numbers = count(name, config)
        system_folders.refuse_large(
            f'{name}:{shape} with {numbers / 1e9:.2f} billion numbers',
            OVERHEAD * BYTES * numbers / 1e9,
        )
        try:
            if name in lerobot_systems.EXPERTS:
                lerobot_systems.make(name, folder, config, shape == 'full')
            else:
                with torch.random.fork_rng(devices=[]):
                    _make(folder, name, shape, config, like)
        except SafetensorError as error:  # as a full disk is said
            raise OSError(str(error)) from error
        system_folders.write_deployment(folder, values)
        about = {'system': name, 'shape': shape, 'weights': 'random', 'seed': SEED}
        (folder / ORIGIN).write_text(json.dumps(about, indent=2) + '\n')

    return system_folders.kept(f'{name}-{shape}-{system_folders.digest(*said)}', make)


def config_of(name: str, shape: str, words: int) -> Any:
    """Return the vision-language model of a system, small ones with so many ``words``."""
    if name in lerobot_systems.EXPERTS:
        text = small_text('llama', LEROBOT_WORDS)
        return lerobot_systems.config_of(name, shape, text, SMALL_TOWER)
    system = SYSTEM_SHAPES[name]
    return system.full() if shape == 'full' else system.small(words)


def count(name: str, config: Any) -> int:
    """Return the numbers of a system without making it; heads count where they are an expert."""
    expert = 0
    if name in lerobot_systems.EXPERTS:
        shapes = lerobot_systems.expert_shapes(name, config.text_config)
        expert = sum(map(math.prod, shapes.values()))
    with torch.device('meta'):
        return expert + sum(part.numel() for part in AutoModel.from_config(config).parameters())


def _make(folder: Path, name: str, shape: str, config: Any, like: Path) -> None:
    """Write the model, what makes a policy of it, and its add-ons."""
    system, full = SYSTEM_SHAPES[name], shape == 'full'
    torch.manual_seed(SEED)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        dtype = torch.bfloat16 if full else torch.float32
        AutoModel.from_config(config, dtype=dtype).save_pretrained(folder)
    finally:
        if bars:
            logging.enable_progress_bar()
    for file in ('tokenizer.json', 'tokenizer_config.json'):
        shutil.copyfile(like / file, folder / file)
    card = checkpoint.read_card(like)
    images = {'image_mean': list(card.image_mean), 'image_std': list(card.image_std)}
    (folder / 'preprocessor_config.json').write_text(json.dumps(images))
    given = ('cameras', 'state_names', 'state_mean', 'state_std', 'action_names', 'action_scale')
    units = {field: getattr(card, field) for field in (*given, 'control_mode', 'horizon', 'dt')}
    device = torch.device('cpu')
    size = system.size if full else SIDE
    begun = Untrained(folder, device, 'fp32', size, 'bare', (), units)
    tensors = {checkpoint.QUERIES: begun.trunk.queries}
    for part in ('single', 'dual'):
        tensors |= prefixed(f'{part}.', getattr(begun, part))
    write_tensors(folder / checkpoint.POLICY, tensors, {'format': 'pt'})
    title = asdict(replace(begun.card, name=f'{name}, random weights'))
    (folder / 'policy.json').write_text(json.dumps(title, indent=2) + '\n')
    del begun
    for addon in system.addons:
        _add(folder, addon, FRAMES[shape])


def _add(folder: Path, name: str, frames: int) -> None:
    """Write an add-on as its training begins, but so that a head depends on its input."""
    frozen = Frozen(folder, torch.device('cpu'), 'fp32')
    features = Features(frozen, Noise(frozen.card, 'do it', frames), frames, SEED, False)
    torch.manual_seed(SEED)
    recipe = recipe_class(name)(frozen, features, 0)
    if name in OF_HEADS:
        _awake(recipe)
    recipe.trained.eval()
    recipe.finish(features)
    write_addon(folder, name, recipe.shape, recipe.tensors(), frozen.sha256)


def _awake(recipe: Any) -> None:
    """Let a head depend on all its parts, and a line of tokens be as long as it can be."""
    for weight in recipe.module.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.02)
    end = getattr(getattr(recipe, 'tokenizer', None), 'end', None)
    if end is not None:
        recipe.module.out.bias.data[end] = NEVER
