# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A tiny learned policy with random weights, made once for all tests of this folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_policy import CARD

from efficient_vla import checkpoint
from efficient_vla.training.files import write_policy
from efficient_vla.training.model import EvlaNano, nano_config
from efficient_vla.training.train import train_tokenizer
from efficient_vla.types import Frame


@pytest.fixture(scope='session')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the tiny policy as training writes the shipped one."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('policy')
    tokenizer = train_tokenizer(['press the button', 'open the drawer'] * 3, 300)
    config = nano_config(len(tokenizer), width=64)
    model = EvlaNano(CARD, config).eval()
    write_policy(path, CARD, config, dict(model.deployed()), tokenizer)
    return path


@pytest.fixture
def frame() -> Frame:
    """Return one observation of the tiny policy."""
    image = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
    return Frame({'corner2': image}, np.array([0.0, 0.6, 0.2, 1.0], np.float32), 0.0)


@pytest.fixture
def card() -> checkpoint.Card:
    """Return the card of the tiny policy."""
    return CARD
