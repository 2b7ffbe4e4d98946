# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings that a choice leaves unused are told, one line each."""

import pytest

from efficient_vla.action.settings import ActorSettings
from efficient_vla.bringup.catalogue import KINDS, NODE_SETTINGS
from efficient_vla.bringup.graph import profiles, robot_profile
from efficient_vla.bringup.parameter_files import merge
from efficient_vla.cli import main
from efficient_vla.places import share_folder
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import build, without_effect
from efficient_vla.sim.catalogue import DEFAULT_ROBOT

SINGLE = {'architecture': 'single'}


@pytest.mark.parametrize(
    ('kind', 'values', 'lines'),
    [
        (
            ReasonerSettings,
            {'pruning.keep': 0.25},
            ['pruning.keep 0.25 has no effect: pruning.method is none'],
        ),
        (
            ReasonerSettings,
            {'pruning.method': 'fastv', 'pruning.keep': 0.25, 'pruning.sqap.top': 0.3},
            ['pruning.sqap.top 0.3 has no effect: pruning.method is fastv'],
        ),
        (
            ReasonerSettings,
            {'pruning.method': 'fastv', 'pruning.gate.slow': 0.04},
            ['pruning.gate.slow 0.04 has no effect: pruning.gate.method is none'],
        ),
        (
            ActorSettings,
            {'flow.steps': 5, 'head': 'regression'},
            ['flow.steps 5 has no effect: head is regression'],
        ),
        (
            ActorSettings,
            {'quantization.group_size': 32},
            ['quantization.group_size 32 has no effect: quantization.mode is none'],
        ),
        (ActorSettings, {'flow.steps': 5, 'head': 'flow', **SINGLE}, []),
        (ActorSettings, {'flow.steps': 5}, []),
        (ReasonerSettings, {'pruning.method': 'sqap', 'pruning.sqap.top': 0.3}, []),
        (ReasonerSettings, {}, []),
    ],
)
def test_setting_of_a_part_that_is_off_is_told(kind, values, lines):
    assert without_effect(build(kind, values)) == lines


def test_shipped_profiles_set_nothing_in_vain():
    files = [robot_profile(DEFAULT_ROBOT)]
    files += [
        share_folder('config') / folder / f'{name}.yaml'
        for folder in ('hardware', 'policies')
        for name in profiles(folder)
    ]
    for path in files:
        values = merge([path], KINDS, list(NODE_SETTINGS)).values
        for node, kind in NODE_SETTINGS.items():
            assert without_effect(build(kind, values[node])) == [], (path, node)


def test_evaluation_says_so_before_it_runs(capsys, tmp_path):
    words = [
        '--tasks',
        'reach-v3',
        '--policy',
        str(tmp_path),
        '--set',
        'reasoner.pruning.keep=0.25',
    ]
    assert main(['eval', *words, '--json', str(tmp_path / 'found.json')]) == 2
    assert 'reasoner.pruning.keep 0.25 has no effect' in capsys.readouterr().err
