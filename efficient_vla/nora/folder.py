# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the files of a NORA folder say, without torch and without the weights.

The folder is that of a Qwen2.5-VL whose tokenizer has a token ``<robot_action_N>`` for each token N
of FAST. ``norm_stats.json`` holds the statistics of each dataset, and FAST itself lies beside it or
where ``nora.fast`` says.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from efficient_vla.cards import read_json
from efficient_vla.dataset_statistics import Group, read_groups
from efficient_vla.errors import CheckpointError

MODEL_TYPE = 'qwen2_5_vl'
STATISTICS = 'norm_stats.json'
FAST = 'fast'
FAST_FILES = 'tokenizer.json', 'processor_config.json'
ACTION = re.compile(r'<robot_action_(\d+)>')


@dataclass(frozen=True, slots=True)
class NoraFolder:
    """A checked folder; ``read_folder`` makes it."""

    path: Path
    actions: tuple[int, ...]
    """Token of the vocabulary for each token of FAST."""
    ends: tuple[int, ...]
    """Tokens that end what the model says."""
    repetition_penalty: float
    """What logits of tokens that were there before are divided by, or multiplied if negative."""
    tied: bool
    """Whether the output layer is the embedding."""
    groups: Mapping[str, Group]
    """Dataset -> its statistics."""


@dataclass(frozen=True, slots=True)
class FastFolder:
    """The tokenizer FAST, as its files describe it."""

    path: Path
    scale: float
    """What coefficients were multiplied by before rounding."""
    smallest: int
    """Coefficient that the first letter stands for."""


def read_folder(path: Path) -> NoraFolder:
    """Return what the JSON files of a folder say.

    Raises ``CheckpointError`` where one is missing or damaged.
    """
    config = read_json(path / 'config.json')
    generation = read_json(path / 'generation_config.json')
    ends = generation.get('eos_token_id')
    ends = [ends] if isinstance(ends, int) else ends
    if not isinstance(ends, list) or not ends or not all(isinstance(end, int) for end in ends):
        raise CheckpointError(
            f'{path / "generation_config.json"} has eos_token_id {ends!r}; expected the tokens '
            'that end an answer. Copy the checkpoint again.'
        )
    penalty = generation.get('repetition_penalty') or 1.0
    if not isinstance(penalty, int | float) or not 0.1 <= penalty <= 10:
        raise CheckpointError(
            f'{path / "generation_config.json"} has repetition_penalty {penalty!r}; expected a '
            'number near 1. Copy the checkpoint again.'
        )
    own = path / STATISTICS
    told = {'norm_stats': read_json(own)} if own.is_file() else config
    text = config.get('text_config')
    tied = config.get('tie_word_embeddings', False)
    if isinstance(text, dict):
        tied = text.get('tie_word_embeddings', tied) or tied
    return NoraFolder(
        path, _actions(path), tuple(ends), float(penalty), bool(tied), read_groups(path, told)
    )


def read_fast(folder: Path, given: str) -> FastFolder:
    """Return the tokenizer FAST of a policy's folder, or of the folder that is ``given``.

    Raises ``CheckpointError`` saying what to copy where it is not there.
    """
    path = Path(given).expanduser() if given else folder / FAST
    missing = [name for name in FAST_FILES if not (path / name).is_file()]
    if missing:
        raise CheckpointError(
            f'{path} has no {" and no ".join(missing)} of the tokenizer FAST. Copy '
            f'{" and ".join(FAST_FILES)} of physical-intelligence/fast there, or name their folder '
            'by nora.fast.'
        )
    said = read_json(path / FAST_FILES[1])
    scale, smallest = said.get('scale'), said.get('min_token')
    if not isinstance(scale, int | float) or scale <= 0 or not isinstance(smallest, int):
        raise CheckpointError(
            f'{path / FAST_FILES[1]} has scale {scale!r} and min_token {smallest!r}; expected a '
            'number above 0 and a whole one. Copy the file again.'
        )
    return FastFolder(path, float(scale), smallest)


def _actions(path: Path) -> tuple[int, ...]:
    """Return the token of each token of FAST."""
    file = path / 'tokenizer.json'
    found: dict[int, int] = {}
    try:
        said = read_json(file)
        names = dict(said['model']['vocab'])
        names |= {entry['content']: entry['id'] for entry in said.get('added_tokens', ())}
        for name, token in names.items():
            match = ACTION.fullmatch(name)
            if match:
                found[int(match[1])] = int(token)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{file} is no tokenizer: {type(error).__name__}: {error}. Copy the file again.'
        ) from error
    if not found or sorted(found) != list(range(len(found))):
        raise CheckpointError(
            f'{file} has {len(found)} tokens <robot_action_N>; expected one for each N from 0 on. '
            'Copy the tokenizer of NORA again.'
        )
    return tuple(found[number] for number in range(len(found)))
