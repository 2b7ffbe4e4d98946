# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether both files of processors and ``config.json`` of one folder say the same.

A folder whose files are of two policies runs without an error, and moves the arm elsewhere.
"""

from collections.abc import Mapping

import torch

from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.features import features_of
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.weights import stored

RENAME, WORDS = 'rename_observations_processor', 'tokenizer_processor'
RELATIVE, ABSOLUTE = 'relative_actions_processor', 'absolute_actions_processor'
SCALE, RESTORE = 'normalizer_processor', 'unnormalizer_processor'
BINS = 'pi05_prepare_state_tokenizer_processor_step'
NEWLINES = 'smolvla_new_line_processor', 'pi0_new_line_processor'
ORDER = (
    (RENAME, RELATIVE),
    (RENAME, SCALE),
    (RELATIVE, SCALE),
    (SCALE, BINS),
    (BINS, WORDS),
    *((newline, WORDS) for newline in NEWLINES),
    (RESTORE, ABSOLUTE),
)
"""Pairs of steps, the first of which comes first: the second reads what it leaves."""
NEEDED: Mapping[str, tuple[str, ...]] = {
    'smolvla': (NEWLINES[0], WORDS),
    'pi0': (NEWLINES[1], WORDS),
    'pi05': (BINS, WORDS),
}
"""Type -> steps before the policy without which it is not told what it was in training."""


def check_processors(kind: str, config: Fields, before: Fields, after: Fields) -> bool:
    """Return whether actions are counted from the state of their observation.

    Raises ``CheckpointError`` where a step is missing, twice or in another's place, and where the
    files disagree on how something is normalised or what actions are counted from.
    """
    for file, needed in ((before, (SCALE, *NEEDED.get(kind, ()))), (after, (RESTORE,))):
        names = [step.word('registry_name') for step in _steps(file)]
        for name in needed:
            if names.count(name) != 1:
                raise CheckpointError(
                    f'{file.path} has {names.count(name)} steps {name}; expected one. '
                    'Copy the file of this policy again.'
                )
        for first, second in ORDER:
            if {first, second} <= set(names) and names.index(first) > names.index(second):
                raise CheckpointError(
                    f'{file.path} has {second} before {first}; expected it behind, as LeRobot '
                    'writes them. Copy the file of this policy again.'
                )
    _check_modes(config, before, after)
    return _relative(config, before, after)


def check_same(before: Fields, after: Fields) -> None:
    """Raise ``CheckpointError`` where both processors have other statistics of one feature."""
    held = []
    for file in (before, after):
        names = [step.raw('state_file', None) for step in _steps(file)]
        folder = file.path.parent
        held.append({k: v for name in names if name for k, v in stored(folder / name).items()})
    first, second = held
    for name in sorted(first.keys() & second.keys()):
        # The shapes may differ: LeRobot's trainer writes the count of images as [1] and [1, 1, 1].
        values = (part[name].read().double().flatten() for part in held)
        if not torch.equal(*values):
            raise CheckpointError(
                f'{second[name].path} and {first[name].path.name} beside it say different things '
                f'of {name}; expected the same statistics. Copy the files of one policy.'
            )


def _steps(file: Fields) -> list[Fields]:
    return [Fields(file.path, entry, 'step') for entry in file.raw('steps')]


def _step(file: Fields, name: str) -> Fields | None:
    """Return what configures the step of that name, where there is one."""
    found = (step for step in _steps(file) if step.word('registry_name') == name)
    step = next(found, None)
    return step and step.part('config')


def _check_modes(config: Fields, before: Fields, after: Fields) -> None:
    """Raise ``CheckpointError`` where a step normalises otherwise than the policy was trained."""
    said = config.part('normalization_mapping', {})
    features = features_of(config, 'input_features') | features_of(config, 'output_features')
    for file, name in ((before, SCALE), (after, RESTORE)):
        step = _step(file, name)
        assert step is not None
        modes = step.part('norm_map')
        for kind in sorted({feature.kind for feature in features.values()}):
            trained, mode = (part.word(kind, 'IDENTITY') for part in (said, modes))
            if said.values and mode != trained:
                raise CheckpointError(
                    f'{file.path} has {mode} for {kind} in norm_map of {name}; expected '
                    f'{trained}, as {config.path.name} says. Copy the files of one policy.'
                )


def _relative(config: Fields, before: Fields, after: Fields) -> bool:
    told = {}
    for file, name in ((before, RELATIVE), (after, ABSOLUTE)):
        step = _step(file, name)
        told[file.path.name] = step is not None and step.flag('enabled', False)
    if 'use_relative_actions' in config.values:
        told[config.path.name] = config.flag('use_relative_actions')
    if len(set(told.values())) > 1:
        parts = ', '.join(f'{name} {"yes" if said else "no"}' for name, said in told.items())
        raise CheckpointError(
            f'{config.path.parent} says of whether actions are counted from the state: {parts}; '
            'expected the same of all. Copy the files of one policy.'
        )
    return any(told.values())
