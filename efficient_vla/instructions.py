# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which instructions may reach a policy."""

import unicodedata

from efficient_vla.types import InvalidRecordError

MAX_LENGTH = 1000
LANGUAGES = ('en',)
LATIN = ('LATIN', 'FEMININE ORDINAL', 'MASCULINE ORDINAL')


def checked_instruction(text: str, language: str = '') -> str:
    """Return ``text`` without superfluous space, or raise ``InvalidRecordError`` with the reason.

    Valid are 1 to 1000 characters whose letters are Latin, in a language (BCP-47) that is English
    or not stated: the policies here know no other, and would turn such a sentence into noise that
    still moves the robot.
    """
    if language and language.lower().split('-')[0] not in LANGUAGES:
        raise InvalidRecordError(
            f'unknown instruction language: {language!r}; expected {", ".join(LANGUAGES)}. '
            'Give the instruction in English.'
        )
    if not isinstance(text, str):
        raise InvalidRecordError(f'instruction is {text!r}; expected one sentence as a string.')
    stripped = ' '.join(text.split())
    if not stripped:
        raise InvalidRecordError('instruction is empty; expected one sentence.')
    if len(stripped) > MAX_LENGTH:
        raise InvalidRecordError(
            f'instruction has {len(stripped)} characters; expected at most {MAX_LENGTH}. '
            'Give one sentence.'
        )
    for letter in stripped:
        if letter.isalpha() and not unicodedata.name(letter, '').startswith(LATIN):
            raise InvalidRecordError(
                f'unknown instruction language: {letter!r} is not a Latin letter. '
                'Give the instruction in English.'
            )
    if not any(letter.isalpha() for letter in stripped):
        raise InvalidRecordError(
            f'instruction {stripped[:40]!r} holds no letter; expected one sentence.'
        )
    return stripped
