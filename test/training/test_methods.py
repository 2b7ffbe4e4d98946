# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every trained method learns on a tiny policy, resumes, and writes an add-on that loads."""

import argparse
import dataclasses
import os
import shutil
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_policy
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from efficient_vla import addons, checkpoint
from efficient_vla.action.catalogue import HEADS, RECIPES as OF_HEADS, TOKENIZERS
from efficient_vla.action.conditioning import steered
from efficient_vla.action.heads import tokens
from efficient_vla.action.settings import ActorSettings
from efficient_vla.assembly import HeadFolder
from efficient_vla.cli.train import RECIPES, add_arguments, main
from efficient_vla.compression import trained_ternary
from efficient_vla.compression.quantization import quantizable
from efficient_vla.dual_settings import CONDITIONINGS
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.policy import Policy
from efficient_vla.reasoning.depth import DepthSettings
from efficient_vla.reasoning.pruning import lightvla
from efficient_vla.reasoning.pruning.lightvla import TextSide
from efficient_vla.reasoning.width import METHOD as STRUCTURED
from efficient_vla.reasoning.width.structured import Saliency
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.sim.metaworld.tasks import TASKS
from efficient_vla.tensors import read_metadata
from efficient_vla.training import loop, lora, losses, methods, resume
from efficient_vla.training.files import write_policy
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.instructions import corpus
from efficient_vla.training.model import EvlaNano, nano_config
from efficient_vla.training.recipes import OF_DUAL, unified
from efficient_vla.training.recipes.heads import disturbed
from efficient_vla.training.recipes.lightvla import select_soft
from efficient_vla.training.recipes.selected import view
from efficient_vla.training.recipes.ternary import TernaryLinear
from efficient_vla.training.train import train_tokenizer
from efficient_vla.types import Frame, InvalidRecordError, grid_map

LENGTH = 24
WORDS = build(ActorSettings, {'architecture': 'single', 'head': 'tokens'})
WAY = np.cos(np.linspace(0, 3, 40, dtype=np.float32))[:, None].repeat(4, 1)
LABELS = np.zeros((LENGTH, 9), np.float32)
LABELS[:, 0] = LABELS[:, 3] = np.linspace(0, 0.5, LENGTH)  # the hand pushes the object
LABELS[:, 6] = 0.5  # to the goal
CARD = dataclasses.replace(tiny_policy.CARD, horizon=40)


@pytest.fixture(scope='module')
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp('policy'), layers=2)


