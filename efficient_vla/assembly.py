# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Build the stages of a learned policy from its folder."""

from collections.abc import Callable
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from efficient_vla import addons, checkpoint
from efficient_vla.action.policies import DualPolicy, SinglePolicy
from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.stage import ActionSpace, Actor
from efficient_vla.compression.quantization import quantize
from efficient_vla.devices import torch_device
from efficient_vla.errors import CheckpointError
from efficient_vla.own_images import WHOLE
from efficient_vla.perception.preprocess import normalised, pixels
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.perception.tower import VisionTower
from efficient_vla.prompts import BARE
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.reasoning.words import prompt_words
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import ControlMode


def load_perception(folder: Path, settings: PerceptionSettings) -> Perception:
    """Return the perception stage."""
    device, mode = torch_device(settings.device), settings.quantization.mode
    card, tower = checkpoint.load_tower(folder, _dtype(mode))
    if isinstance(tower, VisionTower):
        tower.fuse()
    tower = quantize(tower.to(device), mode)
    own = checkpoint.images_of(folder, card)
    if own is None:
        return Perception(tower, card.cameras, _preprocess(card), settings)
    prepare = partial(normalised, mean=card.image_mean, std=card.image_std)
    return Perception(tower, card.cameras, prepare, settings, np.ascontiguousarray, own)


def load_reasoner(folder: Path, settings: ReasonerSettings) -> Reasoner:
    """Return the reasoner, with its decoder in the number format of the settings."""
    device, mode = torch_device(settings.device), settings.quantization.mode
    if settings.device == 'auto' and mode == 'int8_dynamic':
        device = torch.device('cpu')
    resampled = settings.resampling.method != 'none'
    # Updates of the weights are added before their numbers are rounded.
    dtype = torch.float32 if resampled else _dtype(mode)
    card, trunk, tokenizer = checkpoint.load_trunk(folder, dtype)
    resampler = None
    if resampled:
        resampler = checkpoint.load_resampler(folder, settings.resampling.method, trunk).to(device)
    trunk.parts.fuse()
    trunk.to(device)
    trunk.replace(quantize(trunk.decoder, mode))
    tokens = card.tokens_per_camera * len(card.cameras)
    if resampled and card.prompt != BARE:
        raise CheckpointError(
            f'{folder} has the prompt {card.prompt!r} with resampling.method '
            f'{settings.resampling.method}; expected {BARE!r}, since resampled tokens are of no '
            'image. Set resampling.method to none.'
        )
    learned, lacking = checkpoint.load_learned(folder)
    learned = {method: module.to(device) for method, module in learned.items()}
    own = checkpoint.images_of(folder, card)
    tiles = own.cut.tiles if own else WHOLE
    encode = partial(prompt_words, tokenizer, card.prompt, len(card.cameras), tiles=tiles)
    encode('')  # what is wrong with the tokenizer is said now, not with the first instruction
    return Reasoner(
        trunk, tokenizer, tokens, settings, card.state_names, learned, resampler, lacking, encode
    )


def load_actor(folder: Path, settings: ActorSettings) -> Actor:
    """Return the actor."""
    if settings.quantization.mode != 'none':
        raise InvalidSettingError(
            f'quantization.mode of the actor is {settings.quantization.mode}; expected none, since '
            'the heads of this policy are small. Set reasoner.quantization.mode instead.'
        )
    source = HeadFolder(folder)
    card = checkpoint.read_card(folder)
    head = import_module(f'efficient_vla.action.heads.{settings.own_head}')
    generator = head.load(source, settings)
    generator.to(torch_device(settings.device))
    space = ActionSpace(
        card.state_names,
        np.array(card.state_mean, np.float32),
        np.array(card.state_std, np.float32),
        card.action_names,
        np.array(card.action_scale, np.float32),
        ControlMode[card.control_mode],
        card.dt,
    )

    preprocess = _preprocess(card)

    def stacked(images: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([preprocess(images[camera]) for camera in card.cameras])

    return Actor(generator, card.cameras, space, stacked, source.shape[:2])


class HeadFolder:
    """A policy folder as heads read it; each file is opened when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Read the sizes of the policy in ``folder``."""
        self.folder, self.shape = folder, checkpoint.policy_shape(folder)

    @cached_property
    def weights(self) -> str:
        """Hash of the weights that add-ons have to be trained for."""
        return checkpoint.sha256(self.folder)

    def single(self) -> SinglePolicy:
        """Return the policy of the plan alone."""
        return checkpoint.load_head(self.folder, 'single')[1]

    def dual(self) -> DualPolicy:
        """Return the policy of plan and image."""
        return checkpoint.load_head(self.folder, 'dual')[1]

    def addon(self, name: str) -> addons.Addon:
        """Return an add-on file; raises ``CheckpointError`` where it is missing or unfit."""
        return addons.read(self.folder, name, self.weights)


def _dtype(mode: str) -> torch.dtype:
    """Return the number format in which the weights for a quantization mode are read."""
    return torch.bfloat16 if mode == 'bf16' else torch.float32


def _preprocess(card: checkpoint.Card) -> Callable[[np.ndarray], np.ndarray]:
    return partial(pixels, size=card.image_size, mean=card.image_mean, std=card.image_std)
