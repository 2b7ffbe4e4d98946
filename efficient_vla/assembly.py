# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Build the stages of a learned policy from its folder."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from efficient_vla import addons, checkpoint
from efficient_vla.action.generators import Diffusion, Flow, Generator, Regression, Tokens
from efficient_vla.action.heads.flow import FlowHead
from efficient_vla.action.heads.token_decoder import TokenDecoder
from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.stage import ActionSpace, Actor
from efficient_vla.action.tokenizers.bins import BinTokenizer
from efficient_vla.compression.quantization import quantize, resident_mb
from efficient_vla.errors import CheckpointError
from efficient_vla.perception.preprocess import pixels
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.perception.tower import VisionTower
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.types import ControlMode


def load_perception(folder: Path, settings: PerceptionSettings) -> Perception:
    """Return the perception stage."""
    card, tower = checkpoint.load_tower(folder)
    if isinstance(tower, VisionTower):
        tower.fuse()
    tower = quantize(tower, settings.quantization.mode)
    return Perception(tower, card.cameras, _preprocess(card), settings)


def load_reasoner(folder: Path, settings: ReasonerSettings) -> Reasoner:
    """Return the reasoner, with its decoder in the number format of the settings."""
    card, trunk, tokenizer = checkpoint.load_trunk(folder)
    mode = settings.quantization.mode
    resampler = None
    if settings.resampling.method != 'none':
        resampler = checkpoint.load_resampler(folder, settings.resampling.method, trunk)
    trunk.parts.fuse()
    trunk.replace(quantize(trunk.decoder, mode))
    tokens = card.tokens_per_camera * len(card.cameras)
    learned, lacking = checkpoint.load_learned(folder)
    return Reasoner(
        trunk,
        tokenizer,
        tokens,
        settings,
        resident_mb(trunk),
        card.state_names,
        learned,
        resampler,
        lacking,
    )


def load_actor(folder: Path, settings: ActorSettings) -> Actor:
    """Return the actor."""
    card, generator = _generator(folder, settings)
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

    return Actor(generator, card.cameras, space, stacked, checkpoint.plan_shape(folder))


def _generator(folder: Path, settings: ActorSettings) -> tuple[checkpoint.Card, Generator]:
    """Return the card and the head that the settings name."""
    if settings.head == 'regression':
        card, policy = checkpoint.load_head(folder, settings.architecture)
        return card, Regression(policy)
    if settings.head == 'tokens':
        return _token_generator(folder, settings)
    card, single, head = checkpoint.load_steps_head(folder, settings.head)
    if isinstance(head, FlowHead):
        return card, Flow(single, head, settings)
    return card, Diffusion(single, head, settings)


def _token_generator(folder: Path, settings: ActorSettings) -> tuple[checkpoint.Card, Generator]:
    tokenizer = settings.tokens.tokenizer
    if tokenizer == 'univla':
        card, words = checkpoint.load_action_words(folder)
        return card, Regression(words)
    card, single, tokens, decoder = checkpoint.load_action_tokens(folder, tokenizer)
    student, lacking = None, ''
    if isinstance(tokens, BinTokenizer):
        try:
            student = _student(folder, tokens)
        except CheckpointError as error:
            lacking = str(error)
    return card, Tokens(single, tokens, decoder, student, settings, lacking)


def _student(folder: Path, tokens: BinTokenizer) -> TokenDecoder:
    """Return the decoder of the add-on consistency, which has to name the same ``tokens``."""
    _, _, bins, student = checkpoint.load_action_tokens(folder, 'consistency')
    if not tokens.same(bins):
        raise CheckpointError(
            f'the add-on consistency of {folder} was trained with other bins than its add-on bins '
            f'has. Train it again: {addons.command(folder, "consistency")}.'
        )
    return student


def _preprocess(card: checkpoint.Card) -> Callable[[np.ndarray], np.ndarray]:
    return partial(pixels, size=card.image_size, mean=card.image_mean, std=card.image_std)
