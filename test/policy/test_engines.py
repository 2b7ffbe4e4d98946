# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Engines of a policy of this package, whose passes are one graph each where nothing cuts them."""

import numpy as np
import pytest
from engine_names import EXPORTERS

from efficient_vla.policy import Policy
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import InvalidRecordError


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))


def acted(folder, engine, frame, **settings):
    policy = Policy.from_pretrained(folder, device='cpu', engine=engine, **settings)
    return policy.act(frame, 'press the button').actions, policy


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'architecture': 'single'},
        {'pruning_method': 'fastv'},
        {'pruning_method': 'uniform', 'pruning_keep': 0.25},
        {'signals': True},
    ],
    ids=str,
)
@pytest.mark.parametrize('engine', EXPORTERS)
def test_an_engine_gives_the_chunk_of_torch(folder, frame, engine, settings):
    found, policy = acted(folder, engine, frame, **settings)
    expected, _ = acted(folder, 'torch', frame, **settings)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    whole = policy.reasoner.trunk.parts.whole
    assert (whole is None) == (settings.get('pruning_method') == 'fastv')


def test_what_needs_cuts_is_refused_where_a_pass_is_one_graph(folder, frame):
    _, policy = acted(folder, 'openvino', frame)
    settings = policy.reasoner._settings
    wanted = build(type(settings), {'reuse.method': 'vla_cache'}, settings)
    with pytest.raises(InvalidRecordError, match=r'reuse.method is vla_cache, while openvino'):
        policy.reasoner.configure(wanted)
    settings = policy.perception._settings
    wanted = build(type(settings), {'cache.method': 'patch'}, settings)
    with pytest.raises(InvalidSettingError, match=r'cache.method is patch, while openvino'):
        policy.perception.configure(wanted)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'quantization_mode': 'nf4'}, 'nf4 with engine openvino; expected none, .*int4_weight'),
        (
            {'quantization_mode': 'int8', 'reasoner_engine': 'onnxruntime'},
            r'int8 with engine onnxruntime; expected none\. ',
        ),
        (
            {'quantization_mode': 'int8_weight', 'reasoner_quantization_exclude': ('nothing',)},
            "exclude names 'nothing'",
        ),
        ({'actor_engine': 'tensorrt', 'engine': 'torch'}, 'a GPU of NVIDIA alone'),
        ({'head': 'flow', 'architecture': 'single'}, 'head flow takes several passes'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_an_engine_cannot_do_is_said_before_anything_moves(folder, settings, words):
    with pytest.raises(InvalidSettingError, match=words):
        Policy.from_pretrained(folder, **{'device': 'cpu', 'engine': 'openvino', **settings})
