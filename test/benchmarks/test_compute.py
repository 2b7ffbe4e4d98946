# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What `efficient-vla bench compute` compares, measures and says."""

import numpy as np
import pytest
from page_manifest import MANIFEST

from benchmarks.compute import decisions, memory, run
from benchmarks.compute.conditions import DENSE, conditions
from benchmarks.compute.page import REPORT, plot
from benchmarks.job import SINGLE
from benchmarks.tokens.latency import WARM_UP_FRAMES, RecordedScene
from efficient_vla.bench.compare import paired_columns
from efficient_vla.bench.overrides import build_settings, merged, parse_overrides
from efficient_vla.errors import UsageError
from efficient_vla.policy import Policy, default_policy
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import Frame

pytestmark = pytest.mark.usefixtures('one_thread')
HALF = ('reasoner.quantization.mode=bf16', 'perception.quantization.mode=bf16')


def scene(frames):
    """Return a scene of pictures that change from one to the next."""
    state = np.zeros(4, np.float32)
    noise = np.random.default_rng(0)
    images = [{'corner2': noise.integers(0, 255, (32, 32, 3), np.uint8)} for _ in range(frames)]
    return RecordedScene(
        'press the button',
        tuple(Frame(image, state, 0.2 * i) for i, image in enumerate(images)),
        tuple(((0.2 * i, state),) for i in range(frames)),
    )


def test_every_number_format_is_compared_and_its_settings_are_valid():
    found = conditions()
    assert (found[0].name, found[0].words) == (DENSE, ())
    assert len({condition.name for condition in found}) == len(found)
    modes = set()
    for condition in found:
        settings = build_settings(merged(SINGLE, parse_overrides(condition.words)))
        modes.add(settings['reasoner'].quantization.mode)
    assert modes >= {'none', 'bf16', 'int8_dynamic'}
    words = {condition.name: condition.words for condition in found}
    assert words['openvino int8'] == (
        'perception.engine=openvino',
        'reasoner.engine=openvino',
        'actor.engine=openvino',
        'perception.quantization.mode=int8',
        'reasoner.quantization.mode=int8',
    )
    assert words['openvino'] == words['openvino int8'][:3]


def test_techniques_are_chosen_by_name_and_a_wrong_one_is_told():
    assert [c.name for c in run._chosen(['student', 'openvino int8'])] == [
        DENSE,
        'openvino int8',
        'student',
    ]
    assert run._chosen(()) == conditions()
    with pytest.raises(UsageError, match=r"unknown technique 'studnet'; expected .*student"):
        run._chosen(['studnet'])


def test_a_decision_is_the_sum_of_its_stages_and_all_see_the_same_frames():
    policy = default_policy()
    variants = {
        name: Policy.from_settings(policy, build_settings(merged(SINGLE, parse_overrides(words))))
        for name, words in (('dense', ()), ('half', HALF))
    }
    found = decisions.in_turn(variants, [scene(WARM_UP_FRAMES + 2)])
    for mine in found.values():
        stages = zip(mine.passes.plan_ms, mine.actor.latency_ms, strict=True)
        assert mine.decision_ms == [plan + actor for plan, actor in stages]
        assert len(mine.decision_ms) == 2
    stamps = [[chunk.stamp for chunk in mine.chunks] for mine in found.values()]
    assert stamps[0] == stamps[1] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


def test_a_number_format_is_smaller_and_its_gap_is_small_but_there():
    found = decisions.measure_cost(default_policy(), HALF, [scene(WARM_UP_FRAMES + 1)])
    assert found['weights_mb'] < 0.7 * found['dense_weights_mb']
    assert 0 < found['gap_mean_mm'] <= found['gap_max_mm'] < 20
    assert found['frames'] == 1
    same = decisions.measure_cost(default_policy(), (), [scene(WARM_UP_FRAMES + 1)])
    assert same['gap_max_mm'] == 0


def test_memory_is_that_of_another_process_and_holds_the_weights():
    found = memory.measure_memory(default_policy(), ())
    assert 10 < found['resident_mb'] < found['peak_mb']


def test_what_the_process_refuses_is_told_as_its_reason():
    with pytest.raises(InvalidSettingError, match='layer'):
        memory.measure_memory(
            default_policy(), ('reasoner.pruning.method=fastv', 'reasoner.pruning.layer=99')
        )


def row(name, kind, share, **columns):
    outcomes = {('reach-v3', 1000 + i): i < share for i in range(10)}
    dense = {('reach-v3', 1000 + i): True for i in range(10)}
    stages = {
        f'{before}{stage}_{what}': 4.0 if before else 2.0
        for before in ('', 'dense_')
        for stage in ('perception', 'reasoner', 'actor', 'decision')
        for what in ('p50_ms', 'p95_ms', 'mean_ms')
    }
    ratios = {f'{stage}_ratio': 0.5 for stage in ('perception', 'reasoner', 'actor', 'decision')}
    return {
        'part': 'methods',
        'key': f'methods {{"name":"{name}"}}',
        'name': name,
        'kind': kind,
        'policy': 'evla-nano',
        'tasks': 'reach-v3',
        'threads': 1,
        'weights_mb': 5.0,
        'dense_weights_mb': 20.0,
        'resident_mb': 90.0,
        'gap_mean_mm': 0.1,
        'gap_max_mm': 0.2,
        **stages,
        **ratios,
        **paired_columns(outcomes, dense),
        **columns,
    }


def test_the_page_has_the_rows_that_are_whole_and_says_why_others_are_missing(tmp_path):
    rows = [row('dense', 'dense', 10), row('int8', 'format', 9)]
    half = {k: v for k, v in row('bf16', 'format', 9).items() if k != 'resident_mb'}
    refused = {'part': 'methods', 'key': 'x', 'name': 'int8, head too', 'refused': 'too small.'}
    text = REPORT.page([*rows, half, refused], MANIFEST)
    assert '| int8 | 90 % | 60 % to 98 % | 1 / 0 | 1.00 |' in text
    assert '| 5.0 | 4.0 |' in text
    assert 'bf16' not in text
    assert 'Not measured: int8, head too. too small.' in text
    assert '**evla-nano** on reach-v3, 1 thread(s)' in text
    assert plot(tmp_path / 'compute.png', {'methods': rows})
    assert not plot(tmp_path / 'none.png', {})
