# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images as OpenVLA's processor makes them."""

import math

import numpy as np
import pytest
from PIL import Image
from tiny_openvla import MEANS, STDS

from efficient_vla.openvla.images import ImageSpec, central, pixels, square

SIZE = 42


def spec(strategy: str) -> ImageSpec:
    return ImageSpec(SIZE, strategy, 'bicubic', MEANS, STDS)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


def test_a_naive_resize_bends_the_picture(picture):
    expected = Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    assert np.array_equal(square(picture, spec('resize-naive'), 1.0), np.asarray(expected))


def test_a_square_of_the_right_size_stays_as_it_is(picture):
    right = picture[:SIZE, :SIZE]
    for strategy in ('resize-naive', 'letterbox', 'resize-crop'):
        assert np.array_equal(square(right, spec(strategy), 1.0), right)


def test_a_letterbox_has_borders_of_the_mean_of_siglip(picture):
    seen = square(picture, spec('letterbox'), 1.0)
    assert (seen[:5] == 127).all()
    assert (seen[-5:] == 127).all()
    assert seen[8:34].std() > 10


def test_a_crop_shows_the_middle_without_bending_it(picture):
    whole = Image.fromarray(picture).resize((63, SIZE), Image.Resampling.BICUBIC)
    expected = np.asarray(whole)[:, 10 : 10 + SIZE]
    assert np.array_equal(square(picture, spec('resize-crop'), 1.0), expected)


def test_each_tower_gets_its_own_normalisation(picture):
    seen = square(picture, spec('resize-naive'), 1.0)
    both = pixels(seen, spec('resize-naive'))
    assert both.shape == (6, SIZE, SIZE)
    assert both.dtype == np.float32
    for tower in range(2):
        for colour in range(3):
            expected = (seen[..., colour] / 255 - MEANS[tower][colour]) / STDS[tower][colour]
            assert np.abs(both[3 * tower + colour] - expected).max() < 1e-5


def test_a_share_of_the_area_is_enlarged_with_corners_on_corners(picture):
    image = picture[:SIZE, :SIZE]
    side = math.sqrt(0.9)
    place = [(SIZE - 1) * ((1 - side) / 2 + side * k / (SIZE - 1)) for k in range(SIZE)]
    expected = np.zeros((SIZE, SIZE, 3))
    for row, y in enumerate(place):
        for column, x in enumerate(place):
            top, left = int(y), int(x)
            v, u = y - top, x - left
            corners = image[top : top + 2, left : left + 2].astype(float)
            expected[row, column] = (
                corners[0, 0] * (1 - v) * (1 - u)
                + corners[0, 1] * (1 - v) * u
                + corners[1, 0] * v * (1 - u)
                + corners[1, 1] * v * u
            )
    expected = np.floor(expected / 255 * 255.5)
    found = central(image, 0.9).astype(float)
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.999


def test_the_crop_follows_the_resize(picture):
    resized = square(picture, spec('resize-naive'), 1.0)
    cropped = square(picture, spec('resize-naive'), 0.9)
    assert np.array_equal(cropped, central(resized, 0.9))
    assert not np.array_equal(cropped, resized)


def test_a_crop_of_all_is_the_image(picture):
    image = picture[:SIZE, :SIZE]
    assert np.abs(central(image, 1.0).astype(int) - image).max() <= 1
