# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Exports of tests are kept in folders of their own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache folder of the user."""
    folder = tmp_path / 'cache'
    monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
    return folder
