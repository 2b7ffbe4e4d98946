# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A preset is a method with what its paper has beside it; what a method lacks is refused."""

import argparse
import dataclasses

import numpy as np
import pytest

from efficient_vla import presets
from efficient_vla.bench.overrides import build_settings, flat, parse_overrides
from efficient_vla.bringup import graph
from efficient_vla.bringup.graph import ProfileError, Selection, describe
from efficient_vla.cli.options import add_overrides
from efficient_vla.policy import Policy
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.settings import InvalidSettingError

OTHERS = {
    *('vla_cache', 'smolvla_layers', 'efficientvla_layers', 'deer', 'mole', 'student'),
    *('lcb', 'hirt', 'robodual', 'openhelix'),
}


def test_every_selector_is_a_preset_beside_those_of_other_techniques():
    assert set(presets.PRESETS) == {*METHODS, *OTHERS} == set(presets.MISSING)


@pytest.mark.parametrize('name', presets.PRESETS)
def test_the_words_of_a_preset_set_its_values_in_process_and_in_the_graph(name):
    words = presets.words(name)
    assert not any(' ' in word for word in words)
    found = flat(build_settings(parse_overrides(words)))
    given = graph.parse_overrides(words)
    for parameter, value in presets.PRESETS[name].items():
        assert found[parameter] == value
        assert given[parameter] == (list(value) if isinstance(value, tuple) else value)


PAPERS = {
    'sp_vla': {
        'perception.signals': True,
        'reasoner.pruning.protect.beyond': True,
        'reasoner.schedule.method': 'intuitive',
    },
    'flashvla': {'reasoner.schedule.method': 'steady'},
    'adp': {
        'reasoner.pruning.gate.method': 'extrema',
        'reasoner.pruning.gate.window': 0.0,
        'reasoner.pruning.gate.max_pruned': 3,
        'reasoner.pruning.camera_weights': (0.4, 0.6),
    },
    'sqap': {
        'reasoner.pruning.protect.end_effector': True,
        'reasoner.quantization.mode': 'int8_dynamic',
    },
    'vla_cache': {'reasoner.reuse.adaptive': True, 'reasoner.reuse.growth': 0.55},
}


@pytest.mark.parametrize('name', PAPERS)
def test_a_preset_turns_on_what_its_paper_has_beside_the_selection(name):
    found = flat(build_settings(parse_overrides(presets.words(name))))
    assert {parameter: found[parameter] for parameter in PAPERS[name]} == PAPERS[name]


def test_vla_cache_has_the_layers_and_the_cosine_of_its_paper():
    preset = presets.PRESETS['vla_cache']
    assert [round(32 * share) for share in preset['reasoner.reuse.layers']] == [2, 6, 9, 11]
    angle = np.arccos(0.996)
    first, second = np.array([1.0, 0.0]), np.array([np.cos(angle), np.sin(angle)])
    difference = np.linalg.norm(first - second)
    assert preset['reasoner.reuse.threshold'] == pytest.approx(difference, abs=1e-4)
    assert 256 * preset['reasoner.reuse.task_share'] == 120


def test_contours_count_from_the_first_edge_pixel():
    # The largest patch of the towers has 32 x 32 pixels.
    assert 0 < presets.PRESETS['sp_vla']['reasoner.pruning.protect.contours'] < 1 / 32**2


@pytest.mark.parametrize('name', ['fastv', 'sp_vla', 'flashvla', 'adp', 'specprune', 'vla_cache'])
def test_a_policy_acts_with_a_preset_and_a_keyword_is_stronger(folder, frame, name):
    keep = 'pruning_keep' if name in METHODS else 'reuse_growth'
    policy = Policy.from_pretrained(folder, name, architecture='single', **{keep: 0.25})
    assert policy.reasoner._settings.pruning.keep == (0.25 if name in METHODS else 0.5)
    for step in range(3):
        state = frame.state + np.array([0.02 * step, 0.0, 0.0, 0.0], np.float32)
        moved = dataclasses.replace(frame, state=state, stamp=0.1 * step)
        assert np.isfinite(policy.act(moved, 'open the drawer').actions).all()


def test_an_unknown_preset_is_named_with_those_there_are(folder):
    with pytest.raises(InvalidSettingError, match=r"preset is 'spvla'; expected one of .*sp_vla"):
        Policy.from_pretrained(folder, 'spvla')


@pytest.mark.parametrize(
    'word', ['reasoner.pruning.method=sp_vla', 'reasoner.pruning.protect.contours=0.1']
)
def test_what_needs_signals_is_refused_without_them_before_anything_starts(folder, word):
    remedy = 'needs contours .* Set perception.signals to true'
    with pytest.raises(InvalidSettingError, match=remedy):
        build_settings(parse_overrides([word]))
    name, _, value = word.removeprefix('reasoner.').partition('=')
    value = float(value) if 'contours' in name else value
    with pytest.raises(InvalidSettingError, match=remedy):
        Policy.from_pretrained(folder, **{name.replace('.', '_'): value})
    overrides = graph.parse_overrides([word])
    with pytest.raises(ProfileError, match=remedy):
        describe(Selection(overrides=overrides))
    describe(Selection(overrides={**overrides, 'perception.signals': True}))


def test_preset_and_set_act_in_the_order_in_which_they_are_given():
    parser = argparse.ArgumentParser()
    add_overrides(parser)
    given = parser.parse_args(
        ['--set', 'reasoner.reuse.growth=0.1', '--preset', 'adp']
        + ['--set', 'reasoner.pruning.gate.method=none']
    ).overrides
    found = flat(build_settings(parse_overrides(given)))
    assert found['reasoner.pruning.gate.method'] == 'none'
    assert found['reasoner.pruning.camera_weights'] == (0.4, 0.6)
    assert found['reasoner.reuse.growth'] == 0.1
    assert parser.parse_args([]).overrides == []
