# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""`efficient-vla bench decoding`: what is compared with what, and what the page says of it."""

import dataclasses
import importlib
import json

import numpy as np
import pytest
from page_manifest import MANIFEST

from benchmarks import job as job_part
from benchmarks.decoding import run, tokenizers
from benchmarks.decoding.conditions import BINS, CONDITIONS, CONSISTENCY, FLOW, REGRESSION, SHORTCUT
from benchmarks.decoding.latency import HeadPasses, Situation, columns, in_turn, path_gap
from benchmarks.decoding.page import REPORT, plot
from benchmarks.job import QUICK, SINGLE, Job
from efficient_vla.action.catalogue import TOKENIZERS, decodings
from efficient_vla.action.tokenizers.bins import BinTokenizer
from efficient_vla.bench.overrides import build_settings, merged, parse_overrides
from efficient_vla.cli.bench_reports import COMMANDS
from efficient_vla.errors import CheckpointError
from efficient_vla.types import ActionChunk, ControlMode, Execution, Frame, Plan


def chunk(rows: np.ndarray, latency: float = 1.0, note: str = '') -> ActionChunk:
    names = ('x', 'y', 'z', 'gripper')
    return ActionChunk(
        rows.astype(np.float32),
        0.0125,
        names,
        ControlMode.EE_DELTA,
        0.0,
        latency_ms=latency,
        steps=2,
        note=note,
    )


def test_every_head_and_decoding_is_compared_and_its_settings_are_valid():
    found = set()
    for condition in CONDITIONS:
        overrides = merged(SINGLE, parse_overrides(condition.words))
        actor = build_settings(overrides)['actor']
        found.add((actor.head, actor.tokens.tokenizer, actor.decoding.method))
    heads = {head for head, _, _ in found}
    assert heads == {'regression', 'flow', 'diffusion', 'tokens'}
    pairs = {(tokenizer, method) for head, tokenizer, method in found if head == 'tokens'}
    assert pairs == {(t, method) for t in TOKENIZERS for method in decodings(t)}


def test_references_are_measured_before_what_is_compared_with_them():
    names = [condition.name for condition in CONDITIONS]
    assert len(set(names)) == len(names)
    for index, condition in enumerate(CONDITIONS):
        assert condition.reference in names[: index + 1]


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_the_command_offers_the_parts_that_there_are_in_their_order(name):
    benchmark = importlib.import_module(f'benchmarks.{name}.run')
    assert list(benchmark.PARTS) == list(COMMANDS[name].parts)
    assert {section.part for section in benchmark.REPORT.sections} <= benchmark.PARTS.keys()


def test_the_gap_is_the_largest_distance_of_the_paths_without_the_gripper():
    one = np.zeros((4, 4))
    other = np.zeros((4, 4))
    other[:, 3] = 9.0
    other[1, 0], other[1, 1], other[2, 0] = 0.003, 0.004, -0.003
    assert path_gap(chunk(one), chunk(other)) == pytest.approx(5.0)


def test_heads_see_every_plan_in_turn_and_reset_with_each_scene():
    calls = []

    class Head:
        def __init__(self, name: str) -> None:
            self.name = name

        def reset(self) -> None:
            calls.append((self.name, 'reset'))

        def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
            calls.append((self.name, plan.sequence))
            return chunk(np.zeros((2, 4)), latency=float(plan.sequence))

        def note_execution(self, execution: Execution) -> None:
            told.add((self.name, execution.blending))

    told = set()

    def situation(number: int) -> Situation:
        plan = Plan(np.zeros((1, 1), np.float32), 'go', 0.0, 1.0, sequence=number)
        return Situation(plan, Frame({}, np.zeros(1, np.float32), 0.0), number in (0, 3))

    heads = {'a': Head('a'), 'b': Head('b')}
    blendings = {'a': 'rtc', 'b': 'latest_only'}
    found = in_turn(heads, blendings, [situation(i) for i in range(5)], 2)
    assert told == set(blendings.items())
    steps = [call for call in calls if call[1] != 'reset']
    assert steps[:4] == [('a', 0), ('b', 0), ('b', 1), ('a', 1)]
    assert calls.count(('a', 'reset')) == 4
    assert len(found['a'].chunks) == 5
    assert found['b'].latency_ms == [3.0, 4.0, 0.0, 1.0, 2.0, 3.0, 4.0]


