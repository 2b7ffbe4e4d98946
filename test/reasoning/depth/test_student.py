# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A student has the layers of its file, with what they learned added to their weights."""

import numpy as np
import pytest
from fixtures.small_decoder import TOKENS, decoder, tokens

from efficient_vla.reasoning.depth import DepthSettings
from efficient_vla.reasoning.depth.static import shorten
from efficient_vla.reasoning.depth.student import Student
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.settings import InvalidSettingError, build

DEPTH = 5


def settings(**values):
    return build(DepthSettings, {'method': 'student', **values})


def plan(own):
    words = {'input_ids': [3, 4, 5]}
    return Reasoner(own, lambda text: words, TOKENS, ReasonerSettings()).plan(tokens(), 'open it')


def test_the_layers_of_the_file_stay():
    own = decoder(DEPTH)
    shorten(own, settings(), Student(DEPTH, [0, 3, 4]))
    assert own.numbers == (0, 3, 4)
    assert len(own.decoder.layers) == 3
    for share, layers in ((0.6, 0), (1.0, 3)):
        own = decoder(DEPTH)
        shorten(own, settings(share=share, layers=layers), Student(DEPTH, [0, 1, 4]))
        assert own.numbers == (0, 1, 4)


def test_identity_a_student_of_all_layers_plans_as_the_policy():
    own = decoder(DEPTH)
    shorten(own, settings(), Student(DEPTH, range(DEPTH)))
    np.testing.assert_allclose(plan(own).latents, plan(decoder(DEPTH)).latents, atol=1e-6)


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'layers': 2}, 'depth.layers 2 .* ask for 2 layers; the student has 3 of 5'),
        ({'share': 0.4}, 'depth.share 0.4 ask for 2 layers; the student has 3 of 5'),
    ],
)
def test_another_number_of_layers_is_refused(values, reason):
    with pytest.raises(InvalidSettingError, match=reason):
        shorten(decoder(DEPTH), settings(**values), Student(DEPTH, [0, 3, 4]))


@pytest.mark.parametrize('other', [{'width.method': 'structured'}, {'resampling.method': 'otter'}])
def test_other_updates_of_the_same_weights_are_refused(other):
    with pytest.raises(InvalidSettingError, match=r'student and .*; expected one of them'):
        build(ReasonerSettings, {'depth.method': 'student'} | other)


def test_a_student_of_another_decoder_is_refused():
    with pytest.raises(InvalidSettingError, match='trained for 4 layers; the decoder has 5'):
        shorten(decoder(DEPTH), settings(), Student(4, [0, 3]))


@pytest.mark.parametrize('layers', [[], [3, 1], [0, 0], [0, 5], [-1, 2]])
def test_layers_that_no_decoder_has_are_no_student(layers):
    with pytest.raises(ValueError, match='expected some, increasing'):
        Student(DEPTH, layers)
