# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Build the stages of an OpenVLA from its folder."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from transformers import LlamaConfig, LlamaModel

from efficient_vla import checkpoint, end_effector
from efficient_vla.action.settings import ActorSettings
from efficient_vla.compression.quantization import (
    HIGH_OF_TOWERS,
    quantize,
    reading_dtype,
    stage_device,
)
from efficient_vla.dataset_statistics import Scale, choose, scale_of
from efficient_vla.devices import torch_device
from efficient_vla.end_effector import EndEffectorSpace
from efficient_vla.errors import CheckpointError
from efficient_vla.openvla import weights
from efficient_vla.openvla.actor import OpenVlaActor
from efficient_vla.openvla.facts import REFUSED
from efficient_vla.openvla.folder import OpenVlaFolder, read_folder
from efficient_vla.openvla.heads import ActionTokens, Bins, ChunkRegression
from efficient_vla.openvla.perception import OpenVlaPerception
from efficient_vla.openvla.reasoner import OpenVlaReasoner, load_tokenizer
from efficient_vla.openvla.trunk import OpenVlaTrunk, ProprioProjector
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.depth.static import shorten
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import InvalidSettingError, refuse_techniques

Module = TypeVar('Module', bound=nn.Module)


def load_perception(folder: Path, settings: PerceptionSettings) -> OpenVlaPerception:
    """Return the perception stage."""
    found = read_folder(folder)
    tower = weights.load_tower(found, reading_dtype(settings.quantization.mode))
    device = stage_device(settings.device, settings.quantization.mode)
    quantize(tower.to(device), settings.quantization, HIGH_OF_TOWERS)
    reads_state = found.proprio_projector is not None
    return OpenVlaPerception(tower, found.images, reads_state, settings)


def load_reasoner(folder: Path, settings: ReasonerSettings) -> OpenVlaReasoner:
    """Return the reasoner, with its decoder in the number format of the settings."""
    mode = settings.quantization.mode
    device = stage_device(settings.device, mode)
    refuse_techniques('reasoner', settings, REFUSED)
    settings.depth.refuse_dynamic()
    found = read_folder(folder)
    chunk = settings.openvla.chunk
    if found.oft and not chunk:
        raise InvalidSettingError(
            f'openvla.chunk is 0, while {folder} has the head of OpenVLA-OFT; expected the rows '
            'of its chunks, which the folder does not say: 8 for LIBERO, 25 for ALOHA, 5 for '
            'Bridge. Set it.'
        )
    action, proprio = scales(found, settings.unnorm_key, settings.openvla.bounds)
    joints = end_effector.joints(
        settings.joints, 0 if proprio is None else len(proprio), len(action)
    )
    tokenizer = load_tokenizer(folder, settings.tokenizer)
    decoder = load_decoder(found, reading_dtype(mode))
    width = decoder.config.hidden_size
    projector = None
    if found.proprio_projector is not None and proprio is not None:
        projector = _on_meta(lambda: ProprioProjector(len(proprio), width))
        weights.load_part(found.proprio_projector, projector, reading_dtype(mode))
    trunk = OpenVlaTrunk(decoder, chunk * len(action), projector).eval().requires_grad_(False)
    shorten(trunk, settings.depth, checkpoint.load_depth(folder, settings.depth))
    trunk.parts.fuse()
    trunk.to(device)
    trunk.replace(quantize(trunk.decoder, settings.quantization))
    patches = (found.images.size // weights.patch_size(found, found.entries())) ** 2
    return OpenVlaReasoner(trunk, tokenizer, patches, settings, joints, proprio)


def load_actor(folder: Path, settings: ActorSettings) -> OpenVlaActor:
    """Return the actor."""
    found = read_folder(folder)
    _refuse_head(found, settings)
    action, proprio = scales(found, settings.unnorm_key, settings.openvla.bounds)
    joints = end_effector.joints(
        settings.joints, 0 if proprio is None else len(proprio), len(action)
    )
    end_effector.refuse_unknown_gripper(joints.action_names, settings.openvla.gripper)
    entries = found.entries()
    vocabulary, width = weights.shape_of(found, entries, weights.LM_HEAD, 2)
    head: ChunkRegression | ActionTokens
    if found.action_head is not None:
        head = _on_meta(lambda: ChunkRegression(width, len(action)))
        weights.load_part(found.action_head, head, torch.float32)
    else:
        bins = Bins(found.bins, vocabulary - found.unused)
        head = _on_meta(lambda: ActionTokens(width, vocabulary, len(action), bins))
        weights.fill(head, entries, {'lm_head.weight': weights.LM_HEAD}, torch.float32)
    head.configure(settings)
    head.to(torch_device(settings.device))
    return OpenVlaActor(head, EndEffectorSpace(joints, action, settings.openvla.gripper), width)


def scales(folder: OpenVlaFolder, key: str, bounds: str) -> tuple[Scale, Scale | None]:
    """Return how actions are scaled, and the state where the policy reads it.

    Raises ``InvalidSettingError`` where ``key`` names no group, and ``CheckpointError`` where it
    has no such statistics.
    """
    group = choose(folder.groups, key, folder.path)
    action = scale_of(group.action, bounds, 'actions', folder.path)
    if folder.proprio_projector is None:
        return action, None
    return action, scale_of(group.proprio, bounds, 'states (proprio)', folder.path)


def load_decoder(folder: OpenVlaFolder, dtype: torch.dtype) -> LlamaModel:
    """Return the decoder of the language model, without its output layer."""
    entries = folder.entries()
    weights.refuse_unknown(folder, entries)
    try:
        config = LlamaConfig(**folder.text)
        decoder = _on_meta(lambda: LlamaModel(config))
    except Exception as error:  # of many kinds: transformers computes with values before it checks
        raise CheckpointError(
            f'{folder.path / "config.json"} describes no Llama: {type(error).__name__}: {error}. '
            'Copy the checkpoint again.'
        ) from error
    names = {n.removeprefix(weights.DECODER): n for n in entries if n.startswith(weights.DECODER)}
    weights.fill(decoder, entries, names, dtype)
    decoder.rotary_emb = type(decoder.rotary_emb)(config)
    return decoder


def _refuse_head(folder: OpenVlaFolder, settings: ActorSettings) -> None:
    """Refuse settings that name a head or an architecture that no OpenVLA has."""
    if settings.architecture == 'dual':
        raise InvalidSettingError(
            'architecture is dual, while an OpenVLA makes one chunk for each plan; expected auto '
            'or single. Set it to single.'
        )
    known = ('auto', 'regression') if folder.oft else ('auto', 'tokens')
    if settings.head not in known:
        raise InvalidSettingError(
            f'head is {settings.head}, while {folder.path} has its own; expected '
            f'{" or ".join(known)}. Set it to auto.'
        )


def _on_meta(make: Callable[[], Module]) -> Module:
    """Return a module without memory for its weights."""
    with torch.device('meta'):
        return make()
