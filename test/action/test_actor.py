# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The actor's memory: measured delays, the chunk before, and what each head makes of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from efficient_vla.action.catalogue import TOKENIZERS, decodings
from efficient_vla.action.guidance import soft_mask
from efficient_vla.action.heads import Generator, Given, Made
from efficient_vla.action.heads.flow import Flow, FlowHead
from efficient_vla.action.heads.regression import Regression
from efficient_vla.action.heads.token_decoder import TokenDecoder
from efficient_vla.action.heads.tokens import Tokens
from efficient_vla.action.policies import PolicyShape, SinglePolicy
from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.stage import ActionSpace, Actor
from efficient_vla.action.tokenizers.bins import BinTokenizer
from efficient_vla.action.tokenizers.fast import FastTokenizer
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ControlMode, Execution, Frame, HeadHelp, InvalidRecordError, Plan

HORIZON, DT = 8, 0.1
HELP = {'rtc': HeadHelp.INPAINT, 'rtc_trained': HeadHelp.PREFIX}
SPACE = ActionSpace(
    state_names=('x', 'y'),
    state_mean=np.array([1.0, 0.0], np.float32),
    state_std=np.array([2.0, 1.0], np.float32),
    names=('x', 'gripper'),
    scale=np.array([0.5, 1.0], np.float32),
    control_mode=ControlMode.EE_DELTA,
    dt=DT,
)


