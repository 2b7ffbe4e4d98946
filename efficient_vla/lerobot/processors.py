# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps between a robot and a policy, by their names in LeRobot's registry.

``policy_preprocessor.json`` and ``policy_postprocessor.json`` name them; their order is part of the
file. A step turns one batch, a dictionary, into the next.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.features import ACTION, STATE, Features, features_of
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.scaling import (
    NEEDED,
    Scaling,
    Statistics,
    needs_statistics,
    statistics,
)
from efficient_vla.lerobot.tokenizer import TaskTokenizer
from efficient_vla.lerobot.weights import Tensors, stored

Batch = dict[str, Any]
Step = Callable[[Batch], Batch]
TASK, TOKENS, MASK = 'task', 'observation.language.tokens', 'observation.language.attention_mask'
ROBOT_STATE = 'robot.state'
"""In a batch: the state as the robot gave it [1, S], which relative actions are counted from."""
STATE_BINS = np.linspace(-1, 1, 257)[:-1]
LONGEST_TEXT = 65536


@dataclass
class Context:
    """What the steps of a folder share while they are made."""

    folder: Path
    features: Features
    """All that go in and come out."""
    unnorm_key: str
    words: Callable[[str], TaskTokenizer] | None
    """Tokenizer by its name; ``None`` for a stage that reads no words."""
    statistics: Callable[[str], Statistics] | None = None
    """Statistics by the name of the step, where they are in no file of its own."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Key of the robot -> key of the policy."""
    normalised: dict[str, str] = field(default_factory=dict)
    """Feature -> mode."""
    tokenizer: TaskTokenizer | None = None
    relative: Callable[[int], torch.Tensor] | None = None
    """Number of columns -> which of them are counted from the state, as 0 and 1."""


def pipeline(file: Fields, context: Context) -> list[Step]:
    """Return the steps of a file in its order.

    Raises ``CheckpointError`` for a step that this package does not know, or that does not fit.
    """
    steps = file.raw('steps')
    if not isinstance(steps, list) or not steps:
        raise file.error('steps', steps, 'a list of steps')
    made = []
    for number, entry in enumerate(steps):
        step = Fields(file.path, entry, f'steps[{number}]')
        name = step.word('registry_name')
        if name not in STEPS:
            raise CheckpointError(
                f'{file.path} has a step {name!r}; expected some of {", ".join(STEPS)}. '
                'Use a policy whose processors are those of LeRobot 0.6.'
            )
        action = STEPS[name](step, context)
        if action is not None:
            made.append(action)
    return made


def _nothing(step: Fields, context: Context) -> None:
    """Make no step: batches have one axis for it already, and the device is a parameter here."""


def _rename(step: Fields, context: Context) -> Step:
    said = step.part('config').part('rename_map', {})
    names = {key: said.word(key) for key in said.values}
    context.renamed |= names
    return lambda batch: {names.get(key, key): value for key, value in batch.items()}


def _newline(step: Fields, context: Context) -> Step:
    def end(batch: Batch) -> Batch:
        task = batch.get(TASK)
        return batch if task is None or task.endswith('\n') else batch | {TASK: task + '\n'}

    return end


def _state_in_words(step: Fields, context: Context) -> Step:
    def write(batch: Batch) -> Batch:
        if TASK not in batch or STATE not in batch:
            return batch
        bins = np.digitize(batch[STATE][0].cpu().numpy(), STATE_BINS) - 1
        text = batch[TASK].strip().replace('_', ' ').replace('\n', ' ')
        return batch | {TASK: f'Task: {text}, State: {" ".join(map(str, bins))};\nAction: '}

    return write


def _tokenize(step: Fields, context: Context) -> Step | None:
    config = step.part('config')
    limit = config.integer('max_length', high=LONGEST_TEXT)
    padding = config.word('padding', 'max_length', ('max_length', 'longest', 'do_not_pad'))
    left = config.word('padding_side', 'right', ('right', 'left')) == 'left'
    cut = config.flag('truncation', True)
    config.refuse('task_key', TASK, why='the sentence of the task is all that a robot is told')
    name = config.word('tokenizer_name')
    if context.words is None:
        return None
    words = context.words(name)
    context.tokenizer = words
    pad = words.special('pad_token') if padding == 'max_length' else 0

    def write(batch: Batch) -> Batch:
        if TASK not in batch:
            return batch
        ids = words.ids(batch[TASK], limit if cut else None)
        spare = max(limit - len(ids), 0) if padding == 'max_length' else 0
        tokens = [pad] * spare + ids if left else ids + [pad] * spare
        mask = [False] * spare + [True] * len(ids) if left else [True] * len(ids) + [False] * spare
        return batch | {TOKENS: torch.tensor([tokens]), MASK: torch.tensor([mask])}

    return write


