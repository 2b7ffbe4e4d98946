# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What steers a fast policy: by hand, and the same as the policy's own where nothing differs."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from efficient_vla import presets
from efficient_vla.action.conditioning import Steer, SteeredPolicy, Steering, keywords
from efficient_vla.action.conditioning.act_token import ActToken
from efficient_vla.action.conditioning.map_pool import MapPool
from efficient_vla.action.conditioning.perceiver import ResampledPlan, shifted
from efficient_vla.action.conditioning.steered import SteeredRegression
from efficient_vla.action.heads import Generator, Given, Made
from efficient_vla.action.policies import DualPolicy, PolicyShape, SinglePolicy
from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.stage import ActionSpace, Actor
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ControlMode, Frame, InvalidRecordError, Plan

SHAPE = PolicyShape(queries=3, width=32, state=2, horizon=4, actions=2)
SIDE = 16


@pytest.fixture
def dual() -> DualPolicy:
    torch.manual_seed(0)
    return DualPolicy(SHAPE).eval()


def steering(kind: type[Steering], dual: DualPolicy) -> Steering:
    torch.manual_seed(1)
    made = kind(**keywords(dual, SHAPE))
    made.begin_as(dual)
    return made.eval()


def space() -> ActionSpace:
    mean, std = np.zeros(2, np.float32), np.array([1.0, 2.0], np.float32)
    names = ('a', 'b')
    mode = ControlMode.JOINT_POSITION
    return ActionSpace(names, mean, std, names, np.array([0.5, 0.25], np.float32), mode, 0.1)