class Counting(Generator):
    """Makes chunks whose rows count up from 100 times their number; remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Given] = []

    def make(self, given: Given) -> Made:
        self.seen.append(given)
        rows = 100.0 * len(self.seen) + torch.arange(HORIZON)
        return Made(rows[:, None].repeat(1, 2), steps=3, delay=2, note='mended')


def actor(generator) -> Actor:
    return Actor(generator, ('front',), SPACE, lambda images: images['front'], (2, 3))


def plan(seed: int = 0, instruction: str = 'push') -> Plan:
    latents = np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)
    return Plan(latents, instruction, stamp=0.0, valid_for=1.0)


def execution(stamp: float, **values) -> Execution:
    """Of a chunk that was followed from its observation on, which has no measured delay."""
    usual = {'time': stamp, 'row': 0.0, 'time_scale': 1.0, 'delay': math.nan, 'blending': ''}
    values['help'] = HELP.get(values.get('blending', ''), HeadHelp.NONE)
    return Execution(stamp=stamp, **{**usual, **values})


def told(made: Actor, rows: float, blending: str = 'offset_fade') -> None:
    """Let a controller say how it joins chunks, and that ``rows`` were executed until one came."""
    made.note_execution(execution(-rows, delay=rows, blending=blending))


def frame(stamp: float) -> Frame:
    return Frame({}, np.array([1.0, 0.5], np.float32), stamp)


def test_a_plan_starts_from_the_state_of_its_frame_however_many_chunks_came_since() -> None:
    generator = Counting()
    generator.needs_since = True
    made = actor(generator)
    for number in range(200):
        # The state counts the frames; plans of frames 0 and 150.
        here = replace(frame(0.01 * number), state=np.array([number, 0.5], np.float32))
        made.chunk(replace(plan(), stamp=0.0 if number < 150 else 1.5, valid_for=9.0), here)
    for number, start in ((149, 0.0), (199, 150.0)):
        since = generator.seen[number].since
        assert since.rows.item() == round(0.01 * (number - start) / DT)
        assert since.state[0, 0].item() == pytest.approx((start - 1.0) / 2.0)


def settings(**values) -> ActorSettings:
    named = {name.replace('__', '.'): value for name, value in values.items()}
    return build(ActorSettings, {'architecture': 'single', **named})


def flow(**values) -> Flow:
    torch.manual_seed(0)
    single = SinglePolicy(PolicyShape(2, 3, 2, HORIZON, 2), hidden=16)
    head = FlowHead(single.width, HORIZON, 2, width=32, layers=1, heads=2, patch=2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return Flow(single.eval(), head.eval(), settings(head='flow', **values))


def test_the_record_says_units_steps_delay_and_note():
    made = actor(Counting()).chunk(plan(), frame(2.0))
    # Scaled, and the effort, 101 as the head says it, saturates.
    assert made.actions[1].tolist() == [50.5, 1.0]
    assert (made.steps, made.delay, made.note) == (
        3,
        2,
        'mended; gripper 107 taken as its end',
    )
    assert (made.stamp, made.sequence, made.dt) == (2.0, 1, DT)


def test_positions_are_counted_from_the_measured_state_and_mean_the_same_in_another():
    space = replace(SPACE, control_mode=ControlMode.EE_POSITION)
    rows, before, now = np.ones((2, 2)), np.array([3.0, 8.0]), np.array([4.0, 9.0])
    assert space.actions(rows, before).tolist() == [[3.5, 1.0]] * 2
    carried = space.carried(rows, before, now)
    assert space.actions(carried, now).tolist() == space.actions(rows, before).tolist()
    assert np.array_equal(SPACE.carried(rows, before, now), rows)


def test_the_greatest_of_the_last_ten_delays_is_assumed():
    made = actor(Counting())
    assert made.delay == 0
    for stamp, rows in enumerate((7.0, math.nan, *[2.2] * 9)):
        made.note_execution(execution(float(stamp), delay=rows))
    assert made.delay == 7
    made.note_execution(execution(20.0, delay=3.0000002))
    assert made.delay == 3
    made.reset()
    assert made.delay == 3


def test_the_head_gets_the_rows_of_the_chunk_before_that_are_ahead():
    counting = Counting()
    made = actor(counting)
    told(made, 3)
    for stamp in (0.0, 0.3, 0.3, 2.0):
        made.chunk(plan(), frame(stamp))
    first, second, third, late = (given.before for given in counting.seen)
    assert first is None
    assert second[:, 0].tolist() == [103.0, 104.0, 105.0, 106.0, 107.0]
    assert third[:, 0].tolist() == [200.0 + row for row in range(HORIZON)]
    assert late is None
    assert counting.seen[1].delay == 3


def test_rows_are_counted_from_where_the_robot_is_in_the_chunk():
    counting = Counting()
    made = actor(counting)
    made.chunk(plan(), frame(1.0))
    # It waited and has begun the chunk now; of another chunk nothing is known.
    made.note_execution(execution(1.0, time=1.4, row=0.0))
    made.chunk(plan(), frame(1.4 + 2 * DT))
    made.note_execution(execution(1.0, time=1.5, row=7.0))
    made.chunk(plan(), frame(1.4 + 3 * DT))
    # Half as fast from here on.
    stamp = 1.4 + 3 * DT
    made.note_execution(execution(stamp, time=stamp + 2 * DT, row=1.0, time_scale=0.5))
    made.chunk(plan(), frame(stamp + 4 * DT))
    made.note_execution(execution(stamp + 4 * DT, time=2.0, row=1.0, time_scale=0.0))
    made.chunk(plan(), frame(2.0))
    waited, unknown, slowed, standing = (given.before for given in counting.seen[1:])
    assert waited[:, 0].tolist() == [100.0 + row for row in range(2, HORIZON)]
    assert unknown[:, 0].tolist() == [200.0 + row for row in range(1, HORIZON)]
    assert slowed[:, 0].tolist() == [300.0 + row for row in range(2, HORIZON)]
    assert standing is None
    assert made.delay == 0


def test_a_controller_that_dropped_the_chunk_executes_none_of_it():
    counting = Counting()
    made = actor(counting)
    made.chunk(plan(), frame(1.0))
    made.note_execution(execution(1.0, time_scale=0.1))
    made.note_execution(None)
    made.chunk(plan(), frame(1.2))
    made.note_execution(execution(1.2, time_scale=0.1))
    made.reset()
    made.chunk(plan(), frame(1.3))
    assert [given.before for given in counting.seen] == [None, None, None]
    assert counting.seen[-1].help is HeadHelp.NONE


def test_the_rows_ahead_are_those_of_the_chunk_that_the_robot_follows():
    counting = Counting()
    made = actor(counting)
    made.chunk(plan(), frame(0.0))
    made.note_execution(execution(0.0, time=0.05, delay=1.0))
    made.chunk(plan(), frame(0.1))
    # Just made, it may still be on its way.
    made.note_execution(execution(0.0, time=0.15, row=1.5))
    made.chunk(plan(), frame(0.2))
    assert counting.seen[2].before[0, 0] == pytest.approx(200 + round(0.1 / DT))
    # By now the controller would have the third and the second; it still tells of the first.
    made.note_execution(execution(0.0, time=0.7, row=6.0, time_scale=0.5))
    made.chunk(plan(), frame(0.7))
    assert counting.seen[3].before[0, 0] == 100 + 6


def test_a_plan_of_another_policy_is_refused():
    latents = np.zeros((2, 5), np.float32)
    with pytest.raises(InvalidRecordError, match=r'shape \[2, 5\]; the policy expects \[2, 3\]'):
        actor(Counting()).chunk(Plan(latents, 'push', stamp=0.0, valid_for=1.0), frame(0.0))


def test_a_delay_counts_once_a_chunk():
    made = actor(Counting())
    made.note_execution(execution(1.0, delay=9.0))
    for _ in range(9):
        made.note_execution(execution(2.0, delay=2.0))
    assert made.delay == 9
    for stamp in range(3, 13):
        made.note_execution(execution(float(stamp), delay=2.0))
    assert made.delay == 2


def test_a_head_that_cannot_guide_says_so():
    for blending in ('rtc', 'rtc_trained'):
        with pytest.raises(InvalidSettingError, match=f'method is {blending}, but this head'):
            actor(Counting()).note_execution(execution(0.0, blending=blending))


def test_a_reset_and_a_step_back_in_time_forget_the_chunk_before():
    counting = Counting()
    made = actor(counting)
    made.chunk(plan(), frame(1.0))
    made.chunk(plan(), frame(0.5))
    made.reset()
    made.chunk(plan(), frame(0.6))
    assert [given.before for given in counting.seen] == [None, None, None]


def test_the_head_hears_of_a_new_instruction():
    counting = Counting()
    made = actor(counting)
    for instruction in ('push', 'push', 'pull'):
        made.chunk(plan(instruction=instruction), frame(0.0))
    assert [given.same_task for given in counting.seen] == [True, True, False]


def test_the_head_hears_of_a_new_subtask():
    counting = Counting()
    made = actor(counting)
    for subtask in ('', 'reach', 'reach', 'lift'):
        made.chunk(replace(plan(), subtask=subtask), frame(0.0))
    assert [given.same_task for given in counting.seen] == [True, False, True, False]


def test_a_state_of_the_wrong_width_is_refused():
    wrong = Frame({}, np.zeros(3, np.float32), 0.0)
    with pytest.raises(InvalidRecordError, match='has 3 numbers; the policy expects 2: x, y'):
        actor(Counting()).chunk(plan(), wrong)


def test_regression_gives_what_the_policy_gives():
    torch.manual_seed(0)
    single = SinglePolicy(PolicyShape(2, 3, 2, HORIZON, 2), hidden=16).eval()
    made = actor(Regression(single)).chunk(plan(), frame(0.0))
    state = torch.tensor([[0.0, 0.5]])
    direct = single(torch.from_numpy(plan().latents)[None], state)[0].detach().numpy()
    assert np.allclose(made.actions, direct * SPACE.scale, atol=1e-6)
    assert (made.steps, made.delay, made.note) == (1, 0, '')


def test_after_a_reset_the_noise_is_the_same_again():
    made = actor(flow())
    first, second = (made.chunk(plan(), frame(0.0)).actions for _ in range(2))
    made.reset()
    assert np.array_equal(made.chunk(plan(), frame(0.0)).actions, first)
    assert not np.array_equal(first, second)


def test_trained_guidance_keeps_the_rows_that_will_be_executed():
    made = actor(flow())
    told(made, 3, 'rtc_trained')
    before = made.chunk(plan(0), frame(0.0))
    after = made.chunk(plan(1), frame(2 * DT))
    assert before.delay == 0
    assert after.delay == 3
    assert np.allclose(after.actions[:3], before.actions[2:5], atol=1e-6)
    assert not np.allclose(after.actions[3:6], before.actions[5:8], atol=1e-3)


def test_a_delay_longer_than_what_is_left_ends_with_it():
    made = actor(flow())
    told(made, 20, 'rtc_trained')
    made.chunk(plan(0), frame(0.0))
    assert made.chunk(plan(1), frame(6 * DT)).delay == 2


def test_guidance_draws_to_the_chunk_before_inside_inference_mode():
    gaps = []
    for blending in ('offset_fade', 'rtc'):
        made = actor(flow(flow__steps=5, flow__shortcut=False))
        told(made, 3, blending)
        before = made.chunk(plan(0), frame(0.0)).actions
        after = made.chunk(plan(1), frame(2 * DT))
        gaps.append(np.abs(after.actions[:3] - before[2:5]).mean())
        assert after.steps == 5
    assert gaps[1] < 0.3 * gaps[0]


def test_rows_draw_up_to_the_execution_horizon_and_for_another_task_only_certain_ones(monkeypatch):
    asked = []

    def noted(*arguments):
        asked.append(arguments)
        return soft_mask(*arguments)

    monkeypatch.setattr('efficient_vla.action.heads.flow.soft_mask', noted)
    made = actor(flow(guidance__steps=2))
    told(made, 1, 'rtc')
    made.chunk(plan(0, 'push'), frame(0.0))
    made.chunk(plan(0, 'push'), frame(DT))
    made.chunk(plan(0, 'pull'), frame(2 * DT))
    assert asked == [(HORIZON, 1, 7, 'exponential'), (HORIZON, 1, 7, 'hard')]
    for horizon, pulling in ((4, 4), (2, 3)):
        changed = {'guidance__steps': 2, 'guidance__execution_horizon': horizon}
        made.configure(settings(head='flow', **changed))
        told(made, 3, 'rtc')
        made.chunk(plan(0, 'pull'), frame(3 * DT))
        # No shorter than what will be executed of the chunk before.
        assert asked[-1][1:3] == (3, pulling)


def test_settings_change_the_next_chunk():
    made = actor(flow(flow__steps=2))
    assert made.chunk(plan(), frame(0.0)).steps == 2
    made.configure(settings(head='flow', flow__steps=5))
    assert made.chunk(plan(), frame(0.0)).steps == 5


LACKING = {'consistency': 'none fits'}


def tokens(tokenizer, **values) -> Tokens:
    torch.manual_seed(0)
    single = SinglePolicy(PolicyShape(2, 3, 2, tokenizer.shape[0], 2), hidden=16).eval()
    decoder = TokenDecoder(single.width, tokenizer.size, tokenizer.length, 16, 1, 2).eval()
    return Tokens(single, tokenizer, decoder, {}, settings(head='tokens', **values), LACKING)


def test_exact_decodings_make_the_same_chunk_in_different_passes():
    bins = BinTokenizer(HORIZON, [-1.0, -1.0], [1.0, 1.0], bins=16)
    made = actor(tokens(bins, tokens__tokenizer='bins'))
    found = {}
    for method in ('autoregressive', 'jacobi', 'speculative'):
        values = {'tokens__tokenizer': 'bins', 'decoding__method': method}
        made.configure(settings(head='tokens', **values))
        found[method] = made.chunk(plan(), frame(0.0))
    reference = found['autoregressive']
    assert reference.steps == HORIZON * 2
    for chunk in found.values():
        assert np.array_equal(chunk.actions, reference.actions)


def test_a_decoding_gets_its_own_decoder_its_passes_and_its_tolerance():
    bins = BinTokenizer(HORIZON, [-1.0, -1.0], [1.0, 1.0], bins=16)
    usual = {'tokens__tokenizer': 'bins'}
    shared = tokens(bins, **usual, decoding__method='autoregressive')
    student = TokenDecoder(shared.single.width, bins.size, bins.length, 16, 1, 2).eval()
    with torch.no_grad():
        student.out.bias[3] += 1e3  # says bin 3, whatever it is asked
    given = settings(head='tokens', **usual, decoding__method='consistency', decoding__max_steps=2)
    own = Tokens(shared.single, bins, shared.decoder, {'consistency': student}, given, {})
    taught = actor(own).chunk(plan(), frame(0.0))
    assert taught.steps == 2
    middle = -1 + 3.5 * 2 / 16
    assert np.allclose(taught.actions, [[middle * 0.5, middle]] * HORIZON, atol=1e-6)
    passes = []
    for accept in (0, 64):
        words = {'decoding__method': 'speculative', 'decoding__accept': accept}
        shared.configure(settings(head='tokens', **usual, **words))
        passes.append(actor(shared).chunk(plan(), frame(0.0)).steps)
    # 64 bins are more than there are: the draft is taken as it is.
    assert passes[0] > passes[1] == 1


def test_malformed_tokens_are_noted_in_the_record_and_none_is_no_chunk():
    fast = FastTokenizer(HORIZON, [-1.0, -1.0], [1.0, 1.0], [4.0, 4.0], 0.0, -3, 7, [], 6)
    values = {'tokens__tokenizer': 'fast', 'decoding__method': 'autoregressive'}
    generator = tokens(fast, **values)
    with torch.no_grad():
        generator.decoder.out.bias[fast.end] = -1e3
    made = actor(generator).chunk(plan(), frame(0.0))
    assert made.note == '10 of 16 coefficients were missing: taken as 0; the end was missing'
    with torch.no_grad():
        generator.decoder.out.bias[fast.end] = 1e3
    with pytest.raises(InvalidRecordError, match='at least one for each of 2 actions'):
        actor(generator).chunk(plan(), frame(0.0))


def test_consistency_without_its_student_is_refused_with_the_reason():
    bins = BinTokenizer(HORIZON, [-1.0, -1.0], [1.0, 1.0], bins=16)
    generator = tokens(bins, tokens__tokenizer='bins')
    wanted = {'tokens__tokenizer': 'bins', 'decoding__method': 'consistency'}
    with pytest.raises(InvalidSettingError, match='is consistency, but none fits'):
        generator.configure(settings(head='tokens', **wanted))


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'architecture': 'dual', 'head': 'flow'}, 'Set architecture to single'),
        ({'head': 'flow', 'flow__steps': 3}, 'expected one of 1, 2, 5'),
        ({'head': 'flow', 'flow__adaptive': True}, 'number of steps known before'),
        (
            {
                'head': 'flow',
                'flow__adaptive': True,
                'flow__shortcut': False,
                'flow__min_steps': 5,
                'flow__max_steps': 4,
            },
            'at most flow.max_steps 4',
        ),
        (
            {'head': 'tokens', 'tokens__tokenizer': 'fast'},
            'expected one of autoregressive, jacobi, speculative',
        ),
        ({'head': 'tokens', 'decoding__method': 'jacobi'}, 'tokens.tokenizer univla'),
        (
            {
                'head': 'tokens',
                'tokens__tokenizer': 'fast',
                'decoding__method': 'speculative',
                'decoding__accept': 2,
            },
            'only a draft of bins',
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused_with_the_reason(values, reason):
    with pytest.raises(InvalidSettingError, match=reason):
        settings(**values)


def test_every_tokenizer_has_its_decodings():
    assert decodings('bins') == (
        'parallel',
        'autoregressive',
        'jacobi',
        'speculative',
        'consistency',
    )
    assert decodings('fast') == ('autoregressive', 'jacobi', 'speculative')
    for tokenizer in TOKENIZERS:
        for method in decodings(tokenizer):
            values = {'tokens__tokenizer': tokenizer, 'decoding__method': method}
            assert settings(head='tokens', **values).decoding.method == method
