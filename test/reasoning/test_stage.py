# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The reasoner spends tokens as its settings say, and tells how."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import AutoModel, LlamaConfig, MambaConfig

from efficient_vla.reasoning import selection
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.ecot.thinker import Thinker
from efficient_vla.reasoning.memory import ScoreMemory
from efficient_vla.reasoning.pruning import METHODS, load
from efficient_vla.reasoning.selection import drop_layers, observed_layers
from efficient_vla.reasoning.settings import PRUNING_METHODS, PruningSettings, ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import InvalidRecordError, VisualTokens

WIDTH, DEPTH, SIDE = 32, 6, 6
COUNT = SIDE * SIDE
NAMES = ('x', 'y', 'z', 'gripper')


def words(text):
    return {'input_ids': [ord(letter) % 40 for letter in text.replace(' ', '')][:8]}


def trunk():
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=DEPTH,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=40,
        initializer_range=0.1,
    )
    return Trunk(AutoModel.from_config(config), 2).eval()


class Brightest(torch.nn.Module):
    def forward(self, tokens):
        return tokens[:, 0]


def reasoner(**values):
    settings = build(ReasonerSettings, {name.replace('__', '.'): v for name, v in values.items()})
    scorers = {'fastdrivevla': Brightest()}
    return Reasoner(trunk(), words, COUNT, settings, NAMES, scorers)


def change(stage, **values):
    values = {name.replace('__', '.'): v for name, v in values.items()}
    stage.configure(build(ReasonerSettings, values, stage._settings))


def tokens(stamp=0.0, seed=0, moved=(), epoch=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(COUNT, WIDTH)).astype(np.float32)
    features[list(moved)] += 1.0
    cell = np.arange(COUNT, dtype=np.int32)
    saliency = rng.random(COUNT).astype(np.float32)
    return VisualTokens(
        features=features,
        camera=np.zeros(COUNT, np.int32),
        row=cell // SIDE,
        column=cell % SIDE,
        position=cell,
        age=np.zeros(COUNT, np.float32),
        grid=(SIDE, SIDE),
        stamp=stamp,
        epoch=epoch,
        contour=rng.random(COUNT).astype(np.float32) * (cell % 3 == 0),
        saliency=saliency / saliency.sum(),
    )


def test_every_method_of_the_settings_has_a_selector():
    assert set(METHODS) == set(PRUNING_METHODS) - {'none'}


@pytest.mark.parametrize('method', METHODS)
def test_identity_keeping_all_tokens_is_dense(method):
    dense = reasoner().plan(tokens(), 'open it')
    plan = reasoner(pruning__method=method, pruning__keep=1.0).plan(tokens(), 'open it')
    assert np.array_equal(plan.latents, dense.latents)
    assert len(plan.kept) == COUNT


@pytest.mark.parametrize('method', METHODS)
def test_identity_a_selection_that_loses_nothing_is_dense(method, monkeypatch):
    """Every token is protected beside the budget, so that hooks, scores and choice all run."""
    asked = []
    score = load(method)
    monkeypatch.setattr(selection, 'load', lambda _: lambda view: asked.append(view) or score(view))
    whole = dataclasses.replace(tokens(), contour=np.ones(COUNT, np.float32))
    settings = {'pruning__protect__contours': 0.5, 'pruning__protect__beyond': True}
    stage = reasoner(pruning__method=method, pruning__keep=0.25, **settings)
    plan = stage.plan(whole, 'open it')
    assert asked[0].count == COUNT // 4
    assert len(asked[0].attention) == METHODS[method].looks_back
    assert len(plan.kept) == COUNT
    assert np.array_equal(plan.latents, reasoner().plan(whole, 'open it').latents)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('keep', [0.5, 0.25])
