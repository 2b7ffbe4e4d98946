# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a selector sees, made by hand."""

import pytest
import torch

from efficient_vla.reasoning.pruning.view import View
from efficient_vla.reasoning.settings import PruningSettings
from efficient_vla.settings import build


@pytest.fixture
def make_view():
    """Return a function that makes a view of ``cameras`` grids; lists become tensors."""

    def make(count, grid=(2, 3), cameras=1, settings=None, **fields):
        size = grid[0] * grid[1]
        index = torch.arange(cameras * size)
        fields = {
            name: torch.tensor(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        for name in ('attention', 'remembered'):  # one layer may come without its axis
            if name in fields and fields[name].ndim == {'attention': 2, 'remembered': 1}[name]:
                fields[name] = fields[name][None]
        fields.setdefault('tokens', torch.zeros(len(index), 2))
        fields.setdefault('text', torch.zeros(1, 2))
        return View(
            count=count,
            camera=index // size,
            row=index // grid[1] % grid[0],
            column=index % grid[1],
            grid=grid,
            settings=build(PruningSettings, settings or {}),
            remaining=fields.pop('remaining', index),
            **fields,
        )

    return make
