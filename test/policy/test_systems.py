# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A system is built from its name, runs as its profile says, and moves no real arm."""

import argparse
import json
import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fixtures.profiles import so101

from efficient_vla import cli
from efficient_vla.action.heads.diffusion import Diffusion
from efficient_vla.action.heads.regression import Regression
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.bringup import system_folders
from efficient_vla.bringup.fit import misfits, robot_of
from efficient_vla.bringup.graph import HARDWARE, ProfileError, Selection, describe, profiles
from efficient_vla.checkpoint import sha256
from efficient_vla.cli import serve
from efficient_vla.cli.options import policy_given
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.policy import Policy, default_policy
from efficient_vla.policy_folders import folder_facts
from efficient_vla.settings import InvalidSettingError
from efficient_vla.systems import SYSTEMS, system_word
from efficient_vla.training import systems
from efficient_vla.types import Frame

IMAGE = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
STATE = np.array([0.0, 0.6, 0.2, 1.0], np.float32)
EXPECTED: dict[str, tuple[str, type, Callable[[Policy], Any]]] = {
    'tinyvla': ('gpt_neox', Diffusion, lambda p: p.actor.generator.settings.diffusion.steps == 10),
    'robomamba': ('mamba', Regression, lambda p: not p.actor.generator.needs_image),
}
"""System -> type of its decoder, class of its head, and what else its paper has."""


@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
    """Let folders of systems be made where nobody else looks."""
    folder = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(folder))
        yield folder


def made(name: str) -> Path:
    return Path(policy_given(name, 'metaworld'))


def decided(policy: Policy, image: np.ndarray = IMAGE, sentence: str = 'open the drawer') -> Any:
    policy.reset()
    return policy.act(Frame({'corner2': image}, STATE, 0.0), sentence).actions


def test_every_system_has_a_profile_and_is_expected():
    assert set(SYSTEMS) == set(EXPECTED) == set(systems.SYSTEM_SHAPES)
    assert set(SYSTEMS) <= set(profiles('policies'))


@pytest.mark.parametrize('name', SYSTEMS)
def test_a_system_decides_as_its_profile_composes_it(name, capsys):
    decoder, head, also = EXPECTED[name]
    folder = made(name)
    assert f'policy {name}: random weights in a small shape' in capsys.readouterr().err
    policy = Policy.from_pretrained(folder)
    assert policy.reasoner.trunk.parts.model.config.model_type == decoder
    assert type(policy.actor.generator) is head
    assert also(policy)
    chunk = decided(policy)
    assert chunk.shape == (40, 4)
    assert np.isfinite(chunk).all()
    np.testing.assert_array_equal(decided(policy), chunk)
    assert (decided(policy, IMAGE[::-1].copy()) != chunk).any(), 'the image does not matter'
    assert (decided(policy, sentence='close it') != chunk).any(), 'the sentence does not matter'
    assert 1e6 < folder_facts(folder).parameters < 15e6


@pytest.mark.parametrize('name', SYSTEMS)
def test_a_system_is_a_graph_on_every_hardware(name):
    folder = made(name)
    for hardware in HARDWARE:
        graph = describe(Selection(hardware=hardware, policy=str(folder)))
        assert graph.parameters['actor']['policy'] == str(folder)
    composed = system_folders.profile_of(name)
    assert composed['actor'].items() <= graph.parameters['actor'].items()


def test_a_system_plays_an_episode_in_process():
    overrides = {'eval': {'max_steps': 30}}
    request = Request(
        made('tinyvla'), ('reach-v3',), 1, 1000, render='fast', overrides=overrides, workers=1
    )
    found = evaluate(request)
    assert found['manifest']['parameters']['actor.head'] == 'diffusion'
    assert found['stages']['actor']['latency_ms']['p50'] > 0


def test_weights_are_the_same_each_time_and_of_the_robot():
    first = sha256(made('tinyvla'))
    shutil.rmtree(made('tinyvla'))
    assert sha256(made('tinyvla')) == first
    arm = folder_facts(Path(policy_given('tinyvla', 'ur5e')))
    assert arm.action_width > 4
    with pytest.raises(UsageError, match='that of so101 is none; expected one of metaworld'):
        policy_given('tinyvla', 'so101')


def test_random_weights_move_no_real_robot(tmp_path, capsys):
    robot = so101(tmp_path)
    with pytest.raises(InvalidSettingError, match=r'tinyvla has random weights, and .* is no sim'):
        policy_given('tinyvla', str(robot))
    folder = str(made('tinyvla'))
    with pytest.raises(ProfileError, match=r'random weights.*--policy tinyvla=FOLDER'):
        describe(Selection(robot=str(robot), policy=folder))
    with pytest.raises(InvalidSettingError, match='random weights'):
        Policy.from_pretrained(folder, robot=robot)
    assert cli.main(['up', '--robot', str(robot), '--policy', 'tinyvla']) == 2
    assert 'random weights' in capsys.readouterr().err
    facts = folder_facts(Path(folder))
    for still in (False, True):
        met = robot_of('arm', {'controller': {'dry_run': still}})
        assert ('random weights' in ' '.join(misfits(facts, met))) is not still


def test_random_weights_are_served_to_nobody(tmp_path):
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    with pytest.raises(UsageError, match='whoever asks a server may have a real robot'):
        serve.load(parser.parse_args(['--policy', 'tinyvla']))
    own = copied(tmp_path)
    (own / 'origin.json').unlink()
    served, _ = serve.load(parser.parse_args(['--policy', f'tinyvla={own}']))
    assert type(served._policy.actor.generator) is Diffusion


