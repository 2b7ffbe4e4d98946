# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Quaternions, rotation vectors and their rates, against hand computations and differences."""

import math

import numpy as np
import pytest

from efficient_vla.control.rotations import (
    between,
    body_motion,
    exp,
    log,
    product,
    turn,
    vector_motion,
)

HALF = math.sqrt(0.5)
STEP = 1e-4


def test_a_quarter_about_x_and_then_one_about_z():
    about_x, about_z = exp((math.pi / 2, 0.0, 0.0)), exp((0.0, 0.0, math.pi / 2))
    assert about_x == pytest.approx((HALF, 0, 0, HALF))
    assert product(about_z, about_x) == pytest.approx((0.5, 0.5, 0.5, 0.5))
    # z goes to -y, and -y to x.
    assert turn(product(about_z, about_x), (0.0, 0.0, 1.0)) == pytest.approx((1, 0, 0))
    # From a quarter about x on, the axis z of the base is y of the body.
    assert between(about_x, product(about_z, about_x)) == pytest.approx((0, math.pi / 2, 0))


@pytest.mark.parametrize('angle', [0.0, 1e-12, 1e-5, 0.3, 3.0, math.pi - 1e-9])
def test_a_rotation_vector_comes_back_from_its_quaternion(angle):
    vector = (0.6 * angle, 0.0, -0.8 * angle)
    assert log(exp(vector)) == pytest.approx(vector, rel=1e-12, abs=1e-15)


def test_the_way_is_the_shorter_one():
    assert log(exp((0.0, 0.0, 4.0))) == pytest.approx((0, 0, 4 - 2 * math.pi))
    assert log((0.0, 0.0, 0.0, -1.0)) == pytest.approx((0, 0, 0))


def test_a_body_that_is_turned_by_a_quarter_turns_slower_than_its_vector():
    # v = (pi / 2, 0, 0) and v' = (0, 1, 0): v x v' = (0, 0, pi / 2), v x (v x v') = (0, -pi^2 / 4,
    # 0), with the factors -4 / pi^2 and (pi / 2 - 1) * 8 / pi^3.
    rate, _ = body_motion((math.pi / 2, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0))
    assert rate == pytest.approx((0, 2 / math.pi, -2 / math.pi))


def test_about_one_axis_the_rates_are_those_of_the_angle():
    along = [tuple(value * part for part in (0.6, 0.0, 0.8)) for value in (2.0, 3.0, -5.0)]
    rate, change = body_motion(*along)
    assert rate == pytest.approx(along[1])
    assert change == pytest.approx(along[2])


@pytest.mark.parametrize('angle', [0.0, 1e-7, 0.01, 0.4999, 0.5001, 2.0, 3.1])
def test_rates_are_those_of_the_quaternion(angle):
    rng = np.random.default_rng(7)
    start, slope, bend = rng.normal(size=(3, 3))
    start *= angle / np.linalg.norm(start)

    def vector(time):
        return tuple(start + time * slope + time**2 / 2 * bend)

    def rate_at(time):
        return body_motion(vector(time), tuple(slope + time * bend), tuple(bend))[0]

    rate, change = body_motion(*map(tuple, (start, slope, bend)))
    went = np.array(between(exp(vector(-STEP)), exp(vector(STEP))))
    assert went / (2 * STEP) == pytest.approx(np.array(rate), abs=1e-6)
    faster = np.subtract(rate_at(STEP), rate_at(-STEP)) / (2 * STEP)
    assert faster == pytest.approx(np.array(change), abs=1e-5)
    back = vector_motion(tuple(start), rate, change)
    np.testing.assert_allclose(back, [slope, bend], atol=1e-11)


def test_arrays_are_taken_as_floats_are():
    vectors, slopes, bends = np.random.default_rng(8).normal(size=(3, 3, 20))
    rates = np.array(body_motion(tuple(vectors), tuple(slopes), tuple(bends)))
    turned = np.array(log(exp(tuple(vectors))))
    for k in range(20):
        alone = body_motion(*(tuple(values[:, k].tolist()) for values in (vectors, slopes, bends)))
        np.testing.assert_allclose(rates[:, :, k], alone, atol=1e-12)
        single = log(exp(tuple(vectors[:, k].tolist())))
        np.testing.assert_allclose(turned[:, k], single, atol=1e-12)