def untrained(path: Path, layers: int) -> Path:
    """Write a policy with so many layers in its decoder."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(corpus(), 300)
    config = nano_config(len(tokenizer), width=64)
    config.text_config.num_hidden_layers = layers
    write_policy(path, CARD, config, dict(EvlaNano(CARD, config).eval().deployed()), tokenizer)
    return path


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('demonstrations')
    rng = np.random.default_rng(0)
    for index, task in enumerate(TASKS[:2]):
        coarse = rng.integers(0, 255, (LENGTH, 12, 12, 3), np.uint8)
        np.savez(
            path / f'{task}.{task}.{index:05d}.npz',
            seed=index,
            image=coarse.repeat(12, 1).repeat(12, 2),
            state=rng.normal(0, 0.1, (LENGTH, 4)).astype(np.float32),
            chunk=np.tile(0.005 * WAY, (LENGTH, 1, 1)),
            labels=LABELS,
            step=np.arange(LENGTH, dtype=np.int32) * 4,
        )
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unified, 'CODES', 32)
    monkeypatch.setattr(unified, 'FIT_TOKENS', 500)
    monkeypatch.setattr(unified, 'WORD_STEPS', 3)
    monkeypatch.setattr(loop, 'LOG_STEPS', 1)


def arguments(method: str, policy: Path, data: Path, out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    common = f'--method {method} --policy {policy} --data {data} --out {out} --device cpu'
    return parser.parse_args([*common.split(), '--batch=4', '--precision=fp32', *more])


def test_the_importance_of_layers_is_measured_and_loads(policy, data, tmp_path):
    folder = Path(shutil.copytree(policy, tmp_path / 'policy'))
    out = tmp_path / 'out'
    assert main(arguments('similarity_skip', folder, data, out, '--frames=3', '--install')) == 0
    found = checkpoint.load_depth(folder, DepthSettings('similarity_skip')).scores
    assert len(found) == 2
    assert ((found > 0) & (found < 2)).all()


def test_ranges_of_inputs_are_measured_for_the_weights_they_belong_to(policy, data, tmp_path):
    folder = Path(shutil.copytree(policy, tmp_path / 'policy'))
    modes = {'quantization_mode': 'int8', 'perception_quantization_mode': 'int8'}
    with pytest.raises(CheckpointError, match='train --method int8'):
        Policy.from_pretrained(folder, **modes)
    out = tmp_path / 'out'
    assert main(arguments('int8', folder, data, out, '--frames=6', '--install')) == 0
    small, exact = Policy.from_pretrained(folder, **modes), Policy.from_pretrained(folder)
    assert small.reasoner.parameters_mb < 0.4 * exact.reasoner.parameters_mb
    image = np.load(next(data.glob('*.npz')))['image'][0]
    for stages in (small, exact):
        stages.act({'corner2': image}, 'open the drawer', np.zeros(4, np.float32))
    found, wanted = (stages._plan.latents for stages in (small, exact))
    assert 0 < np.linalg.norm(found - wanted) < 0.1 * np.linalg.norm(wanted)
    with pytest.raises(InvalidSettingError, match='ranges of'):
        Policy.from_pretrained(folder, **modes, depth_method='truncate', depth_layers=1)


def test_ternary_weights_are_packed_and_plan_as_their_training_did(policy, data, tmp_path):
    folder = Path(shutil.copytree(policy, tmp_path / 'policy'))
    out, modes = tmp_path / 'out', {'quantization_mode': 'ternary'}
    image = np.load(next(data.glob('*.npz')))['image'][0]

    def plan(**values):
        stages = Policy.from_pretrained(folder, **values)
        stages.act({'corner2': image}, 'open the drawer', np.zeros(4, np.float32))
        return stages._plan.latents, stages.reasoner.parameters_mb

    rounded, _ = plan(**modes)
    dense, dense_mb = plan()
    assert main(arguments('ternary', folder, data, out, '--steps=3', '--install')) == 0
    learned, mb = plan(**modes)
    np.testing.assert_array_equal(plan()[0], dense)
    assert mb < 0.6 * dense_mb
    assert addons.path(folder, 'ternary').stat().st_size < 0.12 * 1e6 * dense_mb
    # With the weights of the file, inputs rounded as in training, the stock decoder plans alike.
    frozen = Frozen(folder, torch.device('cpu'), 'fp32')
    assert trained_ternary.load(folder, 'reasoner', frozen.trunk.decoder)
    for name, layer in quantizable(frozen.trunk.decoder, ()).items():
        frozen.trunk.decoder.set_submodule(name, TernaryLinear.of(layer))
    pixels = torch.from_numpy(image)[None]
    with torch.inference_mode():
        visual = frozen.visual(pixels, False)
        expected = frozen.dense_plan(visual, *frozen.text(['open the drawer']))[0].numpy()
    np.testing.assert_allclose(learned, expected, atol=2e-3)
    assert np.abs(learned - rounded).max() > 0.01


def test_a_narrow_decoder_gets_its_updates_at_the_shares_of_the_training_alone(
    policy, data, tmp_path
):
    folder = Path(shutil.copytree(policy, tmp_path / 'policy'))
    out = tmp_path / 'out'
    assert main(arguments('structured', folder, data, out, '--steps=4', '--install')) == 0
    image = np.load(next(data.glob('*.npz')))['image'][0]

    def plan(**values):
        stages = Policy.from_pretrained(folder, **values)
        stages.act({'corner2': image}, 'open the drawer', np.zeros(4, np.float32))
        return stages._plan.latents, stages.reasoner.parameters_mb

    dense, dense_mb = plan()
    learned, mb = plan(width_method='structured')
    assert mb < 0.8 * dense_mb
    quarter, _ = plan(width_method='structured', width_channels=0.25)
    path = addons.path(folder, 'structured')
    about, tensors = read_metadata(path), load_file(path)
    unlearned = {name: 0 * t if name.endswith('.up') else t for name, t in tensors.items()}
    save_file(unlearned, path, about)
    assert np.abs(learned - plan(width_method='structured')[0]).max() > 1e-6
    again, _ = plan(width_method='structured', width_channels=0.25)
    np.testing.assert_array_equal(again, quarter)
    whole, _ = plan(width_method='structured', width_channels=1.0)
    np.testing.assert_allclose(whole, dense, atol=1e-5)


@pytest.fixture
def teacher(method, policy, data, tmp_path):
    """Train what the method learns from, where that is another one."""
    if method == 'consistency':
        assert main(arguments('bins', policy, data, tmp_path, '--steps=1', '--install')) == 0


@pytest.mark.usefixtures('teacher')
@pytest.mark.parametrize('method', RECIPES)
def test_the_loss_of_the_same_frames_falls(method, policy, data, tmp_path):
    if method in ('mole', 'student'):  # which leave nothing out of two layers
        policy = untrained(tmp_path / 'deeper', layers=4)
    trainer = methods.MethodTrainer(arguments(method, policy, data, tmp_path), policy)

    def loss() -> float:
        torch.manual_seed(1)
        rng = np.random.default_rng(1)
        samples = trainer.features.samples(np.arange(16), rng, False)
        with torch.no_grad():
            return float(sum(trainer.recipe.losses(samples, 1.0).values()))

    before = loss()
    torch.manual_seed(0)
    trainer.run(25)
    # lightvla alone changes no weight of the decoder, only which of its tokens it gets; the
    # outputs of diffusion and of many rare tokens begin to move slowly in the warm-up.
    assert loss() < (0.995 if method in ('lightvla', 'diffusion', 'fast') else 0.97) * before


@pytest.mark.usefixtures('teacher')
@pytest.mark.parametrize('method', RECIPES)
def test_training_resumes_and_its_addon_loads(method, policy, data, tmp_path):
    if method == 'student':
        policy = untrained(tmp_path / 'deeper', layers=4)
    short = arguments(method, policy, data, tmp_path, '--steps=2', '--install')
    assert main(short) == 0
    trainer = methods.MethodTrainer(short, policy)
    assert trainer.done == 2
    assert len(trainer.optimizer.state) == len(trainer.parameters)
    before = [parameter.clone() for parameter in trainer.parameters]
    trainer.run(3)
    assert trainer.done == 3
    changed = [not torch.equal(a, b) for a, b in zip(before, trainer.parameters, strict=True)]
    # The slow system of RoboDual is frozen by now.
    assert np.mean(changed) > (0.3 if method == 'dual_perceiver' else 0.9)
    trainer.write(policy)
    if method == 'ternary':  # whose file holds no module, but weights of the decoder
        assert trained_ternary.load(policy, 'reasoner', checkpoint.load_trunk(policy)[1].decoder)
        return

    trained = trainer.recipe.trained
    if isinstance(trained, nn.ModuleDict):
        trained = trained['module' if 'module' in trained else next(iter(trained))]
    mine = trained.state_dict()
    loaded = load(method, policy)
    for part, theirs in loaded.state_dict().items():
        assert torch.equal(mine[part].half().float(), theirs)
    if method == 'univla':
        chunk = tokens.load(HeadFolder(policy), WORDS).policy(
            torch.zeros(1, 2, 64), torch.zeros(1, 4)
        )
        assert chunk.shape == (1, 40, 4)


def test_an_interrupted_training_of_a_method_keeps_the_step_under_way(
    policy, data, tmp_path, monkeypatch
):
    step, given = methods.MethodTrainer.step, arguments('flow', policy, data, tmp_path)

    def stopped(trainer, *rest):
        if trainer.done == 1:
            os.kill(os.getpid(), signal.SIGINT)
        step(trainer, *rest)

    monkeypatch.setattr(methods.MethodTrainer, 'step', stopped)
    with pytest.raises(KeyboardInterrupt):
        methods.MethodTrainer(given, policy).run(5)
    assert methods.MethodTrainer(given, policy).done == 2


def test_a_training_is_not_resumed_for_another_policy_rank_or_shape(policy, data, tmp_path):
    out = tmp_path / 'out'
    assert main(arguments('bins', policy, data, out, '--steps=1')) == 0
    addon = addons.path(out, 'bins').read_bytes()
    other = Path(shutil.copytree(policy, tmp_path / 'other'))
    weights = load_file(other / checkpoint.WEIGHTS)
    weights['queries'] += 1
    save_file(weights, other / checkpoint.WEIGHTS)
    remedy = 'Give another --out, or --restart to forget it'
    with pytest.raises(UsageError, match=rf'bins\.training.* with weights .*; expected .*{remedy}'):
        main(arguments('bins', other, data, out, '--steps=1'))
    with pytest.raises(UsageError, match=rf'with --rank 8; expected 4\. {remedy}'):
        main(arguments('bins', policy, data, out, '--steps=1', '--rank=4'))
    for path in data.iterdir():
        moved = dict(np.load(path))
        np.savez(tmp_path / path.name, **moved | {'chunk': 2 * moved['chunk']})
    with pytest.raises(UsageError, match=rf'with low .*; expected .*{remedy}'):
        main(arguments('bins', policy, tmp_path, out, '--steps=1'))
    assert addons.path(out, 'bins').read_bytes() == addon
    assert main(arguments('bins', other, data, out, '--steps=1', '--restart')) == 0


def test_updates_of_other_channels_are_not_trained_on(policy, data, tmp_path):
    out = tmp_path / 'out'
    assert main(arguments('structured', policy, data, out, '--steps=1', '--frames=4')) == 0
    with pytest.raises(UsageError, match=r"with importance '\w+'; expected"):
        main(arguments('structured', policy, data, out, '--steps=2', '--frames=24'))


def test_a_state_of_another_shape_is_refused(tmp_path):
    path = tmp_path / 'training.safetensors'
    model = nn.Linear(2, 3)
    resume.write(path, model, 'eye', torch.optim.AdamW(model.parameters()), {'eye': 1})
    with pytest.raises(UsageError, match=r'does not fit .* Give another --out'):
        resume.read_model(path, nn.Linear(2, 4))


@pytest.mark.parametrize('content', [b'', b'x' * 100, None])
def test_a_state_that_is_damaged_or_none_is_refused_with_what_to_do(tmp_path, content):
    path = tmp_path / 'training.safetensors'
    save_file({'weight': torch.zeros(3)}, path)
    if content is not None:
        path.write_bytes(content)
    for ask in (lambda: resume.check(path, {'--rank': 8}), lambda: resume.read_model(path, None)):
        with pytest.raises(UsageError, match=r'cannot be gone on with: .* Give another --out'):
            ask()


def recipe(method: str, policy: Path, data: Path, out: Path) -> tuple[Any, Any]:
    """Return a recipe of a method before any training, and sixteen samples."""
    torch.manual_seed(0)
    trainer = methods.MethodTrainer(arguments(method, policy, data, out), policy)
    samples = trainer.features.samples(np.arange(16), np.random.default_rng(1), False)
    return trainer.recipe, samples


def test_the_noise_of_the_vote_falls_from_one_to_nothing(policy, data, tmp_path, monkeypatch):
    noises = []

    def noted(tokens, text, mask, noise, generator=None):
        noises.append(noise)
        return select_soft(tokens, text, mask, noise, generator)

    monkeypatch.setattr('efficient_vla.training.recipes.lightvla.select_soft', noted)
    made, samples = recipe('lightvla', policy, data, tmp_path)
    for progress in (0.0, 0.25, 1.0):
        made.losses(samples, progress)
    assert noises == [1.0, 0.75, 0.0]


def test_kept_tokens_draw_the_foreground_and_the_others_the_background(
    policy, data, tmp_path, monkeypatch
):
    made, samples = recipe('fastdrivevla', policy, data, tmp_path)
    count = samples.tokens.shape[1]
    front = torch.zeros(len(samples.tokens), count, dtype=torch.bool)
    front[:, : count // 2] = True
    # The scorer keeps all tokens, and the painter draws its own mean: grey where tokens are.
    monkeypatch.setattr(made, '_foreground', lambda _: front)
    monkeypatch.setattr(made, 'module', lambda tokens: torch.full(tokens.shape[:2], 9.0))
    image = made.frozen.pixels(samples.image, False)
    drawn = []

    def paint(tokens, places):
        drawn.append(bool(tokens.abs().sum() > 0))
        return image.clone() if drawn[-1] else torch.full_like(image, 5.0)

    made.trained['painter'].forward = paint
    losses = made.losses(samples, 0.0)
    assert drawn == [True, False]
    assert float(losses['foreground']) == pytest.approx(0.0, abs=1e-5)
    assert float(losses['background']) > 1
    # Only what is foreground counts for the kept tokens: wrong pixels below do not.
    side = image.shape[-1] // 2
    made.trained['painter'].forward = lambda tokens, places: torch.cat(
        [image[:, :, :side], image[:, :, side:] + 3], 2
    )
    losses = made.losses(samples, 0.0)
    assert float(losses['foreground']) < 0.5 < float(losses['background'])


def test_the_codes_that_follow_are_part_of_what_univla_learns(policy, data, tmp_path):
    made, samples = recipe('univla', policy, data, tmp_path)
    codes = made.module.codes(samples.tokens)
    everything = torch.arange(codes.shape[1])
    torch.manual_seed(3)
    loss = made.losses(samples, 0.0)['next']
    hidden = made._run(codes, samples, everything)[1]
    expected = 0.03 * made._next(hidden, codes, samples).item()
    assert loss.item() == pytest.approx(expected, rel=0.2)


def load(method: str, policy: Path) -> nn.Module:
    """Return the module of an add-on as a stage gets it."""
    if method in checkpoint.LEARNED:
        return checkpoint.load_learned(policy)[0][method]
    if method in checkpoint.DEPTH:
        decoder = checkpoint.load_trunk(policy)[1].decoder
        return checkpoint.load_depth(policy, DepthSettings(method), decoder)
    if method == STRUCTURED:
        addon = addons.read(policy, method, checkpoint.sha256(policy))
        return addon.module(Saliency)
    source = HeadFolder(policy)
    if method in OF_DUAL:
        return steered.load(source, method.removeprefix('dual_')).policy.steering
    if method in HEADS:
        return import_module(f'efficient_vla.action.heads.{method}').load(source, WORDS).head
    if method in OF_HEADS:
        return tokens.load_decoder(source, method, method if method in TOKENIZERS else 'bins')[1]
    return checkpoint.load_resampler(policy, method, checkpoint.load_trunk(policy)[1])


@pytest.mark.parametrize('method', OF_DUAL)
def test_a_trained_conditioning_drives(method, policy, data, tmp_path):
    folder = Path(shutil.copytree(policy, tmp_path / 'policy'))
    addons.path(folder, method).unlink(missing_ok=True)
    name = method.removeprefix('dual_')
    with pytest.raises(CheckpointError, match=f'train --method {method}'):
        Policy.from_pretrained(folder, dual_conditioning=name)
    assert main(arguments(method, folder, data, tmp_path, '--steps=3', '--install')) == 0
    own = Policy.from_pretrained(folder)
    stages = Policy.from_pretrained(folder, dual_conditioning=name)
    image = np.load(next(data.glob('*.npz')))['image'][0]
    seen = {'corner2': image}, 'open the drawer', np.zeros(4, np.float32), 0.0
    assert np.isfinite(stages.act(*seen).actions).all()
    own.act(*seen)
    token = CONDITIONINGS[name].token
    assert stages.plan.latents.shape == (2 + token, 64)
    if CONDITIONINGS[name].frozen:
        # No query sees the token behind it.
        assert stages.plan.latents[:2] == pytest.approx(own.plan.latents, abs=1e-5)
    else:
        assert stages.plan.latents[:2] != pytest.approx(own.plan.latents, abs=1e-5)
    if token:
        with pytest.raises(InvalidRecordError, match='the policy expects'):
            stages.actor.chunk(own.plan, Frame(seen[0], seen[2], 0.0))


@pytest.mark.parametrize(('method', 'most'), [('dual_act_token', 0), ('dual_map_pool', 80)])
def test_the_age_of_a_plan_is_drawn_as_the_paper_does(method, most, policy, data, tmp_path):
    trainer = methods.MethodTrainer(arguments(method, policy, data, tmp_path), policy)
    rng = np.random.default_rng(0)
    samples = trainer._draw(trainer.features, np.arange(40), rng, False)
    rows = samples.elapsed.numpy()
    assert (rows >= 0).all()
    assert rows.max() <= most
    assert rows.max() >= most / 2
    images = samples.data.image[samples.later]
    assert torch.equal(samples.fast_pixels, trainer.frozen.pixels(images, False))


def test_a_conditioning_is_measured_beside_plans_for_any_sentence(policy, data, tmp_path):
    given = arguments('dual_map_pool', policy, data, tmp_path)
    trainer = methods.MethodTrainer(given, policy)
    samples = trainer._draw(trainer.features, np.arange(8), np.random.default_rng(0), False)
    with torch.no_grad():
        found = trainer.recipe.measures(samples)
        trainer.recipe.sentences = ['open the drawer']
        samples.text, samples.text_mask = trainer.frozen.text(['open the drawer'] * 8)
        same = trainer.recipe.measures(samples)
    assert found['dual'] != found['dual_any_sentence']
    assert same['dual'] == pytest.approx(same['dual_any_sentence'])


def test_held_out_frames_are_measured_beside_the_dense_plan_and_the_controls(
    policy, data, tmp_path
):
    limits = ('--steps=1', '--validation', str(data), '--validation-frames=6')
    trainer = methods.MethodTrainer(arguments('lightvla', policy, data, tmp_path, *limits), policy)
    found = trainer.validate()
    assert found['dense_single'] > 0
    names = {f'{m}_{k}_single' for m in ('lightvla', 'untrained', 'uniform') for k in (0.5, 0.25)}
    assert names <= set(found)
    assert found['uniform_0.5_latents'] > 0
    assert found['uniform_0.25_tokens'] == 36


def test_rows_are_given_only_where_the_sentence_fits(policy, data, tmp_path, monkeypatch):
    seen = []

    def noted(chunk, given, std):
        seen.append((chunk, given))
        return disturbed(chunk, given, std)

    monkeypatch.setattr('efficient_vla.training.recipes.heads.disturbed', noted)
    trainer = methods.MethodTrainer(arguments('flow', policy, data, tmp_path), policy)
    trainer.features.fit[::2] = False
    trainer.run(3)
    still = torch.cat([(chunk == 0).all(-1).all(-1) for chunk, _ in seen])
    given = torch.cat([given.any(1) for _, given in seen])
    assert still.any()
    assert given.any()
    assert not (still & given).any()


def test_features_are_read_again_only_for_the_same_policy_and_frames(policy, data, tmp_path):
    first = methods.MethodTrainer(arguments('otter', policy, data, tmp_path), policy)
    stored = (tmp_path / 'features.safetensors').stat().st_mtime_ns
    again = methods.MethodTrainer(arguments('otter', policy, data, tmp_path), policy)
    assert (tmp_path / 'features.safetensors').stat().st_mtime_ns == stored
    assert torch.equal(first.features.latents, again.features.latents)
    assert first.features.sentences == again.features.sentences
    fewer = methods.MethodTrainer(arguments('otter', policy, data, tmp_path, '--frames=10'), policy)
    assert len(fewer.features.tokens) == 10


def test_an_attached_update_gives_what_the_merged_one_gives(tmp_path):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3))
    plain = [layer.clone() for layer in layers.state_dict().values()]
    added = lora.attach(layers, 2)
    hidden = torch.randn(6, 5)
    unchanged = layers(hidden)
    with torch.no_grad():
        for parameter in added:
            parameter.add_(torch.randn_like(parameter))
    tensors = {addons.LORA + name: tensor for name, tensor in lora.updates(layers)}
    merged = nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3))
    for tensor, value in zip(merged.state_dict().values(), plain, strict=True):
        tensor.copy_(value)
    assert torch.equal(merged(hidden), unchanged)
    addons.Addon(tmp_path, 'any', {}, tensors).merge(merged)
    assert torch.allclose(merged(hidden), layers(hidden), atol=1e-5)


def test_the_text_side_of_the_vote_learns_to_find_a_token():
    torch.manual_seed(0)
    tokens = torch.randn(1, 12, 16)
    text, mask = torch.randn(1, 3, 16), torch.ones(1, 5, dtype=torch.bool)
    side = TextSide(16, 2)
    with torch.no_grad():
        side.extra.copy_(torch.randn(2, 16))
    optimizer = torch.optim.Adam(side.parameters(), 0.05)
    generator = torch.Generator().manual_seed(0)
    for step in range(150):
        chosen = select_soft(tokens, side(text), mask, 1 - step / 150, generator)
        loss = (chosen.mean(1) - tokens[:, 7]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    places = argparse.Namespace(**grid_map(12, (3, 4)), grid=(3, 4))
    frozen = argparse.Namespace(places=places)
    trained = lightvla.score(view(frozen, tokens[0], text[0], 3, side.requires_grad_(False)))
    untrained = lightvla.score(view(frozen, tokens[0], text[0], 3, None))
    assert trained.argmax() == 7
    assert untrained.argmax() != 7


def test_a_codebook_finds_the_clusters_beside_the_means_of_places():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 10.0], [10.0, 0.0], [-10.0, -10.0]])
    offsets = torch.tensor([[100.0, 0.0], [0.0, 100.0]])
    which = torch.randint(3, (400, 2))
    tokens = centres[which] + offsets + 0.1 * torch.randn(400, 2, 2)
    book, means = unified.fit_codebook(tokens, 6)
    rest = (tokens - means).flatten(0, 1)
    error = torch.cdist(rest, book).min(1).values
    assert error.mean() < 1.0


def test_a_gate_hands_the_layer_to_the_scores_and_changes_nothing(policy, data, tmp_path):
    """With all layers picked the student's plan is the dense one."""
    made, samples = recipe('mole', policy, data, tmp_path)
    every = torch.arange(samples.tokens.shape[1])
    latents, scores, chosen = made._plan(samples, every, noise=0.0)
    assert chosen.all()
    dense = made.frozen.dense_plan(samples.tokens, samples.text, samples.text_mask)
    torch.testing.assert_close(latents, dense, atol=1e-5, rtol=1e-4)
    (gradient,) = torch.autograd.grad(latents.square().sum() + scores.sum() * 0, scores)
    assert gradient.abs().max() > 0