def actor(generator: Generator, rows: int) -> Actor:
    def pixels(images: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.zeros((3, SIDE, SIDE), np.float32)

    return Actor(generator, ('front',), space(), pixels, (rows, SHAPE.width))


def plan(rows: int, stamp: float) -> Plan:
    latents = np.random.default_rng(0).normal(size=(rows, SHAPE.width)).astype(np.float32)
    return Plan(latents, 'go', stamp, 10.0)


def frame(stamp: float, *state: float) -> Frame:
    return Frame({'front': np.zeros((SIDE, SIDE, 3), np.uint8)}, np.float32(state), stamp)


def test_steering_by_the_policys_own_condition_gives_its_own_chunk(dual: DualPolicy) -> None:
    class Own(Steering):
        def condition(self, steer: Steer) -> torch.Tensor:
            found: torch.Tensor = dual.condition(steer.latents.flatten(1))
            return found

    latents, pixels = torch.randn(2, 3, 32), torch.randn(2, 3, SIDE, SIDE)
    state = torch.randn(2, 2)
    policy = SteeredPolicy(dual, steering(Own, dual))
    with torch.no_grad():
        assert torch.equal(policy(Steer(latents), pixels, state), dual(latents, pixels, state))


def test_the_condition_of_a_token_is_its_row_projected(dual: DualPolicy) -> None:
    module = steering(ActToken, dual)
    assert isinstance(module, ActToken)
    latents = torch.randn(1, 4, 32)
    last = latents[0, -1]
    normal = (last - last.mean()) / torch.sqrt(last.var(unbiased=False) + 1e-5)
    weight, bias = module.project[1].weight, module.project[1].bias
    found = module.condition(Steer(latents))
    assert torch.allclose(found[0], weight @ normal + bias, atol=1e-5)
    latents[0, :-1] += 1
    assert torch.equal(module.condition(Steer(latents)), found)


def test_pooling_without_preference_is_the_mean_of_the_rows(dual: DualPolicy) -> None:
    module = steering(MapPool, dual)
    assert isinstance(module, MapPool)
    with torch.no_grad():
        module.places.zero_()
        module.attend.in_proj_weight[: 2 * SHAPE.width] = 0
        module.attend.in_proj_bias.zero_()
        module.attend.in_proj_weight[2 * SHAPE.width :] = torch.eye(SHAPE.width)
        module.attend.out_proj.weight.copy_(torch.eye(SHAPE.width))
        module.attend.out_proj.bias.zero_()
    latents = torch.randn(1, 3, 32)
    rows = nn.functional.layer_norm(latents, (32,))
    expected = module.project(rows.mean(1))
    assert torch.allclose(module.condition(Steer(latents)), expected, atol=1e-6)


def test_a_reference_is_shifted_by_the_rows_that_passed() -> None:
    chunk = torch.arange(1.0, 9.0).view(1, 4, 2).repeat(3, 1, 1)
    rows, valid = shifted(chunk, torch.tensor([0, 3, 9]))
    assert torch.equal(rows[0], chunk[0])
    assert rows[1].tolist() == [[7, 8], [0, 0], [0, 0], [0, 0]]
    assert rows[2].abs().sum() == 0
    assert valid.tolist() == [[True] * 4, [True] + [False] * 3, [False] * 4]


def test_an_image_attends_to_latents_and_the_head_to_the_reference(dual: DualPolicy) -> None:
    module = steering(ResampledPlan, dual)
    features, slow = torch.randn(1, 64, 4, 4), torch.randn(1, 4, 2)
    latents, other = torch.randn(2, 1, 3, 32)
    now, late = torch.tensor([0]), torch.tensor([4])
    with torch.no_grad():
        at_once = module.condition(Steer(latents, slow, now))
        assert not torch.allclose(at_once, module.condition(Steer(latents, -slow, now)))
        gone = module.condition(Steer(latents, slow, late))
        assert torch.equal(gone, module.condition(Steer(latents, -slow, late)))
        seen = module.look(features, at_once, Steer(latents))
        assert not torch.allclose(seen, module.look(features, at_once, Steer(other)))


def test_the_slow_chunk_is_that_of_the_plans_state_counted_from_now(dual: DualPolicy) -> None:
    class Slow(SinglePolicy):
        def forward(self, latents: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            return state[:, None].expand(-1, SHAPE.horizon, -1)

    told: list[Steer] = []

    class Noted(nn.Module):
        def forward(self, steer: Steer, *_: torch.Tensor) -> torch.Tensor:
            told.append(steer)
            return torch.zeros(1, SHAPE.horizon, SHAPE.actions)

    policy = SteeredPolicy(dual, steering(ResampledPlan, dual))
    generator = SteeredRegression(policy, Slow(SHAPE))
    generator.policy = Noted()  # type: ignore[assignment]
    made = actor(generator, SHAPE.queries)
    made.chunk(plan(3, stamp=1.0), frame(1.0, 1.0, 4.0))
    made.chunk(plan(3, stamp=1.0), frame(1.3, 2.0, 5.0))
    first, second = told
    assert [steer.elapsed.tolist() for steer in told if steer.elapsed is not None] == [[0], [3]]
    assert first.slow is not None
    assert second.slow is not None
    # The state of the plan, [1, 4 / 2], and from now on less what was moved, in units of a row.
    assert first.slow[0, 0].tolist() == [1.0, 2.0]
    assert second.slow[0, 0].tolist() == [1.0 - 1 / 0.5, 2.0 - 1 / 0.25]


def test_a_plan_without_the_token_is_refused(dual: DualPolicy) -> None:
    generator = SteeredRegression(SteeredPolicy(dual, steering(ActToken, dual)), None)
    made = actor(generator, SHAPE.queries + 1)
    assert made.chunk(plan(4, 0.0), frame(0.0, 0.0, 0.0)).actions.shape == (4, 2)
    with pytest.raises(InvalidRecordError, match=r'shape \[3, 32\]; the policy expects \[4, 32\]'):
        made.chunk(plan(3, 0.0), frame(0.0, 0.0, 0.0))


def test_reasoner_and_actor_have_one_conditioning() -> None:
    both = {name: build(kind, {'dual.conditioning': 'map_pool'}) for name, kind in KINDS.items()}
    presets.refuse_unmet({'perception': build(ReasonerSettings, {}), **both})
    apart = both | {'actor': build(ActorSettings, {})}
    with pytest.raises(InvalidSettingError, match=r'reasoner\.dual\.conditioning is map_pool and'):
        presets.refuse_unmet({'perception': build(ReasonerSettings, {}), **apart})


KINDS = {'reasoner': ReasonerSettings, 'actor': ActorSettings}


@pytest.mark.parametrize(
    ('kind', 'other'),
    [
        (ActorSettings, {'architecture': 'single'}),
        (ActorSettings, {'head': 'flow', 'architecture': 'single'}),
        (ReasonerSettings, {'ecot.method': 'text'}),
        (ReasonerSettings, {'resampling.method': 'otter'}),
        (ReasonerSettings, {'depth.method': 'mole'}),
        (ReasonerSettings, {'width.method': 'structured'}),
    ],
)
def test_what_was_not_trained_for_the_same_plans_is_refused(kind: type, other: dict) -> None:
    with pytest.raises(InvalidSettingError, match='conditioning'):
        build(kind, {'dual.conditioning': 'act_token', **other})


def test_the_generator_is_asked_for_nothing_that_it_does_not_need(dual: DualPolicy) -> None:
    asked: list[Given] = []

    class Plain(Generator):
        def make(self, given: Given) -> Made:
            asked.append(given)
            return Made(torch.zeros(4, 2), 1)

    actor(Plain(), 3).chunk(replace(plan(3, 0.0)), frame(0.5, 0.0, 0.0))
    assert asked[0].since is None