def test_no_method_keeps_more_than_the_budget(method, keep):
    stage = reasoner(pruning__method=method, pruning__keep=keep, pruning__min_tokens=1)
    for step in range(3):
        stage.observe(np.array([0.2 * step, 0, 0, 1]), 0.2 * step)
        plan = stage.plan(tokens(0.2 * step, seed=step), 'open it')
        assert 1 <= len(plan.kept) <= round(keep * COUNT)
        assert (np.diff(plan.kept) > 0).all()
        assert plan.tokens_total == COUNT
        assert method in plan.reason


@pytest.mark.parametrize('method', METHODS)
def test_min_tokens_is_a_floor(method):
    stage = reasoner(pruning__method=method, pruning__keep=0.01, pruning__min_tokens=9)
    assert len(stage.plan(tokens(), 'open it').kept) == 9


def test_protected_tokens_survive_the_random_control():
    contour = tokens().contour
    protect = np.sort(contour.argsort()[-5:])
    limit = float(contour[protect].min())
    stage = reasoner(pruning__method='random', pruning__keep=0.3, pruning__protect__contours=limit)
    for step in range(5):
        plan = stage.plan(tokens(0.1 * step), 'open it')
        assert plan.protected.tolist() == protect.tolist()
        assert np.isin(protect, plan.kept).all()


