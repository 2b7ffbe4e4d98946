# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every head, action tokenizer and decoding, once: choices, help, loading and training derive.

A name is that of a file: ``heads/<name>.py`` has ``load(source, settings)``, which returns its
generator, ``tokenizers/<name>.py`` the class that is named here, and ``decoding/<name>.py`` has
``decode(line)``. Nothing here imports torch.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeadEntry:
    """A way from plan to chunk."""

    about: str
    """What it does, after its name, for help and docs."""
    recipe: str = ''
    """``module:Class`` in ``training/recipes`` that trains its add-on; empty where none is."""
    architectures: tuple[str, ...] = ('single',)


@dataclass(frozen=True, slots=True)
class TokenizerEntry:
    """A vocabulary of chunks."""

    about: str
    kind: str
    """Name of its class."""
    recipe: str = ''
    whole: bool = False
    """Whether the class is a policy that names all words at once, and not a vocabulary alone."""


@dataclass(frozen=True, slots=True)
class DecodingEntry:
    """A way to get a line of tokens."""

    about: str
    tokenizers: tuple[str, ...]
    """Vocabularies whose add-on was trained for it."""
    recipe: str = ''
    """Of a decoder of its own, where it has one."""


HEADS = {
    'regression': HeadEntry('gives numbers in one pass', architectures=('dual', 'single')),
    'flow': HeadEntry(
        'carries noise along a learned velocity to a chunk, in some steps', 'heads:FlowRecipe'
    ),
    'diffusion': HeadEntry(
        'takes noise off in some steps until a chunk is left', 'heads:DiffusionRecipe'
    ),
    'tokens': HeadEntry('names tokens, see tokens.tokenizer'),
}
"""``head`` -> what it is."""
TOKENIZERS = {
    'univla': TokenizerEntry(
        'words of the vocabulary that resampling.method univla shares with image and text',
        'TokenPolicy',
        whole=True,
    ),
    'bins': TokenizerEntry('a token for each number', 'BinTokenizer', 'action_tokens:BinRecipe'),
    'fast': TokenizerEntry(
        'cosine transform and byte pairs, fewer tokens',
        'FastTokenizer',
        'action_tokens:FastRecipe',
    ),
}
"""``tokens.tokenizer`` -> what it is."""
DECODINGS = {
    'parallel': DecodingEntry('all in one pass', ('univla', 'bins')),
    'autoregressive': DecodingEntry('one after the other', ('bins', 'fast')),
    'jacobi': DecodingEntry(
        'all again and again until none changes, the same result', ('bins', 'fast')
    ),
    'speculative': DecodingEntry(
        'the chunk of the head regression as a draft, which passes of the decoder confirm or mend, '
        'the same result with accept 0',
        ('bins', 'fast'),
    ),
    'consistency': DecodingEntry(
        'few passes of a decoder taught for it', ('bins',), 'action_tokens:ConsistencyRecipe'
    ),
}
"""``decoding.method`` -> what it is."""
RECIPES = {
    name: entry.recipe
    for entries in (HEADS, TOKENIZERS, DECODINGS)
    for name, entry in entries.items()
    if entry.recipe
}
"""Add-on -> recipe that trains it, of plans alone."""


def decodings(tokenizer: str) -> tuple[str, ...]:
    """Return the decodings that the add-on of a tokenizer was trained for."""
    return tuple(name for name, entry in DECODINGS.items() if tokenizer in entry.tokenizers)
