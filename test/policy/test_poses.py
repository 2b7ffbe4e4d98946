# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Rotations and references of rows, against matrices of this file and numbers computed by hand."""

from dataclasses import replace

import numpy as np
import pytest

from efficient_vla.columns import ColumnLayout, Kind, Reference
from efficient_vla.poses import (
    canonical,
    counted,
    from_quaternions,
    observed_row,
    rotation_names,
    to_quaternions,
)
from efficient_vla.types import ControlMode, InvalidRecordError

REPRESENTATIONS = (
    *('rotation_vector', 'quaternion_xyzw', 'quaternion_wxyz', 'euler_xyz', 'euler_ZYX'),
    *('euler_zyz', 'columns_6d', 'rows_6d', 'interleaved_6d'),
)
HALF = 0.5**0.5
ABOUT_Z, ABOUT_X = (0.0, 0.0, HALF, HALF), (HALF, 0.0, 0.0, HALF)
"""Quarter turns."""


def turning(axis: int, angle: float) -> np.ndarray:
    """Return the matrix of a turn about an axis."""
    matrix = np.eye(3)
    one, two = (axis + 1) % 3, (axis + 2) % 3
    matrix[one, one] = matrix[two, two] = np.cos(angle)
    matrix[two, one] = np.sin(angle)
    matrix[one, two] = -matrix[two, one]
    return matrix


