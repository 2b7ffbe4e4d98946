# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Ranges of a folder of random weights, and that int8 takes them."""

import shutil
import sys

from lerobot_folders import FIXTURES
from prefix_policies import ROBOT

from benchmarks.policies import calibrate
from efficient_vla.policy import Policy


def test_ranges_are_written_that_int8_takes(tmp_path, monkeypatch):
    folder = shutil.copytree(FIXTURES / 'smolvla', tmp_path / 'smolvla')
    monkeypatch.setattr(sys, 'argv', ['calibrate', str(folder)])
    calibrate.main()
    policy = Policy.from_pretrained(folder, **ROBOT, actor_quantization_mode='int8')
    assert policy.actor.parameters_mb > 0