@pytest.mark.parametrize('word', ['tinyvla:huge', 'tinyvla:full=x', 'tinyvla=', 'tinyvla:'])
def test_a_word_without_meaning_is_refused(word):
    with pytest.raises(UsageError, match=f"policy '{word}' has no meaning; expected tinyvla for"):
        system_word(word)
    with pytest.raises(ProfileError, match='has no meaning'):
        describe(Selection(policy=word))


def test_the_graph_says_that_a_system_needs_a_folder():
    with pytest.raises(ProfileError, match='a system without a folder; expected tinyvla=FOLDER'):
        describe(Selection(policy='tinyvla'))
    assert system_word('some/tinyvla=x') is None


def copied(tmp_path: Path, name: str = 'tinyvla') -> Path:
    return Path(shutil.copytree(made(name), tmp_path / 'own'))


def test_a_folder_of_the_user_runs_under_the_profile(tmp_path):
    own = copied(tmp_path)
    (own / 'deployment.yaml').write_text(
        '/**:\n  actor:\n    ros__parameters: {diffusion: {steps: 3}}\n'
    )
    graph = describe(Selection(policy=f'tinyvla={own}'))
    actor = graph.parameters['actor']
    assert (actor['head'], actor['diffusion.steps']) == ('diffusion', 3)
    policy = Policy.from_pretrained(policy_given(f'tinyvla={own}', 'metaworld'))
    assert policy.actor.generator.settings.diffusion.steps == 3
    assert not (own / 'deployment.yaml').is_symlink()
    # An add-on that comes later is seen, and what is gone is missed.
    (own / 'diffusion.safetensors').unlink()
    with pytest.raises(CheckpointError, match='diffusion has to be trained for a policy'):
        Policy.from_pretrained(policy_given(f'tinyvla={own}', 'metaworld'))


@pytest.mark.parametrize('name', SYSTEMS)
def test_a_folder_of_another_architecture_is_refused(name):
    llama = 'evla llama' in SYSTEMS[name].kinds
    other, found = (made('robomamba'), 'evla mamba') if llama else (default_policy(), 'evla llama')
    known = SYSTEMS[name].kinds[0]
    with pytest.raises(CheckpointError, match=f"kind '{found}'; expected '{known}'.* for the prof"):
        policy_given(f'{name}={other}', 'metaworld')


def damaged(own: Path) -> None:
    path = own / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-1000])


def without_weights(own: Path) -> None:
    for path in own.glob('*.safetensors'):
        path.unlink()


def without_card(own: Path) -> None:
    (own / 'policy.json').unlink()


@pytest.mark.parametrize(
    ('harm', 'words'),
    [
        (damaged, r'own/model.safetensors cannot be read: .*truncated'),
        (without_weights, 'own holds no weights'),
        (without_card, 'no queries and no heads for actions. Train them'),
        (shutil.rmtree, 'own/policy.json is missing'),
    ],
)
def test_a_damaged_folder_is_refused_by_its_own_name(tmp_path, harm, words):
    own = copied(tmp_path)
    harm(own)
    for start in (lambda word: policy_given(word, 'metaworld'),
                  lambda word: describe(Selection(policy=word))):  # fmt: skip
        with pytest.raises((CheckpointError, ProfileError), match=words):
            start(f'tinyvla={own}')


def little_memory(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    memory = namedtuple('memory', 'available')(free)
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: memory)


def test_what_memory_cannot_hold_is_refused_before_it_is_made(monkeypatch, cache, tmp_path):
    own = copied(tmp_path)
    little_memory(monkeypatch, 3e9)
    with pytest.raises(UsageError, match=r'1\.62 billion numbers needs 8\.\d GB.*; 3\.0 GB are'):
        policy_given('tinyvla:full', 'metaworld')
    assert not list((cache / 'efficient_vla/systems').glob('*tinyvla-full*/*'))
    little_memory(monkeypatch, 1e6)
    with pytest.raises(UsageError, match=r'needs 0\.0 GB of memory; 0\.0 GB are free'):
        policy_given(f'tinyvla={own}', 'metaworld')


def test_what_was_interrupted_is_made_again(monkeypatch, cache):
    folder = made('tinyvla')
    left = folder.with_name(f'.{folder.name}')
    # What remains where the process was killed.
    folder.rename(left)
    (left / 'model.safetensors').write_bytes(b'half')

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(systems, '_add', interrupted)
        with pytest.raises(KeyboardInterrupt):
            made('tinyvla')
    assert not folder.exists()
    assert not left.exists()
    assert made('tinyvla') == folder
    assert json.loads((folder / 'origin.json').read_text())['weights'] == 'random'
    decided(Policy.from_pretrained(folder))


def test_two_that_want_a_folder_at_once_get_one(cache):
    asked: list[Path] = []

    def make(folder: Path) -> None:
        asked.append(folder)
        time.sleep(0.2)
        (folder / 'whole').touch()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: system_folders.kept(name, make), ['twice'] * 2))
    assert found[0] == found[1]
    assert (found[0] / 'whole').exists()
    assert len(asked) == 1


def test_a_cache_that_cannot_be_written_is_said(monkeypatch, tmp_path):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(UsageError, match=r'cannot write .* set XDG_CACHE_HOME to'):
        policy_given('tinyvla', 'metaworld')
