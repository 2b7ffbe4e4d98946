# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Images in a border, as policies of LeRobot are trained."""

import numpy as np
import pytest
import torch

from efficient_vla.perception.preprocess import padded, squared


@pytest.mark.parametrize(
    ('anchor', 'top', 'left'), [('end', 4, 0), ('centre', 2, 0)], ids=['end', 'centre']
)
def test_a_wide_image_keeps_its_shape_inside_a_border(anchor, top, left):
    image = torch.rand(1, 3, 4, 8) + 0.5
    found = padded(image, (8, 8), anchor)
    assert torch.equal(found[:, :, top : top + 4, left : left + 8], image)
    assert found.sum() == pytest.approx(float(image.sum()))
    framed = squared((image[0].permute(1, 2, 0) * 100).byte().numpy(), anchor)
    assert framed.shape == (8, 8, 3)
    assert (framed.max((1, 2)) > 0).nonzero()[0].tolist() == list(range(top, top + 4))


def test_a_tall_image_has_its_border_on_the_left():
    image = torch.ones(1, 3, 8, 3)
    assert padded(image, (8, 8), 'end')[0, 0, 0].tolist() == [0.0] * 5 + [1.0] * 3
    # What cannot be halved is more on the right.
    assert padded(image, (8, 8), 'centre')[0, 0, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]


def test_a_larger_image_is_made_smaller_between_its_pixels():
    image = torch.arange(16.0).reshape(1, 1, 1, 16).expand(1, 3, 8, 16)
    found = padded(image, (4, 4), 'end')
    assert found.shape == (1, 3, 4, 4)
    np.testing.assert_allclose(found[0, 0, 2:], [[1.5, 5.5, 9.5, 13.5]] * 2)
    assert not found[:, :, :2].any()


def test_an_image_that_fits_is_not_touched():
    image = torch.rand(2, 3, 8, 8)
    assert padded(image, (8, 8), 'end') is image