def student(data, out, *more):
    """Return the policy and the training of a student whose updates are far from nothing."""
    policy = untrained(out / 'deeper', layers=4)
    trainer = methods.MethodTrainer(arguments('student', policy, data, out, *more), policy)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainer.parameters:
            parameter.add_(0.05 * torch.randn_like(parameter))
    trainer.write(policy)
    return policy, trainer


def test_an_installed_student_plans_as_in_training_with_half_of_the_layers(data, tmp_path):
    policy, trainer = student(data, tmp_path)
    samples = trainer.features.samples(np.arange(3), np.random.default_rng(0), False)
    every = torch.arange(samples.tokens.shape[1])
    loaded = Policy.from_pretrained(policy, depth_method='student').reasoner
    packed = Policy.from_pretrained(
        policy, depth_method='student', quantization_mode='int8_weight'
    ).reasoner
    places = every.expand(3, -1)
    with torch.no_grad():
        expected = trainer.recipe._plan(samples, every)
        taught = samples.tokens, places, samples.text, samples.text_mask, len(every)
        found, rounded = (stage.trunk(*taught)[0] for stage in (loaded, packed))
    assert loaded.trunk.numbers == tuple(trainer.recipe.shape['layers'])
    assert len(loaded.trunk.decoder.layers) == 2
    gap, size = (found - expected).norm(), expected.norm()
    assert gap < 0.01 * size
    assert (found - samples.latents).norm() > 0.1 * size
    assert (rounded - expected).norm() < 0.05 * size


