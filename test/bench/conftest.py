# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pass-through policies, the smallest that the whole path accepts, and one thread for them."""

import numpy as np
import pytest
import torch

from efficient_vla.passthrough import write_policy
from efficient_vla.sim.metaworld import MetaWorldSim

SPEED = 0.3
"""Speed of a policy that heads for the goal [m/s]."""


@pytest.fixture
def passthrough(tmp_path):
    """Return the folder of a policy that needs no weights."""
    return write_policy(tmp_path / 'passthrough')


@pytest.fixture(scope='session')
def reaching(tmp_path_factory):
    """Return the folder of a policy that succeeds at reach-v3 with seed 1000, and only there."""
    sim = MetaWorldSim('reach-v3', 'fast')
    sim.reset(1000)
    way = sim.env._target_pos - sim.state()[:3]
    velocity = SPEED * way / np.linalg.norm(way)
    return write_policy(tmp_path_factory.mktemp('reaching'), velocity=tuple(velocity.tolist()))


@pytest.fixture
def one_thread():
    """Let tiny products run in one thread: two wait for each other on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