def _relative(step: Fields, context: Context) -> Step:
    config = step.part('config')
    config.flag('enabled', False)
    excluded = [word.lower() for word in config.words('exclude_joints', ()) if word]
    named = config.raw('action_names', None) is not None
    names = [name.lower() for name in config.words('action_names')] if named else []

    def mask(columns: int) -> torch.Tensor:
        kept = [any(word in name for word in excluded) for name in names[:columns]]
        kept += [False] * (columns - len(kept))
        return (~torch.tensor(kept)).float()

    context.relative = mask
    return lambda batch: batch | ({ROBOT_STATE: batch[STATE]} if STATE in batch else {})


def _absolute(step: Fields, context: Context) -> Step | None:
    if not step.part('config').flag('enabled', False):
        return None
    mask = context.relative
    if mask is None:
        raise CheckpointError(
            f'{step.path} has absolute_actions_processor; expected relative_actions_processor in '
            'policy_preprocessor.json beside it. Copy both files of one policy.'
        )

    def add(batch: Batch) -> Batch:
        chunk, state = batch[ACTION], batch[ROBOT_STATE]
        columns = min(chunk.shape[-1], state.shape[-1])
        offset = torch.zeros(1, 1, chunk.shape[-1])
        offset[..., :columns] = state[:, None, :columns] * mask(chunk.shape[-1])[:columns]
        return batch | {ACTION: chunk + offset}

    return add


def _statistics(step: Fields, context: Context) -> Statistics:
    if context.statistics is not None:
        return context.statistics(step.word('registry_name'))
    path = context.folder / step.word('state_file')
    if path.parent != context.folder:
        raise step.error('state_file', step.raw('state_file'), 'a file of the same folder')
    return statistics(path, Tensors(stored(path)), context.features)


def _scalings(step: Fields, context: Context, kinds: tuple[str, ...]) -> dict[str, Scaling]:
    """Return how each feature of some kinds is normalised; those with IDENTITY are left out."""
    config = step.part('config')
    declared = features_of(config, 'features')
    modes = config.part('norm_map')
    eps = config.number('eps', 1e-8, 0, 1)
    only = config.words('normalize_observation_keys', tuple(declared))
    known = [key for key in declared if key in context.features]
    order = [key for key in context.features if key in declared]
    if known != order:
        raise config.error('order of features', known, f'{order}, as config.json has')
    found: dict[str, Scaling] = {}
    held: Statistics | None = None
    for key, feature in context.features.items():
        mode = modes.word(feature.kind, 'IDENTITY', tuple(NEEDED))
        if feature.kind not in kinds or not needs_statistics(key, feature):
            continue
        if mode != 'IDENTITY' and declared.get(key) != feature:
            said = declared.get(key)
            raise config.error(
                f'features.{key}',
                said and said._asdict(),
                f'{feature._asdict()}, as config.json has',
            )
        context.normalised[key] = mode
        if mode == 'IDENTITY' or (feature.kind != 'ACTION' and key not in only):
            continue
        held = held or _statistics(step, context)
        scaling = held.scaling(key, feature, mode, eps, context.unnorm_key)
        if scaling is not None:
            found[key] = scaling
    return found


def _normalise(step: Fields, context: Context) -> Step:
    scalings = _scalings(step, context, ('STATE', 'VISUAL', 'ENV'))

    def apply(batch: Batch) -> Batch:
        return batch | {
            key: scaling.normalise(batch[key]) for key, scaling in scalings.items() if key in batch
        }

    return apply


def _restore(step: Fields, context: Context) -> Step | None:
    scaling = _scalings(step, context, ('ACTION',)).get(ACTION)
    return scaling and (lambda batch: batch | {ACTION: scaling.restore(batch[ACTION])})


STEPS: Mapping[str, Callable[[Fields, Context], Step | None]] = {
    'rename_observations_processor': _rename,
    'to_batch_processor': _nothing,
    'device_processor': _nothing,
    'smolvla_new_line_processor': _newline,
    'pi0_new_line_processor': _newline,
    'tokenizer_processor': _tokenize,
    'pi05_prepare_state_tokenizer_processor_step': _state_in_words,
    'relative_actions_processor': _relative,
    'absolute_actions_processor': _absolute,
    'normalizer_processor': _normalise,
    'unnormalizer_processor': _restore,
}
"""Name in the registry -> what makes the step of its entry, ``None`` where there is nothing to do
while a policy drives a robot."""
