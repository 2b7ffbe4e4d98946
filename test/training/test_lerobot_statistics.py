# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of a LeRobotDataset, against numpy and against numbers worked out by hand."""

import numpy as np
import pytest

from efficient_vla.training.lerobot_statistics import combined, of_images, of_vectors, sampled


def test_vectors_have_the_moments_that_numpy_finds():
    values = np.random.default_rng(0).normal(3.0, 2.0, (500, 3)).astype(np.float32)
    found = of_vectors(values)
    assert found['mean'] == pytest.approx(values.astype(float).mean(0), abs=1e-5)
    assert found['std'] == pytest.approx(values.astype(float).std(0), abs=1e-5)
    assert np.array_equal(found['min'], values.min(0))
    assert np.array_equal(found['max'], values.max(0))
    assert found['count'].tolist() == [500]


def test_quantiles_are_those_of_the_values_to_a_bin():
    values = np.random.default_rng(1).uniform(-1, 1, (4000, 2))
    found = of_vectors(values)
    for name, share in (('q01', 0.01), ('q10', 0.1), ('q50', 0.5), ('q90', 0.9), ('q99', 0.99)):
        assert found[name] == pytest.approx(np.quantile(values, share, axis=0), abs=2e-3)


def test_numbers_that_never_change_have_no_deviation():
    found = of_vectors(np.full((7, 1), 0.25, np.float32))
    assert found['std'].tolist() == [0.0]
    assert found['q50'] == pytest.approx([0.25], abs=1e-6)


def test_one_frame_is_its_own_statistics():
    found = of_vectors(np.array([[2.0, 5.0]], np.float32))
    assert found['mean'].tolist() == found['q01'].tolist() == found['q99'].tolist() == [2.0, 5.0]
    assert found['std'].tolist() == [0.0, 0.0]


def test_a_column_of_scalars_is_one_number():
    assert of_vectors(np.arange(4))['mean'].tolist() == [1.5]


def test_episodes_count_by_their_frames():
    short = of_vectors(np.array([[0.0], [2.0]]))
    long = of_vectors(np.array([[10.0]] * 6))
    whole = combined([short, long])
    every = np.array([0.0, 2.0, *[10.0] * 6])
    assert whole['mean'] == pytest.approx([every.mean()])
    assert whole['std'] == pytest.approx([every.std()])
    assert (whole['min'].tolist(), whole['max'].tolist()) == ([0.0], [10.0])
    assert whole['count'].tolist() == [8]
    # A quantile of the whole is the weighted mean of theirs, not that of all frames.
    assert whole['q50'] == pytest.approx((2 * short['q50'] + 6 * long['q50']) / 8)


def test_images_are_described_by_channel_from_0_to_1():
    images = np.zeros((3, 4, 6, 3), np.uint8)
    images[..., 0] = 255
    images[:, :2, :, 1] = 51
    found = of_images(images)
    assert {value.shape for name, value in found.items() if name != 'count'} == {(3, 1, 1)}
    assert found['mean'].ravel() == pytest.approx([1.0, 0.1, 0.0], abs=1e-6)
    assert found['std'].ravel() == pytest.approx([0.0, 0.1, 0.0], abs=1e-6)
    assert found['count'].tolist() == [3]


def test_large_images_are_thinned_out():
    images = np.zeros((2, 300, 320, 3), np.uint8)
    images[:, ::2, ::2] = 255  # what a step of 2 looks at
    assert of_images(images)['mean'].ravel() == pytest.approx([1.0] * 3)
    assert of_images(images[:, :298, :298])['mean'].ravel() == pytest.approx([0.25] * 3)


@pytest.mark.parametrize(
    ('length', 'number'), [(1, 1), (80, 80), (100, 100), (350, 100), (1000, 177), (20000, 1681)]
)
def test_of_a_long_episode_some_images_are_looked_at(length, number):
    chosen = sampled(length)
    assert len(chosen) == number
    assert (chosen[0], chosen[-1]) == (0, length - 1)