def test_fine_work_gives_all_tokens_back():
    stage = reasoner(pruning__method='fastv', pruning__gate__method='speed')
    kept = []
    for speed, start in ((0.5, 0.0), (0.01, 1.0)):
        for stamp in np.arange(start, start + 1.0, 0.05):
            place = speed * (stamp - start) + start
            stage.observe(np.array([place, 0.0, 0.0, 1.0]), float(stamp))
        plan = stage.plan(tokens(float(stamp)), 'open it')
        kept.append(len(plan.kept))
    assert kept == [COUNT // 2, COUNT]
    assert 'fine work at 0.010 m/s' in plan.reason


def drive(stage, velocity, seconds=1.0, start=0.0, place=(0.0, 0.0, 0.0)):
    """Tell the stage of a straight way; return the last stamp and place."""
    steps = round(seconds / 0.05)
    for step in range(steps + 1):
        now = np.array(place) + 0.05 * step * np.array(velocity)
        stage.observe(np.append(now, 1.0), start + 0.05 * step)
    return start + seconds, tuple(now)


def test_a_fast_arm_leaves_sp_vla_fewer_tokens_than_a_slow_one():
    kept = []
    for speed in (0.1, 0.6, 0.8):
        stage = reasoner(pruning__method='sp_vla', pruning__keep=0.95)
        stamp, _ = drive(stage, (speed, 0.0, 0.0))
        kept.append(len(stage.plan(tokens(stamp), 'open it').kept))
    saliency = np.sort(tokens().saliency)[::-1].cumsum()
    # Relative speeds 0.125, 0.75 and 1 keep a mass of 1, 0.55 and 0.1.
    nucleus = [int((saliency < mass).sum()) + 1 for mass in (0.55, 0.1)]
    assert kept == [round(0.95 * COUNT), nucleus[0], max(8, nucleus[1])]


def test_the_end_effector_of_the_robot_state_is_protected():
    pinhole = (1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0)
    stage = reasoner(
        pruning__method='random',
        pruning__keep=0.25,
        pruning__protect__end_effector=True,
        pruning__protect__projection=pinhole,
        pruning__protect__ring=0,
    )
    stage.observe(np.array([0.9, 0.4, 1.0, 1.0]), 0.0)  # row 2, column 5 of six
    plan = stage.plan(tokens(), 'open it')
    assert plan.protected.tolist() == [2 * SIDE + 5]
    assert '1 protected' in plan.reason


def test_specprune_compares_with_a_plan_as_long_ago_as_the_speed_says(monkeypatch):
    plans = []
    similarity = ScoreMemory.similarity
    monkeypatch.setattr(
        ScoreMemory, 'similarity', lambda m, f, n: plans.append(n) or similarity(m, f, n)
    )
    for speed in (0.1, 0.42):  # 0.125 and 0.525 of 0.8 m/s
        stage = reasoner(pruning__method='specprune')
        stamp, _ = drive(stage, (speed, 0.0, 0.0))
        stage.plan(tokens(stamp), 'open it')
    assert plans == [10, 8]


def test_memory_listens_to_the_middle_of_the_depth_and_specprune_to_the_end_too():
    def layers(method, depth, reuse=True):
        settings = build(PruningSettings, {'method': method})
        return observed_layers(settings, Layers.all_of(depth), reuse)

    assert layers('none', 32) == layers('fastv', 32) == {15}
    assert layers('none', 8) == {4}
    assert layers('specprune', 32, False) == {15, 31}
    assert layers('fastv', 32, False) == frozenset()


def test_specprune_drops_a_share_again_at_later_layers():
    settings = {'pruning__specprune__fine': 1.0, 'pruning__keep': 0.5}
    for later, kept in ((0.0, 18), (0.2, 14), (0.5, 9)):  # 18 less round(0.2 * 18)
        stage = reasoner(pruning__method='specprune', pruning__specprune__later=later, **settings)
        assert len(stage.plan(tokens(), 'open it').kept) == kept


def test_a_steady_frame_is_answered_by_the_plan_before_with_its_age():
    stage = reasoner(pruning__method='fastv', schedule__method='steady', plan_validity=0.5)
    stamp, place, plans = 0.0, (0.0, 0.0, 0.0), []
    for step in range(4):
        stamp, place = drive(stage, (0.1, 0.0, 0.0), 0.2, 0.2 * step, place)
        plans.append(stage.plan(tokens(stamp, seed=0), 'open it'))
    passes, again = plans[:2], plans[2]
    assert all('fastv kept' in plan.reason and not len(plan.reused) for plan in passes)
    assert 'plan before: steady' in again.reason
    assert again.stamp == pytest.approx(0.6)
    assert again.valid_for == pytest.approx(0.5 - 0.2)
    assert again.sequence == 3
    assert np.array_equal(again.latents, passes[1].latents)
    assert np.array_equal(again.reused, passes[1].kept)
    assert again.reused_age.tolist() == pytest.approx([0.2] * len(again.kept))
    assert plans[3].reused_age.tolist() == pytest.approx([0.4] * len(again.kept))
    assert plans[3].valid_for == pytest.approx(0.1)


@pytest.mark.parametrize(
    'change',
    [
        {'sentence': 'close it'},
        {'epoch': 1},
        {'late': 0.51},
    ],
)
def test_another_sentence_epoch_or_an_old_state_is_never_answered_by_the_plan_before(change):
    stage = reasoner(schedule__method='steady')
    stamp, place = 0.0, (0.0, 0.0, 0.0)
    for step in range(3):
        stamp, place = drive(stage, (0.1, 0.0, 0.0), 0.2, 0.2 * step, place)
        last = step == 2
        plan = stage.plan(
            tokens(
                stamp + (change.get('late', 0.0) + 0.01 if last else 0.0),
                epoch=last * change.get('epoch', 0),
            ),
            change.get('sentence', 'open it') if last else 'open it',
        )
    assert not len(plan.reused)


def test_an_outlived_plan_is_not_used_again():
    stage = reasoner(schedule__method='steady', plan_validity=0.2)
    stamp, place = 0.0, (0.0, 0.0, 0.0)
    for step in range(3):
        stamp, place = drive(stage, (0.1, 0.0, 0.0), 0.25, 0.25 * step, place)
        plan = stage.plan(tokens(stamp), 'open it')
    assert not len(plan.reused)


class Echo(Thinker):
    """Says how often it was asked."""

    def __init__(self):
        super().__init__(2, WIDTH, ['go'], hidden=4)
        self.said = 0

    def say(self, latents, parts):
        self.said += 1
        return [f'{part} {self.said}' for part in parts]


def test_words_are_those_of_the_sentence_and_episode_that_hold():
    settings = build(ReasonerSettings, {'ecot.method': 'text', 'ecot.change': 2.0})
    stage = Reasoner(trunk(), words, COUNT, settings, NAMES, {'ecot': Echo()})
    assert stage.plan(tokens(0.0), 'open it').text == 'subtask 1; movement 1'
    assert stage.plan(tokens(0.1), 'open it').text == 'subtask 1; movement 1'
    assert stage.plan(tokens(0.2), 'close it').text == 'subtask 2; movement 2'
    assert stage.plan(tokens(0.3), 'open it').text == 'subtask 3; movement 3'
    stage.reset('episode started')
    assert stage.plan(tokens(0.4), 'close it').text == 'subtask 4; movement 4'
    stage.reset('episode started')
    plan = stage.plan(tokens(0.5), 'close it')
    assert (plan.text, plan.text_age) == ('subtask 5; movement 5', 0.0)


@pytest.mark.parametrize(
    ('values', 'words_of_the_error'),
    [
        ({'pruning.method': 'sp_vla'}, 'pruning.method sp_vla needs the motion'),
        ({'pruning.method': 'specprune'}, 'needs the motion'),
        ({'pruning.gate.method': 'speed'}, 'pruning.gate.method speed needs the motion'),
        ({'schedule.method': 'steady'}, 'schedule.method steady needs the motion'),
    ],
)
def test_what_needs_a_moving_robot_is_refused_without_its_state(values, words_of_the_error):
    settings = build(ReasonerSettings, values)
    with pytest.raises(InvalidRecordError, match=words_of_the_error):
        Reasoner(trunk(), words, COUNT, settings)


def test_what_needs_a_place_in_space_is_refused_for_joints():
    joints = ('shoulder', 'elbow')
    settings = build(ReasonerSettings, {'schedule.method': 'intuitive'})
    with pytest.raises(InvalidRecordError, match=r'needs x, y and z .* shoulder, elbow'):
        Reasoner(trunk(), words, COUNT, settings, joints)
    Reasoner(trunk(), words, COUNT, build(ReasonerSettings, {'schedule.method': 'steady'}), joints)


def test_a_method_is_refused_while_perception_sends_no_signals():
    stage = reasoner()
    bare = dataclasses.replace(
        tokens(), contour=np.zeros(0, np.float32), saliency=np.zeros(0, np.float32)
    )
    stage.plan(bare, 'open it')
    with pytest.raises(InvalidRecordError, match=r'Set perception\.signals to true first'):
        change(stage, pruning__method='sp_vla')
    assert stage.plan(bare, 'open it').reason == ''
    stage.plan(tokens(0.1), 'open it')
    change(stage, pruning__method='sp_vla')


def test_a_method_that_needs_signals_is_refused_until_tokens_with_them_were_seen():
    stage = reasoner()
    with pytest.raises(InvalidRecordError, match=r'Set perception\.signals to true first'):
        change(stage, pruning__method='sp_vla')
    stage.signals = True
    change(stage, pruning__method='sp_vla')
    given = reasoner(pruning__method='sp_vla')
    change(given, pruning__keep=0.25)
    assert len(given.plan(tokens(), 'open it').kept) <= COUNT // 2


def test_refresh_every_sees_all_tokens():
    stage = reasoner(pruning__method='fastv', pruning__refresh_every=3)
    kept = [len(stage.plan(tokens(0.1 * step), 'open it').kept) for step in range(6)]
    assert kept == [COUNT // 2, COUNT // 2, COUNT] * 2


def test_identity_reuse_on_an_unchanged_frame_is_the_full_forward():
    dense = reasoner().plan(tokens(), 'open it')
    stage = reasoner(reuse__method='vla_cache', reuse__task_share=0.0, reuse__growth=1.0)
    stage.plan(tokens(), 'open it')
    plan = stage.plan(tokens(0.1), 'open it')
    assert len(plan.reused) == COUNT
    assert plan.reused_age.tolist() == pytest.approx([0.1] * COUNT)
    np.testing.assert_allclose(plan.latents, dense.latents, atol=1e-5)


def test_identity_reuse_with_threshold_zero_and_every_token_changed_is_dense():
    stage = reasoner(reuse__method='vla_cache', reuse__threshold=0.0)
    stage.plan(tokens(seed=1), 'open it')
    plan = stage.plan(tokens(0.1, seed=2), 'open it')
    dense = reasoner().plan(tokens(0.1, seed=2), 'open it')
    assert not len(plan.reused)
    np.testing.assert_allclose(plan.latents, dense.latents, atol=1e-6)


def test_a_moved_token_is_computed_and_the_rest_reused():
    stage = reasoner(reuse__method='vla_cache', reuse__adaptive=False, reuse__task_share=0.0)
    stage.plan(tokens(), 'open it')
    plan = stage.plan(tokens(0.1, moved=[4, 9]), 'open it')
    assert sorted(set(range(COUNT)) - set(plan.reused.tolist())) == [4, 9]


@pytest.mark.parametrize(
    ('second', 'sentence', 'reason'),
    [
        (tokens(0.1), 'close it', 'instruction or epoch changed'),
        (tokens(0.1, epoch=1), 'open it', 'instruction or epoch changed'),
        (tokens(-5.0), 'open it', 'clock jumped back'),
        (tokens(5.0), 'open it', 'max age'),
    ],
)
def test_reuse_is_invalidated(second, sentence, reason):
    stage = reasoner(reuse__method='vla_cache', reuse__adaptive=False)
    stage.plan(tokens(), 'open it')
    plan = stage.plan(second, sentence)
    assert not len(plan.reused)
    assert reason in plan.reason


def test_reuse_leaves_out_what_the_middle_of_the_depth_attended_to():
    stage = reasoner(
        pruning__method='specprune',
        pruning__keep=1.0,
        reuse__method='vla_cache',
        reuse__adaptive=False,
        reuse__task_share=6 / COUNT,
    )
    stage.plan(tokens(), 'open it')
    attention = torch.zeros(2, COUNT)
    attention[0, :6] = attention[1, -6:] = 1.0  # the middle layer comes first, then the last one
    stage._memory.attention = attention
    reused = stage.plan(tokens(0.1), 'open it').reused
    assert reused.tolist() == list(range(6, COUNT))


def test_reset_forgets_keys_and_values():
    stage = reasoner(reuse__method='vla_cache', reuse__adaptive=False)
    stage.plan(tokens(), 'open it')
    stage.reset('episode started')
    plan = stage.plan(tokens(0.1), 'open it')
    assert 'episode started' in plan.reason


def test_pruning_and_reuse_compose():
    stage = reasoner(
        pruning__method='fastv',
        reuse__method='vla_cache',
        reuse__adaptive=False,
        reuse__task_share=0.0,
    )
    stage.plan(tokens(), 'open it')
    plan = stage.plan(tokens(0.1), 'open it')
    assert len(plan.kept) == COUNT // 2
    assert len(plan.reused) > 0
    assert np.isin(plan.reused, plan.kept).all()


@pytest.mark.parametrize(
    'values',
    [
        {'pruning__layer': DEPTH, 'pruning__method': 'fastv'},
        {'pruning__method': 'adp', 'pruning__layer': 99},
    ],
)
def test_a_layer_outside_the_decoder_is_refused_and_the_old_set_stays(values):
    stage = reasoner(pruning__method='uniform')
    with pytest.raises(InvalidRecordError, match='layers'):
        change(stage, **values)
    assert len(stage.plan(tokens(), 'open it').kept) == COUNT // 2


@pytest.mark.parametrize(
    ('values', 'words_of_the_error'),
    [
        ({'pruning.method': 'fastv', 'pruning.layer': 0}, 'layer before'),
        ({'pruning.protect.end_effector': True}, 'projection'),
        ({'pruning.protect.projection': (1.0,) * 13}, '13 numbers'),
        ({'pruning.camera_weights': (0.0, 1.0)}, 'camera_weights'),
        ({'pruning.gate.slow': 0.5}, 'gate.slow'),
    ],
)
def test_a_set_that_cannot_work_is_refused_with_the_reason(values, words_of_the_error):
    with pytest.raises(InvalidSettingError, match=words_of_the_error):
        build(ReasonerSettings, values)


def test_signals_that_perception_does_not_send_are_named():
    stage = reasoner(pruning__method='sp_vla')
    bare = dataclasses.replace(
        tokens(), contour=np.zeros(0, np.float32), saliency=np.zeros(0, np.float32)
    )
    with pytest.raises(InvalidRecordError, match='signals'):
        stage.plan(bare, 'open it')


def test_a_scorer_that_the_policy_lacks_is_named():
    stage = Reasoner(trunk(), words, COUNT, ReasonerSettings(), NAMES)
    with pytest.raises(InvalidRecordError, match='efficient-vla train --method fastdrivevla'):
        change(stage, pruning__method='fastdrivevla')


def mamba_reasoner(**values):
    settings = build(ReasonerSettings, {name.replace('__', '.'): v for name, v in values.items()})
    torch.manual_seed(0)
    config = MambaConfig(hidden_size=WIDTH, num_hidden_layers=3, vocab_size=40, state_size=4)
    return Reasoner(Trunk(AutoModel.from_config(config), 2).eval(), words, COUNT, settings)


def test_mamba_prunes_by_what_needs_no_attention_and_refuses_the_rest():
    plan = mamba_reasoner(pruning__method='lightvla').plan(tokens(), 'open it')
    assert len(plan.kept) <= COUNT // 2
    for method in ('fastv', 'flashvla', 'adp', 'specprune'):
        with pytest.raises(InvalidRecordError, match='mamba decoder does not have'):
            mamba_reasoner(pruning__method=method)
    with pytest.raises(InvalidRecordError, match='keys and values'):
        mamba_reasoner(reuse__method='vla_cache')


def test_saved_time_is_against_full_passes():
    stage = reasoner(pruning__method='random', pruning__keep=0.1, pruning__refresh_every=4)
    saved = [stage.plan(tokens(0.1 * step), 'open it').saved_ms for step in range(12)]
    assert np.isnan(saved[0])
    assert np.isfinite(saved[4:]).all()


def test_later_visits_are_at_least_two_layers_apart():
    settings = build(PruningSettings, {'method': 'specprune'})
    for depth, later in ((32, (5, 10, 15, 20)), (16, (5, 8, 10)), (8, (4,)), (3, ())):
        assert drop_layers(settings, Layers.all_of(depth)) == (2, later)


def test_after_a_pass_that_failed_nothing_of_it_is_reused(monkeypatch):
    settings = {'reuse__method': 'vla_cache', 'reuse__adaptive': False, 'reuse__task_share': 0.0}
    stage = reasoner(**settings)
    stage.plan(tokens(0.0, seed=0), 'open it')
    last = stage.trunk.parts.layers[-1]

    def fails(*given, **named):
        raise RuntimeError('out of memory')

    with monkeypatch.context() as patch:
        patch.setattr(last, 'forward', fails)
        with pytest.raises(RuntimeError, match='out of memory'):
            stage.plan(tokens(0.1, seed=1), 'open it')
    plan = stage.plan(tokens(0.2, seed=0), 'open it')
    dense = reasoner().plan(tokens(0.2, seed=0), 'open it')
    assert np.array_equal(plan.latents, dense.latents)
    assert 'pass failed' in plan.reason


def test_an_instruction_beyond_the_vocabulary_of_the_decoder_is_refused():
    ids = {'open it': [3, 39], 'close it': [3, 40]}
    stage = Reasoner(trunk(), lambda text: {'input_ids': ids[text]}, COUNT, ReasonerSettings())
    with pytest.raises(InvalidRecordError, match='has token 40; the decoder knows 40'):
        stage.plan(tokens(), 'close it')
    assert len(stage.plan(tokens(), 'open it').kept) == COUNT
