# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Paraphrases of the instructions, and sentences that ask for nothing the policy can do."""

import itertools
import random
from collections.abc import Sequence

_POLITE = ('', 'please ', 'now ', 'can you ', 'robot, ')

_TEMPLATES = {
    'button-press-v3': (
        ('press', 'push', 'hit', 'push in'),
        ('the button', 'the red button', 'the button on the box', 'that button'),
    ),
    'drawer-open-v3': (
        ('open', 'pull open', 'slide open', 'pull out'),
        ('the drawer', 'the green drawer', 'that drawer', 'the drawer by its handle'),
    ),
    'door-open-v3': (
        ('open', 'pull open', 'swing open'),
        ('the door', 'the door of the safe', 'that door', 'the door by its handle'),
    ),
    'window-close-v3': (
        ('push and close', 'close', 'shut', 'slide shut'),
        ('the window', 'that window', 'the window by its handle'),
    ),
    'reach-v3': (
        ('reach', 'move to', 'go to', 'move the hand to', 'bring the gripper to'),
        ('the goal position', 'the goal', 'the target', 'the target position', 'the sphere'),
    ),
    'push-v3': (
        ('push', 'slide', 'shove', 'move'),
        (
            'the puck to the goal',
            'the puck to the target',
            'the red puck to the goal',
            'the puck across the table to the goal',
        ),
    ),
    'pick-place-v3': (
        (
            'pick up the puck and place it at',
            'pick and place the puck at',
            'lift the puck to',
            'grasp the puck and carry it to',
            'pick the puck up and put it at',
        ),
        ('the goal', 'the target', 'the goal position'),
    ),
}

_WORDS = (
    'apple banana cloud dances silently under seven purple mountains while the old clock sings '
    'about rivers and paper boats tomorrow yesterday never blue triangle coffee runs quickly '
    'music seven happy lamp writes stone garden whisper elephant number twelve sleeps'
).split()


def paraphrases(task: str) -> list[str]:
    """Return every training sentence of a task, in a fixed order."""
    verbs, objects = _TEMPLATES[task]
    return [
        f'{polite}{verb} {thing}'
        for polite, verb, thing in itertools.product(_POLITE, verbs, objects)
    ]


def polite(sentence: str) -> list[str]:
    """Return the ways to ask for it that training knows."""
    return [f'{word}{sentence}' for word in _POLITE]


def nonsense(rng: random.Random) -> str:
    """Return a sentence of random words that asks for nothing."""
    return ' '.join(rng.choice(_WORDS) for _ in range(rng.randint(3, 8)))


def corpus(sentences: Sequence[str] = ()) -> list[str]:
    """Return what the tokenizer of ``sentences`` is trained on, by default of those above."""
    known = sentences or [line for task in _TEMPLATES for line in paraphrases(task)]
    return [*known, ' '.join(_WORDS)]
