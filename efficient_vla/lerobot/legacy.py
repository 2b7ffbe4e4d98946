# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders from before LeRobot 0.4: no files of processors, statistics inside the weights."""

from collections.abc import Mapping
from typing import Any

from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.features import Features
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.scaling import Statistics, grouped
from efficient_vla.lerobot.weights import Stored, Tensors

PREFIXES = {
    'normalizer_processor': 'normalize_inputs',
    'unnormalizer_processor': 'unnormalize_outputs',
}
"""Step -> module of the policy that held its statistics."""
WITHOUT_EFFECT = ('normalize_inputs', 'unnormalize_outputs', 'normalize_targets')
PALIGEMMA = 'google/paligemma-3b-pt-224'


def is_legacy(files: Mapping[str, Stored]) -> bool:
    """Return whether the weights hold statistics."""
    return any(name.split('.')[0] in WITHOUT_EFFECT for name in files)


def statistics_of(step: str, tensors: Tensors, path: Any, features: Features) -> Statistics:
    """Return the statistics that a step of today reads, of those inside the weights."""
    inside = tensors.at(PREFIXES[step])
    return Statistics(path, inside, grouped(inside, features, plain=False))


def processors_of(config: Fields) -> dict[str, dict[str, Any]]:
    """Return both files of processors as LeRobot of today writes them for such a policy."""
    kind = config.word('type')
    declared: dict[str, Any] = {
        'features': {**config.raw('input_features'), **config.raw('output_features')},
        'norm_map': config.raw('normalization_mapping'),
    }
    before = [_step('rename_observations_processor'), _step('to_batch_processor')]
    if kind == 'smolvla':
        before += _words(
            'smolvla_new_line_processor',
            config.word('vlm_model_name'),
            config.integer('tokenizer_max_length'),
            config.word('pad_language_to', 'longest'),
        )
    elif kind == 'pi0':
        limit = config.integer('tokenizer_max_length')
        before += _words('pi0_new_line_processor', PALIGEMMA, limit, 'max_length')
    elif kind not in ('act', 'diffusion'):
        raise CheckpointError(
            f'{config.path.parent} lacks policy_preprocessor.json; expected it in a folder of '
            f'type {kind!r}. Copy the whole checkpoint folder.'
        )
    return {
        'policy_preprocessor': {'steps': [*before, _step('normalizer_processor', **declared)]},
        'policy_postprocessor': {'steps': [_step('unnormalizer_processor', **declared)]},
    }


def _step(name: str, **config: Any) -> dict[str, Any]:
    return {'registry_name': name, 'config': config}


def _words(newline: str, tokenizer: str, limit: int, padding: str) -> list[dict[str, Any]]:
    tokenize = _step(
        'tokenizer_processor', tokenizer_name=tokenizer, max_length=limit, padding=padding
    )
    return [_step(newline), tokenize]
