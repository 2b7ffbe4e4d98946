# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A system is built from its name, runs as its profile says, and moves no real arm."""

import argparse
import json
import re
import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest
from fixtures.profiles import so101
from lerobot_folders import FIXTURES
from prefix_policies import CAMERAS, ROBOT, seen
from safetensors import SafetensorError

from benchmarks.systems import PLAIN, measure as benchmark
from efficient_vla import cli
from efficient_vla.action.conditioning.act_token import ActToken
from efficient_vla.action.conditioning.map_pool import MapPool
from efficient_vla.action.conditioning.perceiver import ResampledPlan
from efficient_vla.action.conditioning.steered import SteeredRegression
from efficient_vla.action.heads.diffusion import Diffusion
from efficient_vla.action.heads.expert import Cross, ExpertGenerator
from efficient_vla.action.heads.flow import Flow
from efficient_vla.action.heads.regression import Regression
from efficient_vla.action.heads.tokens import Tokens
from efficient_vla.action.tokenizers.bins import BinTokenizer
from efficient_vla.action.tokenizers.fast import FastTokenizer
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
from efficient_vla.systems import SYSTEMS, SystemWord, system_word
from efficient_vla.training import systems
from efficient_vla.training.lerobot_systems import EXPERTS
from efficient_vla.training.vlm import QUERIES
from efficient_vla.types import Frame

BILLIONS = {'tinyvla': 1.62, 'robomamba': 3.08, 'nora': 3.75, 'flower': 0.575, 'deer': 1.62}
BILLIONS |= {'smolvla': 0.45 - 0.047, 'pi0': 3.24}
"""Of models without what writes words; 7 of the others."""
IMAGE = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
STATE = np.array([0.0, 0.6, 0.2, 1.0], np.float32)


def steered_by(kind: type, rows: int, slow: bool = False) -> Callable[[Policy], bool]:
    """Return whether a plan of so many rows steers the fast policy through a module of a kind."""

    def check(policy: Policy) -> bool:
        head: Any = policy.actor.generator
        found = type(head.policy.steering) is kind and (head.slow is not None) is slow
        return found and len(policy.plan.latents) == rows

    return check


def names(kind: type) -> Callable[[Policy], bool]:
    """Return whether tokens of a tokenizer are named one after the other."""

    def check(policy: Policy) -> bool:
        head: Any = policy.actor.generator
        return type(head.tokenizer) is kind and head._settings.method == 'autoregressive'

    return check


def leaves_early(policy: Policy) -> bool:
    """Return whether passes end after fewer layers, and hold the budget of half of them."""
    ran = []
    for seed in range(8):
        image = np.random.default_rng(seed).integers(0, 255, IMAGE.shape, np.uint8)
        policy.act(Frame({'corner2': image}, STATE, 0.1 * seed), 'open the drawer')
        ran.append(int(re.match(r'early_exit after (\d) of 6', policy.plan.reason)[1]))
    return min(ran) < 6 and np.mean(ran) < 5


def goes_half_way(policy: Policy) -> bool:
    """Return whether a router has picked three of six layers, the first and the last of them."""
    found = re.match(r'mole ran layers 0, [1-4], 5 of 6', policy.plan.reason)
    return found is not None and policy.actor.generator.settings.diffusion.steps == 10


def flows_in_four_steps(policy: Policy) -> bool:
    """Return whether the flow takes four steps of its own velocity."""
    settings = policy.actor.generator.settings.flow
    return (settings.steps, settings.shortcut) == (4, False)


class Expectation(NamedTuple):
    """What a system is made of."""

    decoder: str
    """Type of its configuration."""
    tower: str
    head: type
    composed: Callable[[Policy], Any]
    """What else its paper has, of a policy that decided once."""


def attends(crossing: int) -> Callable[[Policy], bool]:
    """Return whether an expert goes ten steps, so many layers of it without keys of its own."""

    def check(policy: Policy) -> bool:
        head: Any = policy.actor.generator
        crossed = sum(isinstance(module, Cross) for module in head.modules())
        return (head.settings.flow.steps, crossed) == (10, crossing)

    return check


EXPECTED = {
    'smolvla': Expectation('llama', 'SmolVLM', ExpertGenerator, attends(3)),
    'pi0': Expectation('gemma', 'Siglip', ExpertGenerator, attends(0)),
    'tinyvla': Expectation(
        'gpt_neox', 'Clip', Diffusion, lambda p: p.actor.generator.settings.diffusion.steps == 10
    ),
    'robomamba': Expectation('mamba', 'Clip', Regression, lambda p: not p.actor.needs_image),
    'nora': Expectation('qwen2_5_vl_text', 'Qwen2_5', Tokens, names(FastTokenizer)),
    'flower': Expectation('bart', 'Florence2', Flow, flows_in_four_steps),
    'openvla': Expectation('llama', 'Siglip', Tokens, names(BinTokenizer)),
    'deer': Expectation('llama', 'Clip', Regression, leaves_early),
    'mole': Expectation('llama', 'Siglip', Diffusion, goes_half_way),
    'lcb': Expectation('llama', 'Clip', SteeredRegression, steered_by(ActToken, QUERIES + 1)),
    'hirt': Expectation('llama', 'Clip', SteeredRegression, steered_by(MapPool, QUERIES)),
    'robodual': Expectation(
        'llama', 'Siglip', SteeredRegression, steered_by(ResampledPlan, QUERIES, slow=True)
    ),
    'openhelix': Expectation('llama', 'Clip', SteeredRegression, steered_by(ActToken, QUERIES + 1)),
}
"""System -> what it is made of."""
BUILT = (*systems.SYSTEM_SHAPES, *EXPERTS)


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
    assert set(SYSTEMS) == set(EXPECTED) == set(BUILT)
    assert set(SYSTEMS) <= set(profiles('policies'))


