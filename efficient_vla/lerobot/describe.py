# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a folder of LeRobot says of itself, read without its weights and without torch."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError
from efficient_vla.headers import read_header
from efficient_vla.lerobot.base import ADAPTER, WEIGHTS, has_adapter, weights_path
from efficient_vla.lerobot.features import ACTION, STATE, camera_name, cameras_of, features_of
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.techniques import IMAGE_POLICIES, techniques
from efficient_vla.lerobot.tokenizer import find
from efficient_vla.lerobot.vlm_heads import smolvlm_heads
from efficient_vla.policy_folders import FolderFacts

WIDTHS = (
    ('model.vlm_with_expert.vlm.model.vision_model.post_layernorm.weight', 0),
    ('model.vlm_with_expert.vlm.model.text_model.embed_tokens.weight', 1),
)
"""Tensors of SmolVLA whose sizes are those of tower and language model, and on which axis."""
GROUPED = re.compile(r'unnormalize_outputs\.(?P<group>.+)_buffer_action\..+')
RANGES = ('q01', 'q99'), ('min', 'max'), ('mean', 'std')
"""Statistics of actions, the first of which that a folder has tells where they were."""
PARTS = {'STATE': 'state', 'ACTION': 'action', 'VISUAL': 'images'}


def facts_of(folder: Path, kind: str) -> FolderFacts:
    """Return the facts of a folder that holds a policy of type ``kind``.

    Raises ``CheckpointError`` where a file that says them is missing or damaged.
    """
    config = Fields(folder / 'config.json', read_json(folder / 'config.json'))
    inputs, outputs = features_of(config, 'input_features'), features_of(config, 'output_features')
    steps = steps_of(folder)
    renamed = {new: old for old, new in _config(steps, 'rename_observations').items()}
    sized = kind in ('act', 'diffusion')
    sizes = {camera_name(renamed.get(key, key)): size for key, size in cameras_of(inputs).items()}
    if ACTION not in outputs:
        raise config.error('output_features', list(outputs), ACTION)
    named = config.raw('action_feature_names', None)
    applied, refused = _techniques(kind)
    averaged = kind == 'act' and config.raw('temporal_ensemble_coeff', None) is not None
    parameters, memory, absent = _size(folder)
    return FolderFacts(
        family='lerobot',
        kind=kind,
        cameras={name: size if sized else None for name, size in sizes.items()},
        state_width=inputs[STATE].shape[0] if STATE in inputs else 0,
        action_names=config.words('action_feature_names') if named else (),
        action_width=outputs[ACTION].shape[0],
        normalisation=_normalisation(config, steps),
        horizon=config.integer('chunk_size' if averaged else 'n_action_steps'),
        prompt=_prompt(steps),
        tokenizer=_tokenizer(folder, steps),
        parameters=parameters,
        memory_mb=memory,
        techniques=applied,
        refused=refused,
        trained_sizes=sizes,
        learned=_learned(folder, config.values),
        groups=tuple(sorted(_groups(folder))),
        missing=absent or (_unknown_model(folder, config) if kind == 'smolvla' else ()),
        architecture='dual' if sized else 'single',
        one_process=True,
    )


def _techniques(kind: str) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return the parameters of techniques that apply to a type, and those that do not -> why."""
    if kind in ('act', 'diffusion'):
        return (('actor.diffusion.steps',) if kind == 'diffusion' else (), IMAGE_POLICIES)
    return techniques(state_in_words=kind == 'pi05')


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """Return the steps before the policy, as far as a file names them."""
    path = folder / 'policy_preprocessor.json'
    if not path.exists():
        return []
    file = Fields(path, read_json(path))
    steps = file.raw('steps')
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise file.error('steps', steps, 'a list of steps')
    return steps


def _config(steps: Iterable[Mapping[str, Any]], begin: str) -> dict[str, Any]:
    """Return what configures the first step whose name begins so."""
    found = (s for s in steps if str(s.get('registry_name', '')).startswith(begin))
    config = next(found, {}).get('config', {})
    inner = config.get('rename_map', config) if isinstance(config, dict) else {}
    return inner if isinstance(inner, dict) else {}


def _normalisation(config: Fields, steps: list[dict[str, Any]]) -> dict[str, str]:
    modes = _config(steps, 'normalizer').get('norm_map') or config.raw('normalization_mapping', {})
    return {part: str(modes[name]) for name, part in PARTS.items() if name in modes}


def _learned(folder: Path, config: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    """Return between which numbers the actions of training mostly were, where a file says.

    Of actions that are counted from the state nobody says.
    """
    if config.get('use_relative_actions'):
        return ()
    for path in sorted(folder.glob('policy_postprocessor*.safetensors')):
        header = read_header(path)
        for low, high in RANGES:
            pair = [header.get(f'{ACTION}.{name}') for name in (low, high)]
            if all(entry is not None and entry.dtype == 'F32' for entry in pair):
                first, second = (
                    np.fromfile(path, '<f4', entry.values, offset=entry.start).astype(float)
                    for entry in pair
                    if entry is not None
                )
                if low == 'mean':
                    first, second = first - second, first + second
                return tuple(zip(first.tolist(), second.tolist(), strict=True))
    return ()


def _prompt(steps: list[dict[str, Any]]) -> str:
    names = [str(step.get('registry_name', '')) for step in steps]
    if any('prepare_state' in name for name in names):
        return 'Task: {task}, State: {bins};'
    return '{task}\n' if any('new_line' in name for name in names) else ''


def _tokenizer(folder: Path, steps: list[dict[str, Any]]) -> str | None:
    name = _config(steps, 'tokenizer_processor').get('tokenizer_name')
    if not isinstance(name, str):
        return None
    place = find(name, folder)
    return str(place) if place is not None else ''


def _size(folder: Path) -> tuple[int, float, tuple[str, ...]]:
    """Return how many numbers the weights have, their megabytes, and which of them are missing."""
    try:
        base = weights_path(folder)
    except CheckpointError as error:
        return 0, 0.0, (str(error),)
    paths = [base, *([folder / ADAPTER] if has_adapter(folder) else [])]
    absent = tuple(
        f'{path} is missing. Copy the whole checkpoint folder.'
        for path in paths
        if not path.is_file()
    )
    entries = [entry for path in paths if path.is_file() for entry in read_header(path).values()]
    size = sum(entry.size for entry in entries) / 1e6
    return sum(entry.values for entry in entries), size, absent


def _unknown_model(folder: Path, config: Fields) -> tuple[str, ...]:
    """Return that the configuration of the language model is not on this machine, if needed."""
    tensors = read_header(weights_path(folder))
    try:
        widths = tuple(tensors[name].shape[axis] for name, axis in WIDTHS)
        smolvlm_heads((widths[0], widths[1]), config.word('vlm_model_name'), folder)
    except (KeyError, IndexError):
        return ()  # a damaged folder, which is said where it is loaded
    except CheckpointError as error:
        return (str(error),)
    return ()


def _groups(folder: Path) -> set[str]:
    """Return the datasets whose statistics a folder has, where there are several.

    An older folder has them inside its weights.
    """
    names = [name for path in folder.glob('policy_*.safetensors') for name in read_header(path)]
    found = {name.partition('.buffer.')[0] for name in names if '.buffer.' in name}
    weights = folder / WEIGHTS
    if not names and weights.is_file():
        inside = (GROUPED.fullmatch(name) for name in read_header(weights))
        found = {match['group'] for match in inside if match}
    return found
