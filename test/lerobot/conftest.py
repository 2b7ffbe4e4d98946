# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A cache with the tokenizers, and folders that a test may damage."""

import shutil
from pathlib import Path

import pytest
from lerobot_folders import FIXTURES


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the Hugging Face cache that every test sees."""
    monkeypatch.setenv('HF_HUB_CACHE', str(FIXTURES / 'hub'))
    return FIXTURES / 'hub'


@pytest.fixture
def copied(tmp_path: Path):
    """Return what copies a fixture, so that a test may damage it."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(FIXTURES / name, tmp_path / name))

    return copy
