# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Build the stages of a learned policy from its folder."""

from collections.abc import Callable
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from efficient_vla import addons, checkpoint
from efficient_vla.action.policies import DualPolicy, SinglePolicy
from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.stage import ActionSpace, Actor
from efficient_vla.compression import trained_ternary
from efficient_vla.compression.quantization import (
    HIGH_OF_HEADS,
    HIGH_OF_TOWERS,
    reading_dtype,
)
from efficient_vla.dual_settings import CONDITIONINGS, OWN
from efficient_vla.engined import (
    converts,
    device_for,
    fit_perception,
    fit_regression,
    fit_trunk,
    in_format,
    refuse_head,
    torch_format,
)
from efficient_vla.errors import CheckpointError
from efficient_vla.own_images import WHOLE
from efficient_vla.perception.preprocess import normalised, pixels
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.perception.tower import VisionTower
from efficient_vla.prompts import BARE
from efficient_vla.quantization_settings import WEIGHTS_ONLY
from efficient_vla.reasoning.depth.early_exit import ExitPilot, Exits
from efficient_vla.reasoning.depth.mole import LayerRouter, RouterPilot
from efficient_vla.reasoning.depth.pilot import Pilot
from efficient_vla.reasoning.depth.static import shorten
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.reasoning.words import prompt_words
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import ControlMode


def load_perception(folder: Path, settings: PerceptionSettings) -> Perception:
    """Return the perception stage."""
    form = torch_format(settings)
    card, tower = checkpoint.load_tower(folder, reading_dtype(form.mode))
    if settings.cameras and set(settings.cameras) != set(card.cameras):
        raise InvalidSettingError(
            f'cameras are {", ".join(settings.cameras)}; expected {", ".join(card.cameras)}, all '
            'of which this policy needs. Name those, or leave cameras empty.'
        )
    if form.mode == trained_ternary.METHOD:
        trained_ternary.load(folder, 'perception', tower)
    if isinstance(tower, VisionTower):
        tower.fuse()
    tower, layers = in_format(tower, settings, ('perception', folder), HIGH_OF_TOWERS)
    own = checkpoint.images_of(folder, card)
    if own is None:
        made = Perception(tower, card.cameras, _preprocess(card), settings)
    else:
        prepare = partial(normalised, mean=card.image_mean, std=card.image_std)
        made = Perception(tower, card.cameras, prepare, settings, np.ascontiguousarray, own)
    fit_perception(made, settings, folder, layers)
    return made


def load_reasoner(folder: Path, settings: ReasonerSettings) -> Reasoner:
    """Return the reasoner, with its decoder in the number format of the settings."""
    device, form = device_for(settings), torch_format(settings)
    resampled = settings.resampling.method != 'none'
    # Updates of the weights are added before their numbers are rounded.
    conditioning = settings.dual.conditioning
    dtype = torch.float32 if settings.updating else reading_dtype(form.mode)
    card, trunk, tokenizer = checkpoint.load_trunk(folder, dtype)
    if form.mode == trained_ternary.METHOD and not settings.updating:
        trained_ternary.load(folder, 'reasoner', trunk.decoder)
    resampler = None
    if resampled:
        resampler = checkpoint.load_resampler(folder, settings.resampling.method, trunk).to(device)
    if conditioning != OWN:
        checkpoint.load_conditioning(folder, conditioning, trunk)
    chosen = checkpoint.load_depth(folder, settings.depth, trunk.decoder)
    checkpoint.load_width(folder, settings.width, trunk.decoder)
    shorten(trunk, settings.depth, chosen)
    trunk.parts.fuse()
    trunk.to(device)
    decoder, layers = in_format(trunk.decoder, settings, ('reasoner', folder))
    trunk.replace(decoder)
    engine = fit_trunk(trunk, settings, folder, layers)
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
    made = Reasoner(
        trunk,
        tokenizer,
        tokens,
        settings,
        card.state_names,
        learned,
        resampler,
        lacking,
        encode,
        _pilot(folder, card, chosen, trunk, device),
    )
    made.engine, made.conditioning = engine, conditioning
    return made


