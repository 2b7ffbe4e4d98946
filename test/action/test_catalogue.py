# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The catalogue of heads, tokenizers and decodings: everything else follows from it."""

import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

from efficient_vla.action import catalogue
from efficient_vla.action.heads import regression
from efficient_vla.action.policies import DualPolicy, PolicyShape, SinglePolicy
from efficient_vla.action.settings import ActorSettings
from efficient_vla.control.catalogue import BLENDINGS, head_help
from efficient_vla.settings import build, specs
from efficient_vla.training.recipes import RECIPES, recipe_class
from efficient_vla.types import HeadHelp

ACTION = Path(catalogue.__file__).parent
PARTS = {'denoiser', 'token_decoder', 'expert', 'expert_ends'}
"""Networks that several heads share, and the head that prefix policies bring along."""
SPECS = {name: spec for name, _, spec in specs(ActorSettings)}


@pytest.mark.parametrize(
    ('folder', 'entries', 'parameter'),
    [
        ('heads', catalogue.HEADS, 'head'),
        ('tokenizers', catalogue.TOKENIZERS, 'tokens.tokenizer'),
        ('decoding', catalogue.DECODINGS, 'decoding.method'),
    ],
)
def test_a_technique_is_a_file_a_choice_and_a_sentence_of_its_help(folder, entries, parameter):
    files = {path.stem for path in (ACTION / folder).glob('*.py')} - PARTS - {'__init__'}
    assert files == set(entries)
    assert tuple(name for name in SPECS[parameter].choices if name != 'auto') == tuple(entries)
    for name, entry in entries.items():
        assert f'{name}: {entry.about}.' in SPECS[parameter].description


@pytest.mark.parametrize('head', catalogue.HEADS)
def test_every_head_is_loaded_from_a_source_by_its_settings(head):
    module = importlib.import_module(f'efficient_vla.action.heads.{head}')
    assert list(inspect.signature(module.load).parameters) == ['source', 'settings']


@pytest.mark.parametrize('name', RECIPES)
def test_every_trained_technique_has_a_recipe_of_frozen_policy_features_and_rank(name):
    assert list(inspect.signature(recipe_class(name)).parameters) == ['frozen', 'features', 'rank']


def test_every_addon_that_a_head_reads_can_be_trained():
    from_heads = set(catalogue.RECIPES) | {'univla'}
    needed = set(catalogue.HEADS) - {'regression', 'tokens'} | set(catalogue.TOKENIZERS)
    assert needed <= from_heads <= set(RECIPES)


def test_what_a_blending_asks_of_the_head_follows_from_its_line():
    asked = {name: head_help(name) for name in BLENDINGS if head_help(name) is not HeadHelp.NONE}
    assert asked == {'rtc': HeadHelp.INPAINT, 'rtc_trained': HeadHelp.PREFIX}
    assert head_help('of another controller') is HeadHelp.NONE


def test_no_technique_of_control_is_named_in_the_action_room():
    for path in ACTION.rglob('*.py'):
        if path.name != 'settings.py':
            text = path.read_text()
            for name in BLENDINGS:
                assert f"'{name}'" not in text, f'{path.name} compares with {name}'


def test_the_regression_head_is_that_of_the_architecture() -> None:
    sizes = PolicyShape(queries=2, width=3, state=2, horizon=4, actions=2)
    single, dual = SinglePolicy(sizes), DualPolicy(sizes)
    source = SimpleNamespace(single=lambda: single, dual=lambda: dual)
    for architecture, policy, looks in (('single', single, False), ('dual', dual, True)):
        made = regression.load(source, build(ActorSettings, {'architecture': architecture}))
        assert made.policy is policy
        assert made.needs_image is looks
