# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The token cache: when a frame counts as unchanged, and what happens then."""

import numpy as np
import pytest
import torch

from efficient_vla.perception.settings import CacheSettings
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.types import Frame
from efficient_vla.types import InvalidRecordError


class CountingTower(torch.nn.Module):
    """Four tokens a camera, three wide; counts its passes."""

    passes = 0

    def forward(self, pixels):
        self.passes += 1
        return pixels.float().mean((2, 3))[:, None].expand(-1, 4, -1)


def perception(method: str, threshold: float = 0.02, max_age: float = 1.0) -> Perception:
    settings = PerceptionSettings(CacheSettings(method, threshold, max_age))
    return Perception(
        CountingTower(), ('front',), lambda image: np.moveaxis(image, -1, 0) / 255.0, settings
    )


def frame(stamp: float, value: int = 100, corner: int | None = None) -> Frame:
    image = np.full((96, 96, 3), value, np.uint8)
    if corner is not None:
        image[:4, :4] = corner
    return Frame({'front': image}, np.zeros(4, np.float32), stamp)


def test_identity_cache_none_encodes_every_frame():
    stage = perception('none')
    for k in range(3):
        tokens = stage.encode(frame(k * 0.1))
        assert tokens is not None
        assert not tokens.reused.any()
    assert stage.tower.passes == 3


def test_reuse_returns_the_same_features_with_their_age():
    stage = perception('reuse')
    first = stage.encode(frame(0.0))
    again = stage.encode(frame(0.3))
    assert stage.tower.passes == 1
    assert np.array_equal(first.features, again.features)
    assert again.reused.all()
    assert again.age == pytest.approx([0.3] * 4, abs=1e-6)
    assert again.stamp == 0.3


def test_skip_sends_nothing_for_an_unchanged_frame():
    stage = perception('skip')
    assert stage.encode(frame(0.0)) is not None
    assert stage.encode(frame(0.1)) is None


def test_a_change_of_one_small_patch_is_a_change():
    stage = perception('reuse')
    stage.encode(frame(0.0))
    tokens = stage.encode(frame(0.1, corner=255))
    assert tokens.refresh_reason == 'scene changed'
    assert stage.tower.passes == 2


def test_slow_drift_is_measured_against_the_encoded_frame():
    stage = perception('reuse', threshold=0.02)
    stage.encode(frame(0.0, 100))
    assert stage.encode(frame(0.1, 103)).reused.all()
    assert not stage.encode(frame(0.2, 106)).reused.any()


def test_tokens_older_than_max_age_are_recomputed():
    stage = perception('reuse', max_age=0.5)
    stage.encode(frame(0.0))
    assert stage.encode(frame(0.5)).reused.all()
    assert stage.encode(frame(0.6)).refresh_reason == 'max age'


def test_clock_jump_back_recomputes():
    stage = perception('reuse')
    stage.encode(frame(5.0))
    assert stage.encode(frame(1.0)).refresh_reason == 'clock jumped back'


def test_reset_recomputes_and_raises_the_epoch():
    stage = perception('reuse')
    before = stage.encode(frame(0.0))
    stage.reset('episode started')
    after = stage.encode(frame(0.1))
    assert after.refresh_reason == 'episode started'
    assert after.epoch > before.epoch


def test_change_of_method_while_running_empties_the_cache():
    stage = perception('reuse')
    stage.encode(frame(0.0))
    stage.configure(PerceptionSettings(CacheSettings('skip')))
    assert stage.encode(frame(0.1)) is not None


def test_missing_camera_is_named():
    stage = perception('none')
    other = Frame({'wrist': np.zeros((32, 32, 3), np.uint8)}, np.zeros(4, np.float32), 0.0)
    with pytest.raises(InvalidRecordError, match='front'):
        stage.encode(other)
