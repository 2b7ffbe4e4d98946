# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What earlier frames told of tokens, and which tokens no selector may drop."""

import dataclasses

import numpy as np
import pytest
import torch

from efficient_vla.reasoning.memory import ScoreMemory
from efficient_vla.reasoning.protection import protected
from efficient_vla.reasoning.settings import ProtectSettings
from efficient_vla.types import InvalidRecordError, VisualTokens

NAN = float('nan')


def test_a_dropped_token_drifts_to_the_typical_value_and_not_to_zero():
    memory = ScoreMemory()
    memory.fit(4)
    features = torch.randn(4, 3)
    memory.update(features, torch.tensor([[0.8, 0.1, 0.2, 0.3]]))
    memory.update(features, torch.tensor([[NAN, 0.1, 0.2, 0.3]]))
    assert memory.attention[0, 0].item() == pytest.approx(0.2 + 0.8 * (0.8 - 0.2))
    assert memory.attention[0, 1:].tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_a_token_never_observed_stays_unknown():
    memory = ScoreMemory()
    memory.fit(2)
    memory.update(torch.randn(2, 3), torch.tensor([[NAN, 0.4]]))
    assert memory.attention.isnan().tolist() == [[True, False]]


def test_similarity_is_with_the_plan_so_many_before_or_the_first():
    memory = ScoreMemory()
    memory.fit(2)
    unknown = torch.full((1, 2), NAN)
    now = torch.tensor([[0.0, 3.0], [0.0, 1.0]])
    assert memory.similarity(now, 1).isnan().all()
    for features in ([[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [0.0, 2.0]], [[0.0, 1.0], [1.0, 0.0]]):
        memory.update(torch.tensor(features), unknown)
    assert memory.similarity(now, 1).tolist() == [1.0, 0.0]
    assert memory.similarity(now, 2).tolist() == pytest.approx([0.5**0.5, 1.0])
    assert memory.similarity(now, 3).tolist() == memory.similarity(now, 9).tolist() == [0.0, 1.0]


def test_layers_are_remembered_apart():
    memory = ScoreMemory()
    memory.fit(2)
    features = torch.randn(2, 3)
    memory.update(features, torch.tensor([[0.1, 0.2], [0.6, 0.5]]))
    memory.update(features, torch.tensor([[0.3, NAN], [NAN, 0.7]]))
    # Each drifts to the median of its own layer: 0.3 and 0.7.
    found = memory.attention.flatten().tolist()
    assert found == pytest.approx([0.3, 0.3 + 0.8 * (0.2 - 0.3), 0.7 + 0.8 * (0.6 - 0.7), 0.7])


def test_another_number_of_tokens_forgets():
    memory = ScoreMemory()
    memory.fit(2)
    memory.update(torch.randn(2, 3), torch.tensor([[0.1, 0.2]]))
    memory.fit(3)
    assert memory.attention.isnan().all()
    assert memory.similarity(torch.randn(3, 3), 1).isnan().all()


def tokens(cameras=1, rows=4, columns=5, contour=None):
    cell = np.arange(cameras * rows * columns, dtype=np.int32)
    return VisualTokens(
        features=np.ones((len(cell), 2), np.float32),
        camera=cell // (rows * columns),
        row=cell % (rows * columns) // columns,
        column=cell % columns,
        position=cell,
        age=np.zeros(len(cell), np.float32),
        grid=(rows, columns),
        stamp=0.0,
        contour=np.zeros(0, np.float32) if contour is None else np.array(contour, np.float32),
    )


# u = x / z, v = y / z: a pinhole at the origin that looks along z.
PINHOLE = (1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0)


def test_the_ring_around_the_projected_end_effector_by_hand():
    protect = ProtectSettings(end_effector=True, projection=PINHOLE, ring=1)
    found = protected(tokens(), np.array([0.9, 0.1, 2.0]), protect)  # u 0.45, v 0.05: row 0, col 2
    assert found.nonzero()[0].tolist() == [1, 2, 3, 6, 7, 8]


def test_a_point_behind_or_beside_the_camera_protects_nothing():
    protect = ProtectSettings(end_effector=True, projection=PINHOLE)
    for point in ([0.5, 0.5, -1.0], [3.0, 0.5, 1.0], [0.5, -0.1, 1.0]):
        assert not protected(tokens(), np.array(point), protect).any()
    assert not protected(tokens(), None, protect).any()


def test_only_cameras_with_a_matrix_protect():
    protect = ProtectSettings(end_effector=True, projection=(*(0.0,) * 12, *PINHOLE), ring=0)
    found = protected(tokens(cameras=2), np.array([0.1, 0.1, 1.0]), protect)
    assert found.nonzero()[0].tolist() == [20]


def test_contours_are_protected_above_their_share():
    contour = np.zeros(20)
    contour[[3, 7]] = 0.2, 0.05
    protect = ProtectSettings(contours=0.1)
    assert protected(tokens(contour=contour), None, protect).nonzero()[0].tolist() == [3]


def test_contours_that_perception_does_not_send_are_an_error():
    with pytest.raises(InvalidRecordError, match='signals'):
        protected(tokens(), None, ProtectSettings(contours=0.1))


def test_the_defaults_protect_nothing():
    assert not protected(tokens(), np.ones(3), dataclasses.replace(ProtectSettings())).any()