def test_columns_say_speed_sameness_and_distance():
    still, moving = np.zeros((2, 4)), np.zeros((2, 4))
    moving[0, 2] = 0.002
    mine = HeadPasses([1.0, 2.0, 3.0], [chunk(still), chunk(moving, note='mended')])
    reference = HeadPasses([8.0], [chunk(still), chunk(still)])
    found = columns(mine, reference, HeadPasses([0.5], []))
    assert (found['head_p50_ms'], found['speed_up']) == (2.0, 4.0)
    assert (found['same_chunks'], found['mended']) == (0.5, 0.5)
    assert (found['gap_mean_mm'], found['gap_max_mm']) == pytest.approx((1.0, 2.0))
    assert (found['steps'], found['plans'], found['regression_p50_ms']) == (2.0, 2, 0.5)


def test_chunks_of_experts_are_what_they_did_next():
    scale = np.array([0.01, 0.01, 0.01, 1.0])
    chunks = tokenizers.expert_chunks(('reach-v3',), 1, 50_000, 8, scale, 24)
    assert chunks.shape == (4, 8, 4)
    assert np.array_equal(chunks[0, tokenizers.EVERY :], chunks[1, : -tokenizers.EVERY])
    assert 0.1 < np.abs(chunks[..., :3]).max() <= 0.4 + 1e-4


def test_a_tokenizer_is_judged_by_the_path_it_stands_for():
    generator = np.random.default_rng(0)
    steps = generator.uniform(-0.5, 0.5, (60, 1, 4)).repeat(8, 1).astype(np.float32)
    scale = np.array([0.01, 0.01, 0.01, 1.0])
    bins = BinTokenizer(8, [-0.5] * 4, [0.5] * 4, bins=10)
    found = {r['name']: r for r in tokenizers.measure([('mine', bins)], steps, steps, scale)}
    mine = found['mine']
    # Half a bin of 0.1, for eight rows, in three directions.
    assert mine['path_error_max_mm'] <= 0.05 * 10 * 8 * 3**0.5 + 1e-3
    assert mine['path_error_max_mm'] > mine['path_error_mean_mm'] > 0.5
    assert mine['tokens_mean'] == 32
    fast = found['fast, the paper, scale 30']
    assert fast['tokens_mean'] < 12
    assert fast['path_error_mean_mm'] < found['fast, the paper, scale 10']['path_error_mean_mm']
    assert found['bins, 512']['path_error_max_mm'] < found['bins, 128']['path_error_max_mm']


def latency_row(name: str, reference: str, p50: float, base: float) -> dict[str, object]:
    return {
        'name': name,
        'reference': reference,
        'head_p50_ms': p50,
        'head_p95_ms': 2 * p50,
        'speed_up': base / p50,
        'steps': 1.0,
        'same_chunks': 0.9875,
        'gap_mean_mm': 0.5,
        'gap_max_mm': 3.0,
        'plans': 80,
    }


def made_parts() -> dict[str, list[dict[str, object]]]:
    success = [
        {
            'name': name,
            'success_rate': rate,
            'ci_low': rate - 0.1,
            'ci_high': rate + 0.05,
            'episodes': 100,
        }
        for name, rate in ((REGRESSION, 0.9), (FLOW, 0.88), (SHORTCUT, 0.87))
    ]
    latency = [
        latency_row(REGRESSION, REGRESSION, 0.2, 0.2),
        latency_row(FLOW, FLOW, 6.0, 6.0),
        latency_row(SHORTCUT, FLOW, 0.8, 6.0),
        latency_row(BINS, BINS, 60.0, 60.0),
        latency_row('bins, jacobi', BINS, 30.0, 60.0),
        latency_row(CONSISTENCY, BINS, 10.0, 60.0),
        {'name': 'fast, jacobi', 'reference': 'x', 'refused': 'fast.safetensors is missing'},
    ]
    row = {'vocabulary': 9, 'tokens_max': 40, 'path_error_max_mm': 2.0, 'chunks': 10}
    row |= {'path_error_mean_mm': 0.7, 'path_error_p95_mm': 1.0}
    named = [
        {'name': 'fast, shipped', 'tokens_mean': 30.0, **row},
        {'name': 'bins, shipped', 'tokens_mean': 160.0, **row},
    ]
    one_step = [
        {'name': name, 'success_rate': rate, 'episodes': 300}
        for name, rate in ((FLOW, 0.94), (SHORTCUT, 0.936))
    ]
    return {
        'latency': latency,
        'success': success,
        'tokenizers': named,
        'one_step': one_step,
    }


