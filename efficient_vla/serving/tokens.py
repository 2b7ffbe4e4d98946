# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Tokens that clients of a policy server have to know."""

import stat
from pathlib import Path

from efficient_vla.settings import InvalidSettingError

SHORTEST = 16
"""Characters; fewer are guessed."""


def read_token(path: str | Path) -> str:
    """Return the token in a file, '' where no file is named.

    Raises ``InvalidSettingError`` where the file holds none, or others may read it.
    """
    if not str(path):
        return ''
    file = Path(path).expanduser()
    try:
        others = stat.S_IMODE(file.stat().st_mode) & 0o077
        token = file.read_text(encoding='ascii').strip()
    except (OSError, ValueError) as error:
        raise InvalidSettingError(
            f'the token file {file} cannot be read: {error}. Make one: '
            f'(umask 077; openssl rand -hex 32 > {file}).'
        ) from error
    if others:
        raise InvalidSettingError(
            f'the token file {file} is open to other users; expected it to be yours alone. '
            f'Run: chmod 600 {file}.'
        )
    if len(token) < SHORTEST or not token.isprintable() or ' ' in token:
        raise InvalidSettingError(
            f'the token file {file} holds {len(token)} characters; expected one word of at least '
            f'{SHORTEST}. Make it by: openssl rand -hex 32 > {file}.'
        )
    return token
