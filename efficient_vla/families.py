# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Classes of vision-language models that a policy can stand on; importing this loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficient_vla.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Family:
    """Where a class of vision-language models keeps its parts."""

    vision: str
    connector: str
    """Empty where the vision module projects by itself."""
    text: str
    bidirectional_prefix: bool = False
    """Whether image and instruction see each other both ways."""
    image_blocks: bool = False
    """Whether the tokens of one image see each other both ways."""
    chooses_layer: bool = False
    """Whether the configuration names the layer whose output is projected, and the class token."""


FAMILIES = {
    'smolvlm': Family('vision_model', 'connector', 'text_model'),
    'idefics3': Family('vision_model', 'connector', 'text_model'),
    'llava': Family('vision_tower', 'multi_modal_projector', 'language_model', chooses_layer=True),
    'qwen2_5_vl': Family('visual', '', 'language_model'),
    'qwen3_vl': Family('visual', '', 'language_model'),
    'florence2': Family('vision_tower', 'multi_modal_projector', 'language_model'),
    'gemma3': Family('vision_tower', 'multi_modal_projector', 'language_model', image_blocks=True),
    'paligemma': Family(
        'vision_tower', 'multi_modal_projector', 'language_model', bidirectional_prefix=True
    ),
}
"""``model_type`` of transformers -> names of the parts."""


def known_family(folder: Path, config: Mapping[str, Any]) -> Family:
    """Return the family of the model that ``config.json`` of a folder describes.

    Raises ``CheckpointError`` for a policy of LeRobot and for types that are not known.
    """
    kind, known = config.get('model_type'), ', '.join(sorted(FAMILIES))
    if kind is None and 'type' in config:
        raise CheckpointError(
            f'{folder} holds a policy of LeRobot of type {config["type"]!r}, in a layout of its '
            f'own; expected a vision-language model of transformers, of type {known}, with '
            'policy.json beside it. Give its vision-language model to `efficient-vla train --vlm`.'
        )
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise CheckpointError(
            f'{folder} holds a model of type {kind!r}; expected one of {known}. '
            'Use a model of one of these types.'
        )
    return FAMILIES[kind]


def train_command(folder: Path) -> str:
    """Return the command that trains queries and heads for the model in ``folder``."""
    return f'efficient-vla train --vlm {folder} --data data/metaworld'