def page(quick=False):
    rows = [{'part': part, **row} for part, found in made_parts().items() for row in found]
    return REPORT.page(rows, {**MANIFEST, 'quick': quick})


def test_the_page_compares_what_is_the_same_but_for_one_thing():
    text = page()
    assert 'against ten steps: -1.0 points of success in 100 episodes.' in text
    assert 'against ten steps: -0.4 points of success in 300 episodes.' in text
    assert f'{SHORTCUT}: 7.5 times less head time.' in text
    assert 'bins, jacobi: 79 of 80 chunks equal those of autoregressive, 2.0 times as fast.' in text
    assert 'bins, consistency: 6.0 times as fast as autoregressive, gap 0.50 mm.' in text
    assert 'FAST takes 5.3 times fewer tokens than bins' in text
    assert 'Not measured: fast, jacobi. fast.safetensors is missing' in text
    assert f'| {REGRESSION} | 90 % | 80 % to 95 % | 0.20 |' in text
    assert '| bins, autoregressive | - | - to - | 60.00 |' in text


def test_a_quick_page_judges_nothing():
    text = page(quick=True)
    assert 'its numbers mean nothing' in text
    assert 'against ten steps' not in text


def test_the_picture_is_drawn_where_there_is_something(tmp_path):
    parts = REPORT.parts(
        [{'part': part, **row} for part, rows in made_parts().items() for row in rows]
    )
    assert plot(tmp_path / 'a.png', parts)
    assert (tmp_path / 'a.png').stat().st_size > 10_000
    assert not plot(tmp_path / 'b.png', {'latency': [], 'success': [], 'tokenizers': []})
    assert not (tmp_path / 'b.png').exists()


def test_success_is_paired_with_regression_and_what_cannot_run_is_said(
    tmp_path, passthrough, monkeypatch
):
    asked, counts = [], []

    def evaluate(request, on_result):
        asked.append(request.overrides['actor'])
        counts.append(request.episodes)
        if request.overrides['actor'].get('head') == 'diffusion':
            raise CheckpointError('diffusion.safetensors is missing')
        lucky = request.overrides['actor'].get('head') == 'flow'
        return {
            'episodes': [
                {'task': 'reach-v3', 'seed': seed, 'success': lucky or seed > 1}
                for seed in range(1, 5)
            ]
        }

    monkeypatch.setattr(job_part, 'evaluate', evaluate)
    sizes = dataclasses.replace(QUICK, tasks=('reach-v3',), close=3)
    job = Job(passthrough, sizes=sizes)
    rows = job.open_rows(tmp_path / 'out.json', False)
    run.measure_success(job, rows)
    assert set(counts) == {1}
    found = {row['name']: row for row in json.loads((tmp_path / 'out.json').read_text())['rows']}
    assert found[FLOW]['success_rate'] == 1.0
    assert found[FLOW]['regression_success_rate'] == 0.75
    assert (found[FLOW]['only_this'], found[FLOW]['only_regression']) == (1, 0)
    assert 'is missing' in found['diffusion, 5 steps']['refused']
    assert all(actor['architecture'] == 'single' for actor in asked)
    run.measure_one_step(job, rows)
    few = rows.of('one_step')
    assert [row['name'] for row in few] == [FLOW, SHORTCUT]
    assert few[1]['pairs'] == 4
    assert few[1]['only_ten_steps'] == 0
    assert counts[-2:] == [3, 3]
    count = len(asked)
    again = job.open_rows(tmp_path / 'out.json', True)
    run.measure_success(job, again)
    assert len(asked) - count == sum('diffusion' in name for name in found)
