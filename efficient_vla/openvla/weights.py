# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights of an OpenVLA folder: tensors go where they belong, or are known to be without effect.

A module is built without memory and takes its tensors over one by one, each already in the number
format that it is used in, so that loading needs no more memory than running.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from efficient_vla.errors import CheckpointError
from efficient_vla.headers import Entry
from efficient_vla.openvla.folder import HEADS, OpenVlaFolder
from efficient_vla.openvla.vision import FusedTower, VitShape
from efficient_vla.tensors import check_finite, opened

TOWERS = ('vision_backbone.featurizer.', 'vision_backbone.fused_featurizer.')
PROJECTOR = 'projector.'
DECODER = 'language_model.model.'
LM_HEAD = 'language_model.lm_head.weight'
ADAPTED = re.compile(r'(^|\.)(lora_[AB]|base_model)\.')
Entries = Mapping[str, tuple[Path, Entry]]


def fill(module: nn.Module, entries: Entries, names: Mapping[str, str], dtype: torch.dtype) -> None:
    """Give a module made on the device 'meta' its tensors, in ``dtype``.

    ``names`` maps its names to those of the folder. Raises ``CheckpointError`` for a tensor that
    is missing, or of another shape, or has a number that is not finite.
    """
    tensors = {}
    held = {own: name for own, name in names.items() if name in entries}
    for path in sorted({entries[name][0] for name in held.values()}):
        with opened(path) as file:
            for own, name in held.items():
                if entries[name][0] == path:
                    tensors[own] = file.get_tensor(name).to(dtype)
                    check_finite(path, name, tensors[own])
    for own, weight in module.state_dict().items():
        if own not in tensors or tensors[own].shape != weight.shape:
            found = list(tensors[own].shape) if own in tensors else 'none'
            raise CheckpointError(
                f'{names.get(own, own)} has the shape {found}; expected {list(weight.shape)}, as '
                'config.json and the other tensors say. Copy the whole checkpoint folder again.'
            )
    module.load_state_dict(tensors, assign=True)
    module.requires_grad_(False).eval()


def refuse_unknown(folder: OpenVlaFolder, entries: Entries) -> None:
    """Raise ``CheckpointError`` for tensors that belong to no part of an OpenVLA."""
    adapted = [name for name in entries if ADAPTED.search(name)]
    if adapted:
        raise CheckpointError(
            f'{folder.path} holds updates of weights ({adapted[0]}) beside them; expected them '
            'merged. Merge them: vla-scripts/merge_lora_weights_and_save.py of OpenVLA-OFT.'
        )
    known = (*TOWERS, PROJECTOR, DECODER, LM_HEAD)
    odd = sorted(name for name in entries if not name.startswith(known))
    depth = int(folder.text.get('num_hidden_layers', 32))
    layer = re.compile(re.escape(DECODER) + r'layers\.(\d+)\.')
    odd += [n for n in entries if (found := layer.match(n)) and int(found[1]) >= depth]
    if odd:
        raise CheckpointError(
            f'{folder.path} holds the tensors {", ".join(odd[:3])}, which are no part of an '
            'OpenVLA as its config.json describes it. Use matching files.'
        )


def without_effect(entries: Entries) -> tuple[str, ...]:
    """Return the tensors of the towers that lie behind what is read from them."""
    read = {name for prefix in TOWERS for name in _tower_names(prefix, entries).values()}
    return tuple(n for n in entries if n.startswith(TOWERS) and n not in read)


def load_tower(folder: OpenVlaFolder, dtype: torch.dtype) -> FusedTower:
    """Return both towers and the projector in a number format."""
    entries = folder.entries()
    refuse_unknown(folder, entries)
    first, second = (_vit_shape(folder, prefix, entries) for prefix in TOWERS)
    middle, _ = shape_of(folder, entries, f'{PROJECTOR}fc1.weight', 2)
    width, _ = shape_of(folder, entries, f'{PROJECTOR}fc2.weight', 2)
    with torch.device('meta'):
        tower = FusedTower(first, second, middle, width)
    names = {
        f'{prefix.removeprefix("vision_backbone.")}{own}': name
        for prefix in TOWERS
        for own, name in _tower_names(prefix, entries).items()
    }
    names |= {name: name for name in entries if name.startswith(PROJECTOR)}
    fill(tower, entries, names, dtype)
    return tower


