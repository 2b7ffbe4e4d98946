# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A tiny OpenVLA and a tiny OpenVLA-OFT, made once for all tests of this folder."""

import shutil
from pathlib import Path

import pytest
import torch
from tiny_openvla import add_oft, oft_parts, statistics, tensors, write_folder


@pytest.fixture(scope='session')
def weights() -> dict[str, torch.Tensor]:
    """Return the tensors of the tiny model."""
    return tensors()


@pytest.fixture(scope='session')
def folder(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, torch.Tensor]) -> Path:
    """Write an OpenVLA of two datasets."""
    groups = {'bridge_orig': statistics(3), 'fractal20220817_data': statistics(4)}
    return write_folder(tmp_path_factory.mktemp('openvla') / 'tiny', weights, groups)


@pytest.fixture(scope='session')
def oft(folder: Path) -> Path:
    """Write an OpenVLA-OFT beside it, with a head, the state and one dataset."""
    path = folder.parent / 'tiny-oft'
    shutil.copytree(folder, path)
    return add_oft(path, oft_parts(), {'libero_spatial_no_noops': statistics(5)})


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the OpenVLA that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / 'copy'))
