# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Packed weights beside what drops tokens, takes them from earlier frames or computes a part."""

import numpy as np
import pytest

from efficient_vla import Policy
from efficient_vla.types import Frame

SENTENCE = 'open the drawer'
PACKED = ('int8_weight', 'int4_weight', 'nf4', 'int4_hadamard', 'int8_dynamic')
TECHNIQUES = {
    'pruning': {'pruning_method': 'fastv', 'pruning_keep': 0.25},
    'reuse': {'reuse_method': 'vla_cache', 'reuse_threshold': 2.0, 'reuse_task_share': 0.0},
    'patches': {'cache_method': 'patch'},
}


def frame(stamp):
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    return Frame({'corner2': image}, np.array([0.0, 0.6, 0.1, 1.0], np.float32), stamp)


@pytest.mark.parametrize('mode', PACKED)
@pytest.mark.parametrize('technique', TECHNIQUES)
def test_a_format_changes_little_of_what_a_technique_gives(folder, mode, technique):
    given = TECHNIQUES[technique]
    formats = {'quantization_mode': mode, 'perception_quantization_mode': mode}
    small = Policy.from_pretrained(folder, **given, **formats)
    exact = Policy.from_pretrained(folder, **given)
    for stamp in (0.0, 0.1):
        chunks = [made.act(frame(stamp), SENTENCE) for made in (small, exact)]
    assert len(small._plan.kept) == len(exact._plan.kept)
    assert small.perception.last.computed == exact.perception.last.computed
    change = np.linalg.norm(small._plan.latents - exact._plan.latents)
    assert 0 < change < 0.3 * np.linalg.norm(exact._plan.latents)
    assert np.isfinite(chunks[0].actions).all()
