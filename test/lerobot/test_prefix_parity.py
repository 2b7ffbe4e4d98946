# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Prefix and expert of LeRobot's policies, from the rows that LeRobot itself gave them."""

import functools
import re

import numpy as np
import pytest
import torch
from lerobot_folders import FIXTURES, observation
from safetensors.torch import load_file, save_file

from efficient_vla import lerobot
from efficient_vla.action.euler import follow
from efficient_vla.action.settings import ActorSettings
from efficient_vla.errors import CheckpointError
from efficient_vla.joint_settings import JointSettings
from efficient_vla.lerobot.folder import open_folder
from efficient_vla.lerobot.pi0 import Pi
from efficient_vla.lerobot.smolvla import SmolVla
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings

SMOLVLAS = ('smolvla', 'smolvla_base', 'smolvla_switches', 'smolvla_self')
CASES = (*SMOLVLAS, 'pi0', 'pi05')
TOLERANCE = 1e-4


class Case:
    """A folder, its reference and the modules that are made of it."""

    def __init__(self, name: str) -> None:
        folder = open_folder(FIXTURES / name)
        self.config = folder.config.values
        self.reference = dict(np.load(FIXTURES / name / 'reference.npz'))
        parts = SmolVla(folder) if folder.type == 'smolvla' else Pi(folder, name == 'pi05')
        self.prefix, self.expert, self.steps = parts.prefix(), parts.expert(), parts.steps
        self.tower, self.idle = parts.tower(), parts.owned['']
        self.state = self.given('processed.observation.state')
        mask = self.given('processed.observation.language.attention_mask')
        self.words = self.given('processed.observation.language.tokens')[mask]
        self.places = self.given('prefix.padding')[0].nonzero()[:, 0]
        self.rows = self.given('prefix.embeddings')[0, self.places]
        self.count = 4 * sum(k.startswith('input.observation.images') for k in self.reference)
        self.visual = self.rows[self.visual_places()]
        self.camera = np.arange(self.count) // 4

    def given(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.reference[name])

    def visual_places(self) -> torch.Tensor:
        places = torch.arange(self.count)
        if self.config.get('add_image_special_tokens'):
            return places + 2 + 3 * (places // 4)
        return places

    def pass_over(self, state: torch.Tensor | None = None):
        given = self.state if state is None else state
        return self.prefix(self.visual, self.camera, self.words, given)[0]


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return made(request.param)


@pytest.fixture(params=SMOLVLAS)
def with_state(request) -> Case:
    return made(request.param)


@functools.cache
def made(name: str) -> Case:
    return Case(name)


def worst(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


def test_words_state_and_markers_are_the_rows_of_lerobot(case):
    sequence = case.prefix.sequence(case.visual, case.camera, case.words, case.state)
    assert worst(sequence.embeddings[0], case.rows) < TOLERANCE
    assert sequence.visual.tolist() == case.visual_places().tolist()


def test_keys_and_values_of_every_layer_are_those_of_lerobot(case):
    cache = case.pass_over()
    assert len(cache.keys) == sum(name.startswith('prefix.keys') for name in case.reference)
    for part in ('keys', 'values'):
        for layer, found in enumerate(getattr(cache, part)):
            expected = case.given(f'prefix.{part}.{layer}')[:, :, case.places]
            assert worst(found, expected) < TOLERANCE, (part, layer)


def test_velocity_and_chunk_are_those_of_lerobot(case):
    seen = case.expert.prepare(case.pass_over())
    noise = case.given('input.noise')
    first = case.expert(noise, 0.0, seen, case.state)
    assert worst(-first, case.given('velocity')) < TOLERANCE

    def velocity(x, time, whole=True):
        return case.expert(x, time, seen, case.state)

    chunk, passes = follow(velocity, noise, case.steps)
    assert passes == 10
    assert worst(chunk[..., :6], case.given('chunk')) < TOLERANCE


def test_another_state_changes_its_own_row_alone(with_state):
    newer = with_state.state + torch.linspace(-1, 1, 6)
    before = with_state.pass_over()
    renewed, whole = before.renewed(newer), with_state.pass_over(newer)
    for part in ('keys', 'values'):
        for old, new, computed in zip(
            *(getattr(found, part) for found in (before, renewed, whole)), strict=True
        ):
            assert torch.equal(old[:, :, :-1], new[:, :, :-1])
            assert worst(new, computed) < 1e-5
            assert worst(new[:, :, -1], old[:, :, -1]) > 1e-2


def test_a_renewed_cache_can_be_renewed_again(with_state):
    before = with_state.pass_over()
    back = before.renewed(with_state.state + 1).renewed(with_state.state)
    assert max(worst(a, b) for a, b in zip(before.keys, back.keys, strict=True)) < 1e-5


def test_a_state_that_rows_have_is_not_in_the_prefix_of_pi0():
    assert made('pi0').pass_over().renewed is None


def test_steps_in_between_keep_what_the_layers_added(case):
    seen, noise = case.expert.prepare(case.pass_over()), case.given('input.noise')
    kept: list[torch.Tensor] = []
    whole = case.expert(noise, 0.0, seen, case.state, kept)
    again = case.expert(noise, 0.0, seen, case.state, kept, whole=False)
    later = case.expert(noise, 0.5, seen, case.state, kept, whole=False)
    assert worst(whole, again) < 1e-5
    assert worst(again, later) > 1e-3


@pytest.mark.parametrize('name', ['smolvla', 'pi05', 'pi0'])
def test_every_parameter_that_is_read_changes_the_velocity(name):
    case = Case(name)
    pixels = torch.linspace(-1, 1, 3 * 64 * 64).sin().reshape(1, 3, 64, 64)
    side = case.tower.encoder.config.image_size
    noise = case.given('input.noise')

    def velocity():
        tokens = case.tower(pixels[..., :side, :side])[0]
        cache, _ = case.prefix(tokens, np.zeros(len(tokens), int), case.words, case.state)
        return case.expert(noise, 0.0, case.expert.prepare(cache), case.state)

    with torch.no_grad():
        same = velocity()
        for part in (case.tower, case.prefix, case.expert):
            for parameter, value in part.named_parameters():
                kept = value.clone()
                value.mul_(1.5).add_(0.25)
                changed = worst(velocity(), same)
                value.copy_(kept)
                # A bias of keys is the same for all of a query, and their softmax takes it out.
                assert (changed > 1e-5) is not parameter.endswith('k_proj.bias'), parameter
        assert worst(velocity(), same) == 0.0


@pytest.mark.parametrize(('name', 'count'), [('smolvla_self', 8), ('pi0', 9)])
def test_tensors_without_effect_are_never_read(name, count, copied):
    folder = copied(name)
    path = folder / 'model.safetensors'
    tensors, idle = load_file(path), made(name).idle
    spoiled = [key for key in tensors if any(re.fullmatch(pattern, key) for pattern in idle)]
    assert len(spoiled) == count
    for key in spoiled:
        tensors[key] = torch.full_like(tensors[key], torch.nan)
    save_file(tensors, path)
    opened = open_folder(folder)
    batch = opened.preprocess(observation(name))
    drawn = made(name).given('input.noise')
    with torch.inference_mode():
        chunk = lerobot.module_of(folder).replay(opened, batch, drawn)['chunk']
    assert worst(chunk, made(name).given('chunk')) < TOLERANCE


@pytest.mark.parametrize('name', ['smolvla', 'pi05'])
def test_a_tensor_that_no_part_knows_is_refused_by_every_stage(name, copied):
    folder = copied(name)
    tensors = load_file(folder / 'model.safetensors')
    save_file(tensors | {'model.extra.weight': torch.zeros(2)}, folder / 'model.safetensors')
    module = lerobot.module_of(folder)
    robot = {'joints': JointSettings(tuple('abcdef'), unit=('rad',), mode='joint_position', rate=9)}
    for load, settings in (
        (module.load_perception, PerceptionSettings()),
        (module.load_reasoner, ReasonerSettings(**robot)),
        (module.load_actor, ActorSettings(**robot)),
    ):
        with pytest.raises(CheckpointError, match=r'model\.extra\.weight'):
            load(folder, settings)