def matrices(quaternions: np.ndarray) -> np.ndarray:
    """Return the matrices [N, 3, 3] of quaternions [N, 4]."""
    x, y, z, w = quaternions.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest angle between matrices [N, 3, 3]."""
    off = first.transpose(0, 2, 1) @ second
    skew = off - off.transpose(0, 2, 1)
    return float(np.arcsin(np.linalg.norm(skew, axis=(1, 2)).clip(max=1) / 8**0.5).max())


def random_quaternions(count: int, seed: int = 0) -> np.ndarray:
    quaternions = np.random.default_rng(seed).normal(size=(count, 4))
    return quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)


def layout(rotation: str, reference: Reference, frame: str = 'base') -> ColumnLayout:
    names = rotation_names(rotation)
    angles = rotation == 'rotation_vector' or rotation.startswith('euler')
    return ColumnLayout(
        ('x', 'y', 'z', *names, 'gripper'),
        (Kind.POSITION,) * 3 + (Kind.ROTATION,) * len(names) + (Kind.GRIPPER,),
        ('m',) * 3 + ('rad' if angles else '1',) * len(names) + ('effort',),
        (reference,) * (3 + len(names)) + (Reference.ABSOLUTE,),
        rotation,
        frame,
    )


@pytest.mark.parametrize(
    ('rotation', 'numbers', 'expected'),
    [
        ('rotation_vector', (0, 0, np.pi / 2), ABOUT_Z),
        ('quaternion_wxyz', (HALF, HALF, 0, 0), ABOUT_X),
        # About the fixed x, then the fixed z: Rz Rx.
        ('euler_xyz', (np.pi / 2, 0, np.pi / 2), (0.5, 0.5, 0.5, 0.5)),
        # About the x of the body, then its z: Rx Rz.
        ('euler_XYZ', (np.pi / 2, 0, np.pi / 2), (0.5, -0.5, 0.5, 0.5)),
        ('columns_6d', (1, 0, 0, 0, 0, 1), ABOUT_X),
        ('rows_6d', (1, 0, 0, 0, 0, -1), ABOUT_X),
        ('interleaved_6d', (1, 0, 0, 0, 0, 1), ABOUT_X),
        # What a network gives is neither of length 1 nor at right angles.
        ('columns_6d', (2, 0, 0, 0.3, 0, 0.7), ABOUT_X),
        ('quaternion_xyzw', (0, 0, 0.8, 0.8), ABOUT_Z),
    ],
)
def test_a_rotation_is_what_its_representation_says(rotation, numbers, expected):
    found = to_quaternions(np.array(numbers, float), rotation)
    np.testing.assert_allclose(found * np.sign(found @ expected), expected, atol=1e-12)


@pytest.mark.parametrize(
    ('reference', 'frame'),
    [
        (Reference.ABSOLUTE, 'base'),
        *((r, frame) for r in (Reference.ROW, Reference.OBSERVATION) for frame in ('base', 'tool')),
    ],
)
@pytest.mark.parametrize('rotation', REPRESENTATIONS)
def test_ten_thousand_poses_come_back(rotation, reference, frame):
    rng = np.random.default_rng(1)
    told = layout(rotation, reference, frame)
    turns = random_quaternions(10_000)
    rows = np.concatenate([rng.uniform(-1, 1, (10_000, 3)), turns, np.ones((10_000, 1))], axis=1)
    start = np.array([0.4, -0.1, 0.3, *random_quaternions(1, 2)[0], 0.0])
    form = canonical(told, counted(told, rows, start, 0.1), start, 0.1)
    assert angle(matrices(form.actions[:, 3:7].astype(float)), matrices(turns)) < 1e-6
    np.testing.assert_allclose(form.actions[:, [0, 1, 2, 7]], rows[:, [0, 1, 2, 7]], atol=1e-6)


@pytest.mark.parametrize('rotation', REPRESENTATIONS)
@pytest.mark.parametrize('frame', ['base', 'tool'])
def test_rows_from_the_observation_are_composed_as_matrices_are(rotation, frame):
    rng = np.random.default_rng(3)
    turns, places = random_quaternions(100, 4), rng.uniform(-0.3, 0.3, (100, 3))
    start = np.array([0.4, -0.1, 0.3, *random_quaternions(1, 5)[0], 0.0])
    numbers = from_quaternions(turns, rotation)
    rows = np.concatenate([places, numbers, np.zeros((100, 1))], axis=1)
    form = canonical(layout(rotation, Reference.OBSERVATION, frame), rows, start, 0.1)
    here, turned = matrices(start[None, 3:7])[0], matrices(turns)
    tool = frame == 'tool'
    expected = here @ turned if tool else turned @ here
    assert angle(matrices(form.actions[:, 3:7].astype(float)), expected) < 1e-6
    moved = places @ here.T if tool else places
    np.testing.assert_allclose(form.actions[:, :3], start[:3] + moved, atol=1e-6)
    assert (form.control_mode, form.frame) == (ControlMode.EE_POSITION, 'base')


def test_angles_about_axes_are_those_of_the_matrices():
    one, two, three = 0.3, -1.1, 2.0
    fixed = turning(2, three) @ turning(1, two) @ turning(0, one)
    found = matrices(to_quaternions(np.array([[one, two, three]]), 'euler_xyz'))
    np.testing.assert_allclose(found[0], fixed, atol=1e-12)
    body = turning(2, one) @ turning(1, two) @ turning(0, three)
    found = matrices(to_quaternions(np.array([[one, two, three]]), 'euler_ZYX'))
    np.testing.assert_allclose(found[0], body, atol=1e-12)


def test_angles_at_their_singularity_are_a_rotation_all_the_same():
    steep = np.array([[0.4, np.pi / 2, -0.2]])
    quaternions = to_quaternions(steep, 'euler_xyz')
    again = to_quaternions(from_quaternions(quaternions, 'euler_xyz'), 'euler_xyz')
    assert angle(matrices(again), matrices(quaternions)) < 1e-6


def test_an_angular_velocity_turns_for_as_long_as_a_row_lasts():
    told = layout('rotation_vector', Reference.ROW)
    told = replace(told, units=('m/s', 'm/s', 'mm/s', 'deg/s', 'deg/s', 'deg/s', 'effort'))
    row = [[0.2, 0.0, -50.0, 0.0, 0.0, 900.0, 1.0]]
    form = canonical(told, np.array(row), None, 0.1)
    np.testing.assert_allclose(form.actions, [[0.02, 0, -0.005, *ABOUT_Z, 1]], atol=1e-7)
    assert form.control_mode == ControlMode.EE_DELTA


def test_columns_count_from_what_each_of_them_says():
    names = ('pan', 'lift', 'jaw')
    told = ColumnLayout(
        names,
        (Kind.JOINT,) * 3,
        ('deg', 'rad', 'mm'),
        (Reference.ROW, Reference.OBSERVATION, Reference.ABSOLUTE),
    )
    state = observed_row(told, np.array([90.0, 0.5, 20.0]))
    form = canonical(told, np.array([[18.0, 0.1, 30.0], [36.0, 0.2, 40.0]]), state, 0.1)
    expected = [[np.pi / 10, 0.6, 0.03], [np.pi / 5, 0.7, 0.04]]
    np.testing.assert_allclose(form.actions, expected, rtol=1e-6)
    assert (form.control_mode, form.absolute) == (ControlMode.JOINT_DELTA, ('lift', 'jaw'))


@pytest.mark.parametrize(
    ('rotation', 'numbers', 'words'),
    [
        ('quaternion_xyzw', (0.1, 0.0, 0.0, 0.5), 'length 0.5099'),
        ('quaternion_xyzw', (0.0, 0.0, 0.0, 0.0), 'length 0;'),
        ('columns_6d', (1.0, 0.0, 0.0, 2.0, 0.01, 0.0), 'span no plane'),
        ('rows_6d', (0.0, 0.0, 0.0, 0.0, 1.0, 0.0), 'span no plane'),
        ('euler_xyz', (90.0, 0.0, 0.0), 'angle of 90 rad'),
        ('rotation_vector', (np.nan, 0.0, 0.0), '1 values that are not finite'),
        ('euler_xxy', (0.0, 0.0, 0.0), "rotation is 'euler_xxy'; expected one of"),
    ],
)
def test_what_is_no_rotation_is_refused(rotation, numbers, words):
    told = layout(rotation, Reference.ABSOLUTE)
    row = np.array([[0.1, 0.2, 0.3, *numbers, 1.0]])
    with pytest.raises(InvalidRecordError, match=words):
        canonical(told, row, None, 0.1)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'frame': 'tool'}, 'frame of the tool'),
        ({'units': ('m',) * 3 + ('1',) * 3 + ('effort',)}, "rotation_vector is in '1'"),
        ({'units': ('m',) * 3 + ('rad', 'rad', 'deg', 'effort')}, 'units of several kinds'),
        ({'rotation': 'quaternion_xyzw', 'units': ('m',) * 3 + ('1',) * 3 + ('effort',)}, '4 in a'),
        ({'names': ('x', 'y', 'u', 'rx', 'ry', 'rz', 'gripper')}, 'column u is of kind POSITION'),
        ({'names': ('x', 'y', 'z', 'rx', 'ry', 'rz', 'jaw')}, 'Call a position or a width jaw'),
        ({'units': ('m/s',) + ('m',) * 2 + ('rad',) * 3 + ('effort',)}, 'as a velocity has it'),
    ],
)
def test_columns_that_cannot_be_are_refused(changes, words):
    def read():
        told = replace(layout('rotation_vector', Reference.ABSOLUTE), **changes)
        canonical(told, np.zeros((1, 7)), None, 0.1)

    with pytest.raises(InvalidRecordError, match=words):
        read()
