# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What `efficient-vla serve` offers of a policy, before it listens."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from efficient_vla.cli import serve
from efficient_vla.errors import UsageError
from efficient_vla.serving.protocol import MAX_OBSERVATION, packed, unpacked

ACT = Path(__file__).resolve().parents[1] / 'fixtures' / 'lerobot' / 'act'
JOINTS = ('pan', 'lift', 'elbow', 'flex', 'roll', 'jaw')
PROFILE = f"""
/**:
  ros__parameters:
    joints:
      names: [{', '.join(JOINTS)}]
      unit: [deg, deg, deg, deg, deg, percent]
      low: [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
      high: [0.0, 0.0, 0.0, 0.0, 0.0, 3.0]
      mode: joint_position
      rate: 30.0
      overshoot: 1.0
"""


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(words)


def test_a_folder_of_lerobot_is_served_in_the_names_and_units_of_a_robot(tmp_path: Path) -> None:
    profile = tmp_path / 'arm.yaml'
    profile.write_text(PROFILE)
    keys = ('--image-key', 'images.front', '--image-key', 'images.wrist', '--state-key', 'state')
    served, name = serve.load(arguments('--policy', str(ACT), '--robot', str(profile), *keys))
    said = served.metadata()['efficient_vla']
    assert name == said['policy'] == 'act'
    assert said['cameras'] == {'front': 'images.front', 'wrist': 'images.wrist'}
    assert said['state'] == {'state': list(JOINTS)}
    assert (said['actions']['names'], said['actions']['dt']) == (list(JOINTS), 1 / 30)
    image = np.zeros((48, 64, 3), np.uint8)
    observation = {
        'images': {'front': image, 'wrist': image},
        'state': np.array([0, 0, 0, 0, 0, 2.0]),
        'prompt': 'pick it up',
    }
    frame = packed(observation, MAX_OBSERVATION)
    client = object()
    actions = unpacked(served.answer(client, frame, {}))['actions']
    assert actions.shape == (said['actions']['rows'], 6)
    again = unpacked(served.answer(client, frame, {}))['actions']
    np.testing.assert_array_equal(again, actions)


def test_a_parameter_of_no_part_of_a_policy_is_refused() -> None:
    with pytest.raises(UsageError, match=r'controller\.rate=5.* is about no part of a policy'):
        serve.load(arguments('--set', 'controller.rate=5'))
