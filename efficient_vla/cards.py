# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Read the JSON files of a policy folder; importing this does not import torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from efficient_vla.errors import CheckpointError
from efficient_vla.families import known_family, train_command
from efficient_vla.settings import InvalidSettingError, scalar
from efficient_vla.types import LONGEST_ROW, MAX_ROWS, SHORTEST_ROW

Card = TypeVar('Card')


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file of a policy folder.

    Raises ``CheckpointError`` where the file is missing or holds something else.
    """
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(missing(path)) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f'{path} is not JSON: {error}. Copy the checkpoint again.') from error
    if not isinstance(found, dict):
        raise CheckpointError(
            f'{path} holds a {type(found).__name__}; expected an object. Copy the checkpoint again.'
        )
    return found


def missing(path: Path) -> str:
    """Return that a file of a policy folder is missing, and what makes it.

    Raises ``CheckpointError`` where the folder holds a model that no policy can stand on.
    """
    model = path.parent / 'config.json'
    if path.name != 'policy.json' or not model.is_file():
        return f'{path} is missing; expected a policy folder. Check the path of the policy.'
    known_family(path.parent, read_json(model))
    return (
        f'{path.parent} holds a vision-language model without policy.json: it has no queries and '
        f'no heads for actions. Train them: {train_command(path.parent)}.'
    )


def make(kind: type[Card], path: Path, values: Mapping[str, Any]) -> Card:
    """Return the dataclass ``kind`` with the values of ``path``, lists as tuples.

    Raises ``CheckpointError`` where a field is missing, unknown, of another type or out of bounds.
    """
    hints = get_type_hints(kind)
    try:
        kind(**values)  # refuses what is missing or unknown
        typed = {name: _typed(name, value, hints[name]) for name, value in values.items()}
        card = kind(**typed)
        _check(card)
        return card
    except (InvalidSettingError, TypeError) as error:
        raise CheckpointError(
            f'{path} does not fit: {str(error).rstrip(".")}. Use a checkpoint of this version.'
        ) from error


def _check(card: Any) -> None:
    """Raise ``InvalidSettingError`` for a field that no policy can have, of those that it has."""
    for field in ('cameras', 'state_names', 'action_names'):
        names = getattr(card, field, ('absent',))
        few = not names and field != 'state_names' and not getattr(card, 'of_any_robot', False)
        if few or len(set(names)) < len(names) or not all(map(str.strip, names)):
            raise InvalidSettingError(
                f'{field} is {list(names)}; expected one name or more, none empty or twice.'
            )
    for field, low, high, unit in (
        ('dt', SHORTEST_ROW, LONGEST_ROW, 's'),
        ('horizon', 1, MAX_ROWS, 'rows'),
        ('queries', 1, 4096, 'rows of a plan'),
        ('image_size', 1, 4096, 'pixels'),
        ('tokens_per_camera', 1, 4096, 'tokens'),
    ):
        if not low <= getattr(card, field, low) <= high:
            raise InvalidSettingError(
                f'{field} is {getattr(card, field)}; expected {low} to {high} {unit}.'
            )


def _typed(name: str, value: Any, hint: Any) -> Any:
    """Return a value of the type ``hint``: a scalar, ``tuple[T, ...]`` or ``dict[str, T]``."""
    inner = get_args(hint)
    if not inner:
        return scalar(name, value, hint)
    shape, word = (list, 'a list') if inner[-1] is Ellipsis else (dict, 'an object')
    if not isinstance(value, shape):
        raise InvalidSettingError(f'{name} is {value!r}; expected {word}.')
    if isinstance(value, dict):
        return {key: _typed(f'{name}[{key!r}]', item, inner[1]) for key, item in value.items()}
    return tuple(_typed(f'{name}[{place}]', item, inner[0]) for place, item in enumerate(value))
