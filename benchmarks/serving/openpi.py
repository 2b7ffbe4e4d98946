# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Client and server of openpi, loaded from a checkout of its repository.

Run as a program it is openpi's server around a policy of this package:
``python -m benchmarks.serving.openpi CHECKOUT POLICY PORT``.
"""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from efficient_vla.errors import UsageError
from efficient_vla.policy import Policy

CLIENT = Path('packages/openpi-client/src')
FILES = {
    'client': CLIENT / 'openpi_client/websocket_client_policy.py',
    'encoding': CLIENT / 'openpi_client/msgpack_numpy.py',
    'server': Path('src/openpi/serving/websocket_policy_server.py'),
}
"""What is used of a checkout."""


def checked(checkout: Path) -> dict[str, str]:
    """Return a hash of each file that is used; raise ``UsageError`` where one is missing."""
    for path in FILES.values():
        if not (checkout / path).is_file():
            raise UsageError(
                f'{checkout} has no {path}; expected a checkout of openpi. Run: git clone '
                'https://github.com/Physical-Intelligence/openpi.'
            )
    return {
        name: hashlib.sha256((checkout / path).read_bytes()).hexdigest()
        for name, path in FILES.items()
    }


def load(checkout: Path, name: str) -> ModuleType:
    """Return a module of a checkout, without the rest of openpi, which would need jax."""
    sys.path.insert(0, str(checkout / CLIENT))
    try:
        spec = importlib.util.spec_from_file_location(f'openpi_{name}', checkout / FILES[name])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def serve(checkout: Path, policy: str, port: int) -> None:
    """Serve a policy of one camera by openpi's server, whose metadata say nothing, until killed."""
    stages = Policy.from_pretrained(policy)

    class Served:
        """The one method that openpi's server calls."""

        def infer(self, observation: dict[str, Any]) -> dict[str, np.ndarray]:
            chunk = stages.act(
                observation['observation/image'],
                observation['prompt'],
                state=observation['observation/state'],
            )
            return {'actions': chunk.actions}

    server = load(checkout, 'server').WebsocketPolicyServer(Served(), '127.0.0.1', port, {})
    server.serve_forever()


if __name__ == '__main__':
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