@pytest.mark.parametrize('name', BUILT)
def test_a_system_decides_as_its_profile_composes_it(name, capsys):
    expected = EXPECTED[name]
    folder = made(name)
    assert f'policy {name}: random weights in a small shape' in capsys.readouterr().err
    policy = Policy.from_pretrained(folder, robot='metaworld')
    assert policy.reasoner.trunk.parts.model.config.model_type == expected.decoder
    tower: Any = policy.perception.tower
    encoder = getattr(tower, 'encoder', None) or getattr(tower, 'visual', None)
    assert expected.tower.lower() in type(encoder).__name__.lower()
    assert type(policy.actor.generator) is expected.head
    chunk = decided(policy)
    assert expected.composed(policy)
    assert chunk.shape == (20 if name in EXPERTS else 40, 4)
    assert np.isfinite(chunk).all()
    np.testing.assert_array_equal(decided(policy), chunk)
    assert (decided(policy, IMAGE[::-1].copy()) != chunk).any(), 'the image does not matter'
    decided(policy)
    plan = policy.plan.latents
    decided(policy, sentence='close it')
    assert np.abs(policy.plan.latents - plan).max() > 1e-3, 'the sentence does not matter'
    assert 1e6 < folder_facts(folder).parameters < 15e6


@pytest.mark.parametrize('name', BUILT)
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


@pytest.mark.parametrize(
    ('name', 'parameter', 'value', 'words'),
    [
        ('hirt', 'actor.head', 'flow', 'head is flow with architecture dual; expected single'),
        ('lcb', 'reasoner.depth.method', 'truncate', 'dual.conditioning act_token; expected none'),
        ('deer', 'reasoner.reuse.method', 'vla_cache', 'with depth.method early_exit; expected'),
        ('robodual', 'actor.dual.conditioning', 'film', 'expected one for both'),
    ],
)
def test_a_combination_without_meaning_starts_nothing(name, parameter, value, words):
    with pytest.raises(ProfileError, match=words):
        describe(Selection(policy=str(made(name)), overrides={parameter: value}))


def test_random_weights_are_served_to_nobody(tmp_path):
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    with pytest.raises(UsageError, match='whoever asks a server may have a real robot'):
        serve.load(parser.parse_args(['--policy', 'tinyvla']))
    own = copied(tmp_path)
    (own / 'origin.json').unlink()
    served, _ = serve.load(parser.parse_args(['--policy', f'tinyvla={own}']))
    assert type(served._policy.actor.generator) is Diffusion


@pytest.mark.parametrize('name', EXPERTS)
def test_a_folder_of_lerobot_runs_under_its_profile(name, monkeypatch):
    monkeypatch.setenv('HF_HUB_CACHE', str(FIXTURES / 'hub'))
    folder = policy_given(f'{name}={FIXTURES / name}', 'metaworld')
    policy = Policy.from_pretrained(folder, cameras=CAMERAS.get(name, ()), **ROBOT)
    images, state = seen(name)
    images = {camera: images[camera] for camera in policy.perception.cameras}
    chunk = policy.act(images, 'open the top drawer', state)
    assert isinstance(policy.actor.generator, ExpertGenerator)
    assert np.isfinite(chunk.actions).all()
    with pytest.raises(UsageError, match='made for the columns of metaworld alone, and the robot'):
        policy_given(name, 'ur5e')


def test_commands_that_compose_policies_themselves_refuse_a_system(capsys):
    words = ('--json', 'x.json', '--quick')
    assert cli.main(['bench', 'compute', '--policy', 'tinyvla', *words]) == 2
    assert "policy 'tinyvla' is a system; this command composes" in capsys.readouterr().err


def test_all_systems_are_timed_on_the_same_frames():
    rows = benchmark({name: made(name) for name in ('deer', 'mole')}, 4, ('reach-v3',))
    assert [row[0] for row in rows] == [PLAIN, '`deer`', '`mole`']
    assert rows[0][4] == '1.00'


@pytest.mark.parametrize('name', BUILT)
def test_a_published_shape_has_the_numbers_of_its_model(name):
    numbers = systems.count(name, systems.config_of(name, 'full', 0)) / 1e9
    assert numbers == pytest.approx(BILLIONS.get(name, 7), rel=0.02)


@pytest.mark.parametrize('word', ['tinyvla:huge', 'tinyvla:full=x', 'tinyvla=', 'tinyvla:'])
def test_a_word_without_meaning_is_refused(word):
    with pytest.raises(UsageError, match=f"policy '{word}' has no meaning; expected tinyvla for"):
        system_word(word)
    with pytest.raises(ProfileError, match='has no meaning'):
        describe(Selection(policy=word))


def test_a_folder_named_as_a_system_is_not_passed_over_for_random_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(copied(tmp_path).parent)
    Path('own').rename('pi0')
    with pytest.raises(UsageError, match=r'a policy folder here.* \./pi0 for .* pi0:small for'):
        system_word('pi0')
    assert system_word('./pi0') is None
    assert system_word('pi0:small') == SystemWord('pi0', 'small')


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


@pytest.mark.parametrize('name', ['tinyvla', 'smolvla'])
def test_a_disk_that_gets_full_is_said(monkeypatch, tmp_path, name):
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError('I/O error: No space left on device')

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr('safetensors.torch.serialize_file', full)
    with pytest.raises(UsageError, match=r'cannot write .*No space left.* Free some space'):
        policy_given(name, 'metaworld')
    assert not [path for path in (tmp_path / 'efficient_vla/systems').iterdir() if path.is_dir()]