def _pilot(
    folder: Path, card: checkpoint.Card, chosen: Any, trunk: Trunk, device: torch.device
) -> Pilot | None:
    """Return who decides for each frame which layers run, where a method does."""
    if isinstance(chosen, Exits):
        return ExitPilot(chosen.to(device), _Judge(folder, card).to(device), trunk.parts.left)
    if isinstance(chosen, LayerRouter):
        return RouterPilot(chosen.to(device), trunk.parts.left)
    return None


class _Judge(nn.Module):
    """The action head, by whose chunks exits are compared; the gripper does not count."""

    def __init__(self, folder: Path, card: checkpoint.Card) -> None:
        super().__init__()
        self.head = checkpoint.load_head(folder, 'single')[1].requires_grad_(False)
        self.mean, self.std = (
            np.array(part, np.float32) for part in (card.state_mean, card.state_std)
        )
        self.moving = [n for n, name in enumerate(card.action_names) if name != 'gripper']

    def forward(self, latents: torch.Tensor, state: np.ndarray | None) -> torch.Tensor:
        """Map latents [1, Q, D] and the robot's state [S], ``None`` unknown, to rows, flat."""
        known = np.zeros_like(self.mean) if state is None else (state - self.mean) / self.std
        chunk = self.head(latents, torch.from_numpy(known).to(latents)[None])
        return chunk[0, :, self.moving].flatten()


def load_actor(folder: Path, settings: ActorSettings) -> Actor:
    """Return the actor."""
    mode = settings.quantization.mode
    known = (*WEIGHTS_ONLY, 'bf16') if converts(settings) else WEIGHTS_ONLY
    if mode != 'none' and (settings.own_head != 'regression' or mode not in known):
        raise InvalidSettingError(
            f'quantization.mode of the actor is {mode} with head {settings.own_head}; '
            f'expected none, or with head regression one of {", ".join(known)}, since the '
            'heads of this policy are small. Set that of perception or reasoner instead.'
        )
    refuse_head(settings)
    source = HeadFolder(folder)
    card = checkpoint.read_card(folder)
    head = import_module(f'efficient_vla.action.heads.{settings.own_head}')
    generator = head.load(source, settings)
    _, layers = in_format(generator, settings, ('actor', folder), HIGH_OF_HEADS)
    space = space_of(card)
    preprocess = _preprocess(card)

    def stacked(images: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([preprocess(images[camera]) for camera in card.cameras])

    shape, random = source.shape, torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, *shape[:2], generator=random), torch.zeros(1, shape.state)]
    if generator.needs_image:
        size = 1, 3 * len(card.cameras), card.image_size, card.image_size
        inputs.insert(1, torch.rand(size, generator=random) * 2 - 1)
    device = device_for(settings)
    given = tuple(one.to(device) for one in inputs)
    engine = fit_regression(generator, given, settings, folder, layers)
    conditioning = settings.dual.conditioning
    rows = shape.queries + CONDITIONINGS[conditioning].token
    made = Actor(generator, card.cameras, space, stacked, (rows, shape.width))
    made.engine, made.conditioning = engine, conditioning
    return made


def space_of(card: checkpoint.Card) -> ActionSpace:
    """Return the units and names of a policy."""
    return ActionSpace(
        card.state_names,
        np.array(card.state_mean, np.float32),
        np.array(card.state_std, np.float32),
        card.action_names,
        np.array(card.action_scale, np.float32),
        ControlMode[card.control_mode],
        card.dt,
    )


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


def _preprocess(card: checkpoint.Card) -> Callable[[np.ndarray], np.ndarray]:
    return partial(pixels, size=card.image_size, mean=card.image_mean, std=card.image_std)
