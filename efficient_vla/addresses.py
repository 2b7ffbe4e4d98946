# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Addresses of policy servers, which stand wherever a policy folder may."""

import re
from dataclasses import dataclass
from os import PathLike, fspath

from efficient_vla.errors import UsageError

# A path has lost one of the two slashes.
_ADDRESS = re.compile(r'(wss?):/{1,2}(?!/)(\[[0-9a-fA-F:.%]+\]|[^/:\[\]\s@]+):(\d+)/?')


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a policy server listens."""

    scheme: str
    """'ws', or 'wss' through TLS."""
    host: str
    port: int

    def __str__(self) -> str:
        """Return it as it is written: ``ws://host:port``."""
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{self.scheme}://{host}:{self.port}'

    def __fspath__(self) -> str:
        """Stand where a path may."""
        return str(self)


def server_address(given: str | PathLike[str]) -> ServerAddress | None:
    """Return the address that ``given`` is, ``None`` for anything that is no ``ws://`` or ``wss://``.

    Raises ``UsageError`` for one that cannot be.
    """
    text = fspath(given)
    if not re.match(r'wss?:/', text):
        return None
    found = _ADDRESS.fullmatch(text)
    port = int(found[3]) if found else 0
    if found is None or not 0 < port < 65536:
        raise UsageError(
            f'policy {text!r} is no address of a policy server; expected ws://HOST:PORT, such as '
            'ws://127.0.0.1:8000.'
        )
    return ServerAddress(found[1], found[2].strip('[]'), port)
