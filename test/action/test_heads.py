# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Flow and diffusion: steps against known velocities, clean prefixes, kept features, guidance."""

import math

import pytest
import torch

from efficient_vla.action.guidance import Guidance, guided_velocity, pull_weight, soft_mask
from efficient_vla.action.heads.denoiser import Denoiser
from efficient_vla.action.heads.diffusion import DiffusionHead, mixture
from efficient_vla.action.heads.flow import FlowHead

FEATURES, HORIZON, ACTIONS = 6, 8, 3
SIZES = {'width': 32, 'layers': 2, 'heads': 4, 'patch': 2}


def shaken(head: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Return the head with random weights also where training begins at zero."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return head.eval().requires_grad_(False)


def flow(seed: int = 0) -> FlowHead:
    made = shaken(FlowHead(FEATURES, HORIZON, ACTIONS, **SIZES), seed)
    assert isinstance(made, FlowHead)
    made.mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
    made.std.copy_(torch.tensor([0.5, 2.0, 1.0]))
    return made


class Straight(torch.nn.Module):
    """A velocity that leads from any noise straight to ``goal``; it counts its passes."""

    def __init__(self, goal: torch.Tensor, bend: float = 0.0) -> None:
        super().__init__()
        self.goal, self.bend, self.passes = goal, bend, 0

    def condition(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def forward(self, x, time, span, condition, branches, reuse):
        self.passes += 1
        now = time[:, -1:, None]
        turn = self.bend * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        return (self.goal - x) / (1 - now) + now * turn


def draws(count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(count, FEATURES, generator=generator)
    return features, torch.randn(count, HORIZON, ACTIONS, generator=generator)


@pytest.mark.parametrize('steps', [1, 4, 10])
def test_a_straight_flow_arrives_in_any_number_of_steps(steps):
    head, (features, noise) = flow(), draws()
    goal = torch.linspace(-1, 1, HORIZON * ACTIONS).view(1, HORIZON, ACTIONS)
    head.network = Straight(goal)
    found = head.sample(features, noise, steps)[0]
    assert torch.allclose(found, goal * head.std + head.mean, atol=1e-4)
    assert head.network.passes == steps


def test_steps_are_those_of_euler():
    head, (features, noise) = flow(), draws(2)
    condition = head.network.condition(features)
    x = noise
    for step in range(4):
        time = torch.full((2, HORIZON), step / 4)
        x = x + head.network(x, time, torch.zeros(2), condition) / 4
    assert torch.allclose(head.sample(features, noise, 4)[0], x * head.std + head.mean, atol=1e-6)


def test_a_shortcut_asks_for_the_mean_velocity_of_its_steps():
    head, (features, noise) = flow(), draws()
    asked = head.network(
        noise,
        torch.zeros(1, HORIZON),
        torch.ones(1),
        head.network.condition(features),
    )
    found = head.sample(features, noise, 1, shortcut=True)[0]
    assert torch.allclose(found, (noise + asked) * head.std + head.mean, atol=1e-6)
    assert not torch.allclose(found, head.sample(features, noise, 1)[0], atol=1e-3)


@pytest.mark.parametrize('rows', [0, 1, 5, HORIZON])
def test_prefix_rows_stay_and_steer_the_others(rows):
    head, (features, noise) = flow(), draws()
    first = torch.rand(1, rows, ACTIONS)
    found = head.sample(features, noise, 3, prefix=first)[0]
    assert torch.allclose(found[:, :rows], first, atol=1e-5)
    other = head.sample(features, noise, 3, prefix=first + 1.0)[0]
    assert rows in (0, HORIZON) or not torch.allclose(found[:, rows:], other[:, rows:], atol=1e-4)


def test_rows_know_which_of_them_are_data():
    head, (features, noise) = flow(), draws()
    condition = head.network.condition(features)
    noisy = head.velocity(noise, 0.2, condition)
    clean = head.velocity(noise, 0.2, condition, clean=3)
    assert not torch.allclose(noisy[:, 3:], clean[:, 3:], atol=1e-4)


def test_adaptive_steps_grow_with_the_bend_of_the_way():
    features, noise = draws()
    goal = torch.ones(1, HORIZON, ACTIONS)
    counts = []
    for bend in (0.0, 1.0, 20.0):
        head = flow()
        head.network = Straight(goal, bend)
        _, passes = head.sample_adaptive(features, noise, 1, 8)
        assert passes == head.network.passes
        counts.append(passes)
    assert counts[0] == 2
    assert counts[0] < counts[1] < counts[2] <= 9


def test_adaptive_with_equal_bounds_is_the_fixed_count():
    head, (features, noise) = flow(), draws()
    found, passes = head.sample_adaptive(features, noise, 5, 5)
    assert passes == 6
    assert torch.allclose(found, head.sample(features, noise, 5)[0], atol=1e-6)


def test_a_horizon_that_patches_do_not_fill_is_refused():
    with pytest.raises(ValueError, match='8 is not a multiple of the patch of 3'):
        Denoiser(FEATURES, HORIZON, ACTIONS, patch=3)


def diffusion() -> DiffusionHead:
    made = shaken(DiffusionHead(FEATURES, HORIZON, ACTIONS, **SIZES))
    assert isinstance(made, DiffusionHead)
    return made


def test_mixture_goes_from_noise_to_data_at_unit_power():
    assert mixture(0.0) == (0.0, 1.0)
    assert mixture(1.0) == pytest.approx((1.0, 0.0))
    assert math.hypot(*mixture(0.3)) == pytest.approx(1.0)


def test_ddim_with_the_true_velocity_finds_the_data():
    head, (features, noise) = diffusion(), draws()
    data = torch.linspace(-2, 2, HORIZON * ACTIONS).view(1, HORIZON, ACTIONS)

    class Exact(torch.nn.Module):
        def condition(self, given):
            return given

        def forward(self, x, time, span, condition, branches, reuse):
            signal, spread = mixture(float(time[0, 0]))
            rest = (x - signal * data) / spread
            return signal * rest - spread * data

    head.network = Exact()
    for steps in (1, 3, 10):
        found, passes = head.sample(features, noise, steps)
        assert torch.allclose(found, data, atol=1e-4)
        assert passes == steps


def test_features_kept_for_one_step_are_no_features_kept():
    head, (features, noise) = diffusion(), draws()
    plain, passes = head.sample(features, noise, 6)
    assert passes == 6
    same, passes = head.sample(features, noise, 6, cache_every=1)
    assert passes == 6
    assert torch.equal(plain, same)


def test_kept_features_save_passes_and_change_the_chunk_a_little():
    head, (features, noise) = diffusion(), draws()
    plain, _ = head.sample(features, noise, 6)
    kept, passes = head.sample(features, noise, 6, cache_every=3)
    assert passes == 2
    assert 0 < (kept - plain).abs().max() < (plain - noise).abs().max()


def test_branches_computed_at_the_same_input_give_the_same_pass():
    head, (features, noise) = diffusion(), draws()
    network = head.network
    given = (noise, torch.full((1, HORIZON), 0.4), torch.zeros(1), network.condition(features))
    branches: list[torch.Tensor] = []
    whole = network(*given, branches)
    assert len(branches) == 2 * SIZES['layers']
    assert torch.equal(network(*given, branches, reuse=True), whole)
    later = (noise, torch.full((1, HORIZON), 0.9), *given[2:])
    assert not torch.allclose(network(*later, branches, reuse=True), whole, atol=1e-4)


def test_soft_mask_is_the_papers():
    weights = soft_mask(horizon=10, delay=2, known=6, schedule='exponential')
    assert weights[:2].tolist() == [1.0, 1.0]
    for row in range(2, 6):
        c = (6 - row) / (6 - 2 + 1)
        assert float(weights[row]) == pytest.approx(c * (math.exp(c) - 1) / (math.e - 1))
    assert weights[6:].tolist() == [0.0] * 4


def test_other_schedules_fall_evenly_or_at_once():
    assert soft_mask(6, 1, 4, 'linear').tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])
    assert soft_mask(6, 1, 4, 'hard').tolist() == [1, 0, 0, 0, 0, 0]
    assert soft_mask(6, 9, 4, 'exponential').tolist() == [1, 1, 1, 1, 0, 0]
    assert soft_mask(4, 0, 0, 'exponential').tolist() == [0, 0, 0, 0]


def test_the_pull_is_clipped_at_both_ends_and_smallest_between():
    assert pull_weight(0.0, 5.0) == pull_weight(1.0, 5.0) == 5.0
    assert pull_weight(0.5, 5.0) == pytest.approx((0.25 + 0.25) / 0.25)
    assert pull_weight(0.01, 5.0) == 5.0


def test_the_pull_is_the_vector_jacobian_product_of_a_linear_flow():
    torch.manual_seed(3)
    matrix = torch.randn(HORIZON * ACTIONS, HORIZON * ACTIONS, dtype=torch.float64) * 0.3
    x, target = torch.randn(2, 1, HORIZON, ACTIONS, dtype=torch.float64)
    weights = torch.linspace(1, 0, HORIZON, dtype=torch.float64)
    time = 0.4

    def velocity(at: torch.Tensor) -> torch.Tensor:
        return (at.flatten(1) @ matrix.T).view_as(at)

    with torch.no_grad():
        found = guided_velocity(velocity, x, time, Guidance(target, weights, 100.0))
    # The chunk reached is J x with J = 1 + (1 - t) M, so that the pull is J^T W (y - J x).
    jacobian = torch.eye(HORIZON * ACTIONS, dtype=torch.float64) + (1 - time) * matrix
    error = (target - (jacobian @ x.flatten()).view_as(x)) * weights[:, None]
    weight = (0.4**2 + 0.6**2) / (0.4 * 0.6)
    expected = velocity(x) + weight * (jacobian.T @ error.flatten()).view_as(x)
    assert torch.allclose(found, expected)
    # The shortcut that takes the Jacobian as the identity is something else.
    assert not torch.allclose(found, velocity(x) + weight * error, atol=1e-2)
    assert not found.requires_grad


def test_guidance_draws_the_first_rows_to_the_chunk_before():
    head, (features, noise) = flow(), draws()
    target = torch.full((1, HORIZON, ACTIONS), 0.7)
    weights = soft_mask(HORIZON, 3, 6, 'exponential')
    drawn = Guidance(target, weights, 5.0)
    with torch.no_grad():
        free = head.inner(head.sample(features, noise, 5)[0])
        found = head.inner(head.sample(features, noise, 5, guidance=drawn)[0])
    assert (found - target)[:, :3].abs().mean() < 0.2 * (free - target)[:, :3].abs().mean()


def test_guidance_without_weight_changes_nothing():
    head, (features, noise) = flow(), draws()
    none = Guidance(torch.ones_like(noise), torch.zeros(HORIZON), 5.0)
    with torch.no_grad():
        found = head.sample(features, noise, 4, guidance=none)[0]
        assert torch.allclose(found, head.sample(features, noise, 4)[0], atol=1e-6)
