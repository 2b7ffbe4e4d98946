# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention heads of the models inside LeRobot's policies, which no shape of a tensor tells.

The folder does not hold the configuration of the model. It is looked for in ``vlm`` in the folder,
at the path that the policy names, and in the Hugging Face cache; the published models are known.
Importing this loads no torch.
"""

from dataclasses import dataclass
from pathlib import Path

from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.hub import cached

OWN = 'vlm'
"""Folder inside of a policy folder for the small files of its model."""


@dataclass(frozen=True, slots=True)
class Heads:
    """What no shape of a tensor tells."""

    vision: int
    """Attention heads of the vision tower."""
    width: int
    """Numbers in a head of the decoder."""


SMOLVLM = {(768, 960): Heads(12, 64), (768, 576): Heads(12, 64), (1152, 2048): Heads(16, 64)}
"""Widths of tower and decoder -> heads of SmolVLM2 with 500M, 256M and 2.2B parameters."""
SIGLIP = {1152: 16}
"""Width -> heads of the vision tower of PaliGemma."""
SMALL_SIGLIP = 2
"""LeRobot has no setting for another tower; folders of smaller shapes are made with two heads."""


def smolvlm_heads(widths: tuple[int, int], model: str, folder: Path) -> Heads:
    """Return the heads of a SmolVLM with a tower and a decoder so wide, by its name ``model``.

    Raises ``CheckpointError`` where nothing is known of it, or another configuration is found.
    """
    path = _configuration(model, folder)
    if path is None:
        if widths not in SMOLVLM:
            raise CheckpointError(lacking(widths, model, folder))
        return SMOLVLM[widths]
    known = read_json(path)
    try:
        vision, text = known['vision_config'], known['text_config']
        heads = Heads(
            int(vision['num_attention_heads']),
            int(text.get('head_dim') or text['hidden_size'] // text['num_attention_heads']),
        )
        said = int(vision['hidden_size']), int(text['hidden_size'])
        if min(heads.vision, heads.width) < 1 or widths[0] % heads.vision:
            raise ValueError(f'{heads.vision} heads of {widths[0]}')
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f'{path} does not describe a SmolVLM: {type(error).__name__}: {error}. Copy it again.'
        ) from error
    if said != widths:
        raise CheckpointError(
            f'{path} says widths {said[0]} and {said[1]}; the tensors of {folder} have {widths[0]} '
            f'and {widths[1]}. Use the configuration of its own model, {model}.'
        )
    return heads


def lacking(widths: tuple[int, int], model: str, folder: Path) -> str:
    """Return that nothing is known of a model, and what to do."""
    return (
        f'{folder} has a vision tower {widths[0]} wide and a language model {widths[1]} wide, of '
        f'which nothing more is known; expected those of SmolVLM2, or the config.json of {model}. '
        f'Copy that file into {folder / OWN}, or the model into the Hugging Face cache.'
    )


def _configuration(model: str, folder: Path) -> Path | None:
    """Return the configuration of a model on this machine."""
    for place in (folder / OWN, Path(model).expanduser(), cached(model)):
        if place is not None and (place / 'config.json').is_file():
            return place / 'config.json'
    return None