def test_a_student_sees_a_part_of_the_tokens_in_their_places(data, tmp_path):
    _, trainer = student(data, tmp_path)
    samples = trainer.features.samples(np.arange(2), np.random.default_rng(0), False)
    part = torch.tensor([1, 5, 9])
    with torch.no_grad():
        found = trainer.recipe._plan(samples, part)
        samples.tokens[:, 2] += 1.0
        assert torch.equal(trainer.recipe._plan(samples, part), found)
        samples.tokens[:, 5] += 1.0
        assert not torch.allclose(trainer.recipe._plan(samples, part), found)


def test_a_student_that_could_not_learn_or_save_anything_is_refused(policy, data, tmp_path):
    with pytest.raises(UsageError, match='keeps 2 of 2 layers'):
        methods.MethodTrainer(arguments('student', policy, data, tmp_path), policy)
    deeper = untrained(tmp_path / 'four', layers=4)
    with pytest.raises(UsageError, match='updates of rank 0'):
        methods.MethodTrainer(arguments('student', deeper, data, tmp_path, '--rank=0'), deeper)


def test_updates_are_for_policies_whose_decoder_takes_them(data, tmp_path):
    policy, _ = student(data, tmp_path)
    with pytest.raises(CheckpointError, match='holds updates of a decoder'):
        checkpoint.load_depth(policy, DepthSettings('student'))


def test_a_plan_is_the_farther_from_the_teachers_the_more_it_differs_from_it():
    teacher = torch.tensor([[[0.0, 1.0]], [[0.0, 3.0]]])  # variances 0 and 2, 1 in the mean
    assert losses.cognition(teacher, teacher) == 0
    found = losses.cognition(teacher + torch.tensor([1.0, 0.0]), teacher)
    student, taught = torch.tensor([[1.0, 1.0], [1.0, 3.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    chances = student.softmax(-1)
    reverse = (chances * (chances / taught.softmax(-1)).log()).sum(-1).mean()
    assert found == pytest.approx(0.5 * (0.5 + float(reverse)))
