# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Prompts in which vision-language models were tuned: words around images and a sentence.

A prompt is one text in which a marker stands for all tokens of an image; tokenizing it whole gives
the tokens that the model's own processor gives. Importing this loads no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from efficient_vla.errors import CheckpointError

BARE = 'bare'
"""No template: the visual tokens, then the sentence in lower case."""
SENTENCE, IMAGES, MARKER = '{sentence}', '{images}', '{image}'


@dataclass(frozen=True, slots=True)
class Template:
    """How a class of models wants to be asked."""

    marker: str
    """Token that stands for an image in the text."""
    text: str
    """With ``{images}`` and ``{sentence}``."""
    image: str = MARKER
    """What stands for one image, with ``{image}`` at its tokens."""
    tile: str = ''
    """What stands for one tile of an image that is cut up, with ``{row}`` and ``{column}`` from 1;
    empty where images stay whole."""
    row_end: str = ''
    """What follows each row of tiles."""
    whole: str = ''
    """What stands for the image as a whole after its tiles."""
    begun_by_tokenizer: bool = False
    """Whether the tokenizer itself puts its first token before the text."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One text, and what is where in it."""

    text: str
    marker: str
    images: int
    """Markers that the text has: one an image, or one a tile and one for the image as a whole."""
    sentence: tuple[int, int]
    """First character of the sentence, and the one after its last."""
    begun_by_tokenizer: bool


IDEFICS = Template(
    marker='<image>',
    text='<|im_start|>User:{images}{sentence}<end_of_utterance>\nAssistant:',
    image='<fake_token_around_image><global-img>{image}<fake_token_around_image>',
    tile='<fake_token_around_image><row_{row}_col_{column}>{image}',
    row_end='\n',
    whole='\n<fake_token_around_image><global-img>{image}<fake_token_around_image>',
)
QWEN = '<|im_start|>user\n{images}{sentence}<|im_end|>\n<|im_start|>assistant\n'
TEMPLATES: Mapping[str, Template] = {
    'smolvlm': IDEFICS,
    'idefics3': Template(
        marker=IDEFICS.marker,
        text=IDEFICS.text.replace('<|im_start|>', '<|begin_of_text|>'),
        image=IDEFICS.image,
        tile=IDEFICS.tile,
        row_end=IDEFICS.row_end,
        whole=IDEFICS.whole,
    ),
    'llava': Template(
        marker='<image>',
        text='USER: {images}{sentence} ASSISTANT:',
        image='{image}\n',
        begun_by_tokenizer=True,
    ),
    'paligemma': Template(marker='<image>', text='{images}<bos>{sentence}\n'),
    'gemma3': Template(
        marker='<image_soft_token>',
        text='<bos><start_of_turn>user\n{images}{sentence}<end_of_turn>\n<start_of_turn>model\n',
        image='\n\n<start_of_image>{image}<end_of_image>\n\n',
    ),
    'qwen2_5_vl': Template(
        marker='<|image_pad|>',
        text='<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' + QWEN,
        image='<|vision_start|>{image}<|vision_end|>',
    ),
    'qwen3_vl': Template(
        marker='<|image_pad|>', text=QWEN, image='<|vision_start|>{image}<|vision_end|>'
    ),
}
"""``model_type`` of transformers -> its template. LLaVA's is that of version 1.5."""
PROMPTS = (BARE, *TEMPLATES)


def prompt_of(
    template: str, cameras: int, sentence: str, tiles: tuple[int, int] = (0, 0)
) -> Prompt:
    """Return the prompt for as many cameras, each cut into rows and columns of ``tiles``.

    Tiles (0, 0) leave images whole. Raises ``CheckpointError`` for an unknown template, and for
    tiles where the models of this template are given whole images.
    """
    if template not in TEMPLATES:
        raise CheckpointError(
            f'prompt is {template!r}; expected one of {", ".join(PROMPTS)}. Use another one.'
        )
    shape = TEMPLATES[template]
    rows, columns = tiles
    if rows * columns and not shape.tile:
        raise CheckpointError(
            f'prompt {template} with {rows} x {columns} tiles; expected 0 x 0, since these models '
            'are given whole images. Leave tiles out.'
        )
    image = shape.image
    if rows * columns:
        lines = (
            ''.join(
                shape.tile.replace('{row}', str(row + 1)).replace('{column}', str(column + 1))
                for column in range(columns)
            )
            for row in range(rows)
        )
        image = shape.row_end.join([*lines, '']) + shape.whole
    images = (image * cameras).replace(MARKER, shape.marker)
    before, after = shape.text.replace(IMAGES, images).split(SENTENCE)
    text = before + sentence + after
    return Prompt(
        text,
        shape.marker,
        (rows * columns + 1) * cameras,
        (len(before), len(before) + len(sentence)),
        shape.begun_by_tokenizer,
    )
