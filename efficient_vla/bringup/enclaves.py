# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Security enclaves of SROS 2: what they are called, and whether their keys are there."""

from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = '/efficient_vla'
KEYS = (
    'cert.pem',
    'governance.p7s',
    'identity_ca.cert.pem',
    'key.pem',
    'permissions.p7s',
    'permissions_ca.cert.pem',
)
"""Files of an enclave that the middleware reads."""
REMEDY = 'Make the keys as docs/security.md says, or unset ROS_SECURITY_ENABLE.'


def enclave(namespace: str, name: str) -> str:
    """Return the enclave of a process, or of a node that looks in from outside."""
    return '/'.join(filter(None, (ROOT, namespace.strip('/'), name)))


def why_no_keys(present: Mapping[str, str], enclaves: Iterable[str]) -> str | None:
    """Return which keys a secured graph lacks, or ``None``; also where security is not enabled."""
    if present.get('ROS_SECURITY_ENABLE') != 'true':
        return None
    keystore = present.get('ROS_SECURITY_KEYSTORE', '')
    if not keystore:
        return (
            'ROS_SECURITY_ENABLE is true and ROS_SECURITY_KEYSTORE is not set; expected the folder '
            f'of the keys. {REMEDY}'
        )
    chosen = present.get('ROS_SECURITY_ENCLAVE_OVERRIDE', '')
    for path in [chosen] if chosen else enclaves:
        folder = Path(keystore, 'enclaves', path.strip('/'))
        missing = [name for name in KEYS if not (folder / name).is_file()]
        if missing:
            return (
                f'the enclave {path} lacks {", ".join(missing)} in {folder}, and '
                f'ROS_SECURITY_ENABLE is true. {REMEDY}'
            )
    return None
