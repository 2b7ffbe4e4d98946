# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The policy without a network behaves like a policy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.policies import write_policy

from efficient_vla.action.settings import ActorSettings
from efficient_vla.errors import CheckpointError
from efficient_vla.instructions import checked_instruction
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.policy import Policy, load_actor, load_perception
from efficient_vla.settings import build
from efficient_vla.types import ControlMode, Frame, InvalidRecordError


def frame(brightness: int = 100, stamp: float = 1.0) -> Frame:
    image = np.full((32, 32, 3), brightness, np.uint8)
    return Frame({'corner2': image}, np.zeros(4, np.float32), stamp)


def perception(folder: Path, method: str):
    settings = build(PerceptionSettings, {'cache.method': method, 'cache.max_age': 1.0})
    return load_perception(folder, settings)


def test_chunk_moves_in_the_direction_of_the_card(policy: Path):
    chunk = Policy.from_pretrained(policy).act(frame(), 'open the drawer')
    assert chunk.actions.shape == (40, 4)
    assert chunk.actions[:, :3].sum(0) == pytest.approx([0, 0.05, 0], abs=1e-6)
    assert chunk.stamp == 1.0


def test_rows_have_the_columns_and_the_mode_of_the_card(tmp_path: Path):
    joints = tuple(f'joint{index}' for index in range(5))
    folder = write_policy(
        tmp_path,
        velocity=(0.1, 0.2, 0.3, 0.4, 0.5),
        action_names=(*joints, 'gripper'),
        control_mode='JOINT_DELTA',
        dt=0.02,
    )
    chunk = Policy.from_pretrained(folder).act(frame(), 'open the drawer')
    assert chunk.names == (*joints, 'gripper')
    assert chunk.control_mode is ControlMode.JOINT_DELTA
    assert chunk.actions[3] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01, -1.0])


def test_card_without_columns_swings_the_joints_of_the_profile(tmp_path: Path):
    folder = write_policy(
        tmp_path,
        velocity=(0.1,),
        period=2.0,
        gripper=0.5,
        action_names=(),
        state_names=(),
        cameras=(),
        control_mode='JOINT_DELTA',
        horizon=80,
        dt=0.025,
    )
    with pytest.raises(CheckpointError, match=r'joints\.names of the profile is empty'):
        load_actor(folder, ActorSettings())
    names = ['shoulder', 'elbow', 'gripper']
    policy = Policy.from_pretrained(folder, joints_names=names)
    assert policy.actor.state_names == tuple(names)
    image = np.full((32, 32, 3), 100, np.uint8)
    chunk = policy.act(Frame({'camera': image}, np.zeros(3, np.float32), 12.0), 'swing')
    assert chunk.names == tuple(names)
    assert (chunk.actions[:, 2] == 0.5).all()
    place = chunk.actions[:, :2].cumsum(0)
    # A swing of speed v and period T goes v T / 2 pi to each side and ends where it began.
    assert place.max(0) == pytest.approx([0.1 / np.pi] * 2, rel=1e-3)
    assert place.min(0) == pytest.approx([-0.1 / np.pi] * 2, rel=1e-3)
    assert place[-1] == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'velocity': (0.1, 0.2)}, 'velocity of 2 values; expected 3'),
        ({'control_mode': 'JOINT'}, "control_mode 'JOINT'; expected one of .*JOINT_DELTA"),
    ],
)
def test_card_that_contradicts_itself_is_refused(tmp_path: Path, fields: dict, message: str):
    with pytest.raises(CheckpointError, match=message):
        load_perception(write_policy(tmp_path, **fields), build(PerceptionSettings, {}))


def test_cache_none_computes_every_frame(policy: Path):
    stage = perception(policy, 'none')
    for stamp in (1.0, 1.1):
        tokens = stage.encode(frame(stamp=stamp))
        assert not tokens.reused.any()
        assert tokens.refresh_reason


def test_cache_reuse_sends_old_tokens_with_their_age(policy: Path):
    stage = perception(policy, 'reuse')
    stage.encode(frame(stamp=1.0))
    tokens = stage.encode(frame(stamp=1.4))
    assert tokens.age == pytest.approx(np.full(16, 0.4))
    assert tokens.refresh_reason == ''
    assert stage.encode(frame(brightness=140, stamp=1.5)).refresh_reason == 'frame changed'


def test_cache_skip_sends_nothing_until_max_age(policy: Path):
    stage = perception(policy, 'skip')
    assert stage.encode(frame(stamp=1.0)) is not None
    assert stage.encode(frame(stamp=1.5)) is None
    assert stage.encode(frame(stamp=2.1)).refresh_reason == 'max_age'


def test_reset_raises_the_epoch(policy: Path):
    stage = perception(policy, 'reuse')
    stage.encode(frame())
    stage.reset('requested')
    tokens = stage.encode(frame(stamp=1.1))
    assert (tokens.epoch, tokens.refresh_reason) == (1, 'requested')


def test_pruning_keeps_the_fraction_in_order(policy: Path):
    settings = {'pruning_method': 'uniform', 'pruning_keep': 0.25}
    whole = Policy.from_pretrained(policy, **settings)
    plan = whole.reasoner.plan(whole.perception.encode(frame()), 'open the drawer')
    assert len(plan.kept) == 4
    assert (np.diff(plan.kept) > 0).all()
    assert plan.tokens_total == 16


@pytest.mark.parametrize(
    'text',
    [
        '{',
        '[]',
        '{"policy_type": "passthrough", "wings": 2}',
        '{"policy_type": "passthrough", "horizon": "40"}',
        '{"policy_type": "passthrough", "latency_ms": {"actor": "2"}}',
    ],
)
def test_damaged_card_is_named(tmp_path: Path, text: str):
    (tmp_path / 'policy.json').write_text(text)
    with pytest.raises(CheckpointError, match=r'policy\.json'):
        load_perception(tmp_path, PerceptionSettings())


def test_card_of_another_architecture_is_refused(tmp_path: Path):
    (tmp_path / 'policy.json').write_text('{"policy_type": "elsewhere"}')
    with pytest.raises(CheckpointError, match='elsewhere'):
        load_perception(tmp_path, PerceptionSettings())


def test_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match='is missing'):
        load_perception(tmp_path / 'nowhere', PerceptionSettings())


def test_it_runs_without_torch(policy: Path):
    code = (
        'import sys; from efficient_vla.policy import Policy; '
        f'Policy.from_pretrained({str(policy)!r}); sys.exit("torch" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_card_round_trip(tmp_path: Path):
    folder = write_policy(tmp_path / 'new', grid=(2, 3))
    assert load_perception(folder, PerceptionSettings()).encode(frame()).grid == (2, 3)


def test_instruction_is_stripped():
    assert checked_instruction('  open the   drawer \n') == 'open the drawer'
    assert checked_instruction('ouvre la fenêtre à gauche!') == 'ouvre la fenêtre à gauche!'


def test_language_that_the_policies_do_not_know_is_refused():
    assert checked_instruction('open the drawer', 'en-GB') == 'open the drawer'
    with pytest.raises(InvalidRecordError, match="unknown instruction language: 'de'"):
        checked_instruction('schublade auf', 'de')


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', 'empty'),
        ('   \n', 'empty'),
        ('a' * 10_000, '10000 characters'),
        ('открой ящик', 'unknown instruction language'),
        ('打开抽屉', 'unknown instruction language'),
        ('123 456', 'no letter'),
    ],
)
def test_bad_instruction_is_refused(text: str, words: str):
    with pytest.raises(InvalidRecordError, match=words):
        checked_instruction(text)
