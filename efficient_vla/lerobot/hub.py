# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The Hugging Face cache of this machine; nothing is downloaded."""

import os
from pathlib import Path


def cache_folders() -> tuple[Path, ...]:
    """Return the places of the cache that apply, the strongest first."""
    named = os.environ.get('HF_HUB_CACHE'), os.environ.get('HF_HOME')
    cache, home = named
    return (
        *((Path(cache).expanduser(),) if cache else ()),
        *((Path(home).expanduser() / 'hub',) if home else ()),
        Path('~/.cache/huggingface/hub').expanduser(),
    )


def cached(name: str) -> Path | None:
    """Return the newest snapshot of the repository ``org/name`` in the cache, or ``None``."""
    if name.count('/') != 1:
        return None
    for cache in cache_folders():
        model = cache / f'models--{name.replace("/", "--")}'
        try:
            revision = (model / 'refs/main').read_text().strip()
        except OSError:
            revision = ''
        snapshots = [model / 'snapshots' / revision] if revision else []
        snapshots += sorted((model / 'snapshots').glob('*'))
        for snapshot in snapshots:
            if snapshot.is_dir():
                return snapshot
    return None