def load_part(path: Path, module: nn.Module, dtype: torch.dtype) -> None:
    """Give a module the tensors of a ``.pt`` file, which may be numbers and nothing else.

    Raises ``CheckpointError`` where the file holds anything that would run code, or does not fit.
    """
    try:
        found = torch.load(path, map_location='cpu', weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f'{path} cannot be read as tensors alone: {" ".join(str(error).split())[:200]}. The '
            'file is damaged or holds more than tensors: copy it again.'
        ) from error
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise CheckpointError(f'{path} holds no tensors by name; expected those of a part of OFT.')
    tensors = {str(name).removeprefix('module.'): value.to(dtype) for name, value in found.items()}
    wanted = {name: list(value.shape) for name, value in module.state_dict().items()}
    odd = sorted(
        name
        for name in wanted.keys() | tensors.keys()
        if name not in tensors or wanted.get(name) != list(tensors[name].shape)
    )
    if odd:
        name = odd[0]
        held = list(tensors[name].shape) if name in tensors else 'none'
        raise CheckpointError(
            f'{path} has the shape {held} for {name}; expected {wanted.get(name, "none")}. Use the '
            'part that was trained with this folder.'
        )
    for name, value in tensors.items():
        check_finite(path, name, value)
    module.load_state_dict(tensors, assign=True)
    module.requires_grad_(False).eval()


def _tower_names(prefix: str, entries: Entries) -> dict[str, str]:
    """Return the names inside a tower -> those in the folder, of what is read from it."""
    inside = {n.removeprefix(prefix): n for n in entries if n.startswith(prefix)}
    last = f'blocks.{_blocks(inside) - 1}.'
    behind = (last, 'norm.', 'attn_pool.', 'fc_norm.', 'head.')
    return {own: name for own, name in inside.items() if not own.startswith(behind)}


def _blocks(names: Mapping[str, str]) -> int:
    numbers = (re.match(r'blocks\.(\d+)\.', name) for name in names)
    return 1 + max((int(found[1]) for found in numbers if found), default=-1)


def _vit_shape(folder: OpenVlaFolder, prefix: str, entries: Entries) -> VitShape:
    """Return the sizes of a tower, as its tensors have them."""
    width, _, patch, _ = shape_of(folder, entries, f'{prefix}patch_embed.proj.weight', 4)
    patches = shape_of(folder, entries, f'{prefix}pos_embed', 3)[1]
    mlp, _ = shape_of(folder, entries, f'{prefix}blocks.0.mlp.fc1.weight', 2)
    names = {n.removeprefix(prefix): n for n in entries if n.startswith(prefix)}
    leading = (
        1 + shape_of(folder, entries, f'{prefix}reg_token', 3)[1] if 'cls_token' in names else 0
    )
    side, depth = folder.images.size // patch, _blocks(names)
    if folder.images.size % patch or side * side != patches or width % HEADS or depth < 2:
        raise CheckpointError(
            f'{folder.path} has a tower {prefix} of {depth} blocks of width {width} for '
            f'{patches} patches of {patch} pixels; expected two blocks or more, a width that '
            f'{HEADS} heads divide, and the patches of an image of {folder.images.size} pixels. '
            'Use matching files.'
        )
    scaled = 'blocks.0.ls1.scale_factor' in names
    return VitShape(width, depth - 1, HEADS, mlp, patch, patches, leading, scaled)


def patch_size(folder: OpenVlaFolder, entries: Entries) -> int:
    """Return the side of a patch [pixels]."""
    return shape_of(folder, entries, f'{TOWERS[0]}patch_embed.proj.weight', 4)[2]


def shape_of(folder: OpenVlaFolder, entries: Entries, name: str, axes: int) -> tuple[int, ...]:
    """Return the shape of a tensor.

    Raises ``CheckpointError`` where it is missing or has another number of axes.
    """
    if name not in entries or len(entries[name][1].shape) != axes:
        found = list(entries[name][1].shape) if name in entries else 'none'
        raise CheckpointError(
            f'{folder.path} has the shape {found} for {name}; expected {axes} numbers. Copy the '
            'whole checkpoint folder again.'
        )
    return entries[name][1].shape
