# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Delays of inference in lock-step, and what `efficient-vla bench motion` measures and writes."""

import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from page_manifest import MANIFEST

from benchmarks import job as job_part
from benchmarks.job import SINGLE, Job, Sizes
from benchmarks.motion import run
from benchmarks.motion.conditions import BEST, LATEST, SYNCHRONOUS, executions, trials
from benchmarks.motion.measures import measure, merged
from benchmarks.motion.page import REPORT, SEAMS_PICTURE
from benchmarks.motion.peer import play_lerobot
from benchmarks.motion.playback import Played, Scenario, controller_settings, play
from benchmarks.motion.plots import plot_seams, plot_success
from benchmarks.motion.recording import OFFSET, RecordedMotion, constant_offset, record
from benchmarks.motion.stand_in import GuidedPolicy
from efficient_vla import cli
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.bench.inference import Inference, StepTimer
from efficient_vla.bench.lockstep import Handover, run_episode, start_controller
from efficient_vla.bench.overrides import (
    EvaluationSettings,
    build_settings,
    merged as merged_overrides,
    parse_overrides,
)
from efficient_vla.bench.rows import Rows
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.policy import Policy
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.sim.metaworld.scene import MetaWorldSim
from efficient_vla.types import ActionChunk, ControlMode, Execution

DT = 0.0125
NAMES = ('x', 'y', 'z', 'gripper')
pytestmark = pytest.mark.usefixtures('one_thread')


def chunk(stamp, rows=40, speed=0.1):
    """Return a chunk that moves along y."""
    actions = np.tile(np.array([0, speed * DT, 0, -1], np.float32), (rows, 1))
    return ActionChunk(
        actions,
        DT,
        NAMES,
        ControlMode.EE_DELTA,
        stamp,
        sequence=1,
        plan_sequence=1,
        plan_stamp=stamp,
    )


def settings_of(**values):
    """Return the settings of an evaluation."""
    return build(EvaluationSettings, values)


# Inference that takes time


def test_a_chunk_arrives_a_delay_after_its_frame():
    inference = Inference(settings_of(delay=0.1), seed=0)
    inference.start(chunk(1.0))
    assert inference.arrived(1.0875) == []
    (arrived,) = inference.arrived(1.1)
    assert arrived.stamp == 1.0
    assert inference.arrived(2.0) == []


def test_no_chunk_is_started_while_as_many_as_allowed_are_under_way():
    inference = Inference(settings_of(delay=0.1, in_flight=2), seed=0)
    inference.start(chunk(0.0))
    assert inference.free
    inference.start(chunk(0.05))
    assert not inference.free
    inference.arrived(0.1)
    assert inference.free


def test_jitter_brings_chunks_out_of_order_and_a_seed_repeats_it():
    def order(seed):
        inference = Inference(settings_of(delay=0.1, jitter=0.5, in_flight=64), seed)
        for index in range(20):
            inference.start(chunk(0.05 * index))
        return [item.stamp for item in inference.arrived(9.0)]

    assert order(1) == order(1) != order(2)
    assert order(1) != sorted(order(1))
    assert sorted(order(1)) == pytest.approx([0.05 * index for index in range(20)])


def test_about_the_asked_share_of_chunks_is_lost():
    inference = Inference(settings_of(drop=0.25, in_flight=64), seed=3)
    arrived = 0
    for index in range(400):
        inference.start(chunk(0.1 * index))
        arrived += len(inference.arrived(0.1 * index))
    assert 260 < arrived < 340


def test_a_schedule_counts_from_the_last_start():
    schedule = StepTimer(0.05, DT)
    assert schedule.due(0)
    schedule.started(0)
    assert [step for step in range(1, 9) if schedule.due(step)] == [4, 5, 6, 7, 8]
    schedule.started(6)
    assert not schedule.due(8)
    assert schedule.due(10)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(InvalidSettingError, match=r'horizon is 0\.2'):
        settings_of(horizon=0.2)
    with pytest.raises(InvalidSettingError, match='in_flight is 2'):
        settings_of(in_flight=2, execution='synchronous')


# Episodes


@pytest.fixture(scope='module')
def reach():
    """Return a scene that the tests share."""
    sim = MetaWorldSim('reach-v3', 'fast', 32)
    yield sim
    sim.close()


@pytest.fixture(scope='module')
def episode(reach, reaching):
    """Return what runs one episode of a policy that heads for the goal."""
    words = ['actor.architecture=single', 'controller.watchdog.chunk_timeout=1.5']
    stages = Policy.from_settings(reaching, build_settings(parse_overrides(words)))

    def run_with(*more):
        settings = build_settings(parse_overrides([*words, *more]))
        return run_episode(reach, stages, settings, 1000, reach.instruction)

    return run_with


def test_an_episode_takes_longer_by_the_delay_and_is_idle_where_chunks_run_out(episode):
    found = {delay: episode(f'eval.delay={delay}') for delay in (0.0, 0.2, 0.4)}
    assert all(item.success for item in found.values())
    assert found[0.2].duration_s == pytest.approx(found[0.0].duration_s + 0.2, abs=0.03)
    assert found[0.0].idle_s == found[0.2].idle_s == 0
    # A chunk of 0.5 s that is 0.4 s late bridges 0.1 s of the next 0.4 s, or all of it slowly.
    assert found[0.4].idle_s == 0
    assert episode('eval.delay=0.4', 'controller.time_scaling.low=1').idle_s > 0.2


def test_one_computer_makes_fewer_plans_the_longer_they_take(episode):
    quick, slow = episode(), episode('eval.delay=0.4')
    assert quick.stages['reasoner'].rate_hz == pytest.approx(5, rel=0.2)
    assert slow.stages['reasoner'].rate_hz == pytest.approx(2.5, rel=0.25)


def test_requests_that_overlap_leave_no_gap_between_chunks(episode):
    found = episode('eval.delay=0.4', 'eval.reasoner_period=0.1', 'eval.in_flight=4')
    assert found.idle_s == 0


def test_synchronous_execution_stands_still_while_a_chunk_is_computed(episode):
    words = ('eval.delay=0.2', 'eval.execution=synchronous')
    asynchronous, synchronous = episode(words[0]), episode(*words)
    short = episode(*words, 'eval.horizon=0.1')
    assert synchronous.success
    assert synchronous.duration_s > asynchronous.duration_s + 0.2
    assert synchronous.idle_s >= 0.2
    assert short.idle_s > 2 * synchronous.idle_s


def test_the_manifest_says_how_long_inference_takes(reaching):
    request = Request(
        reaching,
        ('reach-v3',),
        1,
        1000,
        parse_overrides(['eval.delay=0.2', 'eval.max_steps=4']),
        render='fast',
        image_size=32,
    )
    assert '0.2 s of simulated time' in evaluate(request)['manifest']['mode']


def test_the_actor_is_told_the_delay_that_the_controller_measured(reach):
    class Listener:
        def __init__(self):
            self.rows = []

        def note_execution(self, execution):
            self.rows.append(execution.delay)

    listener = Listener()
    reach.reset(0)
    controller = start_controller(reach, build_settings({})['controller'])
    handover = Handover(settings_of(delay=0.1), controller, listener, seed=0, period=DT)
    for step in range(40):
        now = step * DT
        handover.deliver(now)
        if step in (0, 16):
            handover.inference.start(chunk(now))
        handover.tick(now)
    # Nothing was executed before the first chunk came; 8 rows before the second.
    assert math.isnan(listener.rows[0])
    assert listener.rows[1:] == pytest.approx([8.0])


# Recordings and playback


@pytest.fixture(scope='module')
def controller_base():
    return build_settings({})['controller']


def straight(count=80, rows=40, speed=0.2):
    """Return chunks that all say the same straight motion."""
    start = np.array([0.0, 0.6, 0.2])
    ends = DT * speed * (np.arange(count)[:, None] + np.arange(rows) + 1)  # [T, H]
    chunks = np.zeros((count, rows, 4))
    chunks[..., :3] = start
    chunks[..., 0] += ends
    return RecordedMotion('straight', chunks, chunks[:, 0, :3].copy(), start, DT)


def played(recording, scenario, base, method=LATEST, limited=False):
    """Return the numbers of a recording played through a blending."""
    settings = controller_settings(base, method, DT, limited)
    return measure(recording, play(recording, scenario, settings))


def test_recorded_chunks_begin_at_the_set_point_and_hold_absolute_rows(reach, reaching):
    settings = build_settings({'actor': {'architecture': 'single'}})
    stages = Policy.from_settings(reaching, settings)
    found = record(reach, stages, settings, seed=1000, limit=12)
    assert found.chunks.shape == (12, 40, 4)
    assert found.path.shape == (12, 3)
    before = np.concatenate([found.start[None], found.path[:-1]])
    # The policy moves with constant speed: every row is as far from the last as the first is from
    # the set-point that its frame saw.
    first = found.chunks[:, 0, :3] - before
    np.testing.assert_allclose(np.diff(found.chunks[:, :, :3], axis=1)[:, 0], first, atol=1e-6)
    assert np.linalg.norm(first, axis=1) == pytest.approx(0.3 * DT, rel=1e-3)


@pytest.mark.parametrize('delay', [0.0, 0.1, 0.2, 0.3, 0.4])
def test_chunks_that_agree_give_the_recorded_motion_whatever_the_delay(controller_base, delay):
    found = played(straight(), Scenario(delay), controller_base)
    assert found['tracking_max_mm'] < 1e-3
    assert found['max_jerk'] < 1.0
    assert found['idle'] == 0


@pytest.mark.parametrize('delay', [0.1, 0.2, 0.3])
def test_the_default_blending_has_a_fifth_of_the_jerk_of_latest_only(controller_base, delay):
    recording = constant_offset(2.0)
    for limited in (False, True):
        latest = played(recording, Scenario(delay), controller_base, LATEST, limited)
        best = played(recording, Scenario(delay), controller_base, BEST, limited)
        assert best['max_jerk'] < latest['max_jerk'] / 5
        assert best['idle'] == 0
        assert best['tracking_max_mm'] < 30


def test_the_robot_is_idle_where_chunks_run_out_and_only_there(controller_base):
    recording = straight()
    # Asked at step 8, there at 40; asked again then, there at 72: the chunk of step 8 ends at 48.
    late = played(recording, Scenario(0.4, in_flight=1), controller_base)
    assert late['idle'] == pytest.approx((72 - 48) / 80)
    settings = controller_settings(controller_base, LATEST, DT, limited=False)
    lost = play(recording, Scenario(0.1, drop=1.0), settings)
    assert lost.driven[:39].all()
    assert not lost.driven[41:].any()
    assert lost.arrivals == ()


def test_chunks_out_of_order_do_not_take_the_robot_back(controller_base):
    settings = controller_settings(controller_base, LATEST, DT, limited=False)
    motion = play(straight(), Scenario(0.1, jitter=0.3, seed=5), settings)
    assert (np.diff(motion.positions[:, 0]) > 0).all()


def test_measures_of_a_motion_with_one_step_of_velocity():
    path = np.zeros((10, 3))
    path[5:, 0] = 0.001 * np.arange(1, 6)
    recording = RecordedMotion('step', np.zeros((10, 4, 4)), np.zeros((10, 3)), np.zeros(3), DT)
    driven = np.ones(10, bool)
    driven[8:] = False
    found = measure(recording, Played(path, driven, driven.astype(float), (4,)))
    speed = 0.001 / DT
    assert found['max_acceleration'] == pytest.approx(speed / DT)
    assert found['max_jerk'] == pytest.approx(speed / DT**2)
    assert found['idle'] == pytest.approx(2 / 10)
    assert found['seam_acceleration_step'] == pytest.approx(speed / DT)
    # Before the first seam nothing else counts.
    assert found['tracking_max_mm'] == pytest.approx(5.0)
    # Before the first seam nothing counts.
    assert measure(recording, Played(path, driven, driven.astype(float), (9,)))['max_jerk'] == 0


def test_one_row_holds_the_largest_jerk_and_the_mean_idle_time():
    rows = [{'max_jerk': 2.0, 'idle': 0.0}, {'max_jerk': 8.0, 'idle': 0.5}]
    assert merged(rows) == {'max_jerk': 8.0, 'idle': 0.25, 'median_max_jerk': 5.0, 'motions': 2}


def told(stamp=-1.0, row=0.0, delay=8.0, time=None):
    return Execution(stamp, stamp if time is None else time, row, 1.0, delay, 'rtc')


def test_a_guided_chunk_counts_the_rows_of_a_slowed_one():
    recording = constant_offset(1.0)
    found = []
    for row, step in ((4.0, 4), (4.0, 8), (8.0, 8)):
        policy = GuidedPolicy(recording)
        policy.chunk(0)
        policy.note_execution(told(stamp=0.0, row=row, time=step * DT))
        assert policy._passed(step, 0) == row
        found.append(policy.chunk(step))
    assert not np.allclose(found[1], found[2], atol=1e-4)


def test_a_guided_chunk_keeps_the_rows_that_are_executed_anyway():
    recording = constant_offset(1.0)
    policy = GuidedPolicy(recording)
    np.testing.assert_allclose(policy.chunk(0), recording.chunks[0], atol=1e-5)
    policy.note_execution(told(delay=math.nan))
    policy.note_execution(told(delay=8.0))
    step = next(
        s for s in range(4, 20) if abs(recording.chunks[s, 0, 0] - recording.path[s, 0]) > 0.005
    )
    said, guided = recording.chunks[step], policy.chunk(step)
    before = recording.chunks[0, step:]
    apart = np.abs(said[:8, 0] - before[:8, 0]).max()
    assert np.abs(guided[:8, 0] - before[:8, 0]).max() < apart / 4
    assert abs(guided[-1, 0] - said[-1, 0]) < apart


# LeRobot beside us


def fake_lerobot(folder: Path) -> Path:
    """Return an interpreter that finds a package with the interface of LeRobot's action queue."""
    package = folder / 'lerobot' / 'policies' / 'rtc'
    package.mkdir(parents=True)
    (package / 'configuration_rtc.py').write_text(
        'class RTCConfig:\n    def __init__(self, enabled=True):\n        self.enabled = enabled\n'
    )
    (package / 'latency_tracker.py').write_text(
        'class LatencyTracker:\n'
        '    def add(self, latency):\n        pass\n'
        '    def max(self):\n        return 0.0\n'
    )
    (package / 'action_queue.py').write_text(
        'class ActionQueue:\n'
        '    def __init__(self, cfg):\n        self.rows = []\n'
        '    def qsize(self):\n        return len(self.rows)\n'
        '    def get_left_over(self):\n        return None\n'
        '    def get_action_index(self):\n        return 0\n'
        '    def get(self):\n        return self.rows.pop(0) if self.rows else None\n'
        '    def merge(self, original, processed, delay, index):\n'
        '        self.rows = list(processed[delay:])\n'
    )
    facts = folder / 'lerobot-9.9.dist-info'
    facts.mkdir()
    (facts / 'METADATA').write_text('Metadata-Version: 2.1\nName: lerobot\nVersion: 9.9\n')
    python = folder / 'python'
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def test_a_queue_that_takes_the_newest_chunk_equals_latest_only(tmp_path, controller_base):
    recording = constant_offset(1.0)
    scenarios = [Scenario(0.1), Scenario(0.2, jitter=0.05), Scenario(0.1, drop=0.5, seed=2)]
    tasks = [(recording, scenario, 'queue:replace') for scenario in scenarios]
    version, motions = play_lerobot(fake_lerobot(tmp_path), tasks)
    assert version == '9.9'
    settings = controller_settings(controller_base, LATEST, DT, limited=False)
    for scenario, theirs in zip(scenarios, motions, strict=True):
        ours = play(recording, scenario, settings)
        assert theirs.arrivals == ours.arrivals
        np.testing.assert_array_equal(theirs.driven, ours.driven)
        # After a chunk ran out, ours brakes while a queue stops dead.
        going = ours.driven & np.concatenate([[True], ours.driven[:-1]])
        np.testing.assert_allclose(theirs.positions[going], ours.positions[going], atol=1e-6)


def test_an_interpreter_without_lerobot_says_how_to_get_it():
    with pytest.raises(UsageError, match=r"pip install 'lerobot\[async\]'"):
        play_lerobot(Path(sys.executable), [(constant_offset(0.1), Scenario(0.0), 'queue:replace')])


@pytest.mark.skipif('PEER_PYTHON' not in os.environ, reason='PEER_PYTHON names no LeRobot')
def test_the_real_lerobot_plays_every_method():
    from benchmarks.motion.peer import OVERLAPPED_METHODS, WORKER_METHODS

    recording = constant_offset(1.0)
    tasks = [(recording, Scenario(0.1), m) for m in OVERLAPPED_METHODS.values()]
    tasks += [(recording, Scenario(0.1, in_flight=1), m) for m in WORKER_METHODS.values()]
    _, motions = play_lerobot(Path(os.environ['PEER_PYTHON']), tasks)
    assert all(np.isfinite(motion.positions).all() for motion in motions)
    assert all(motion.driven.any() for motion in motions)


# The run


def tiny_job(policy, **changes):
    """Return a job that takes seconds."""
    sizes = Sizes(
        tasks=('reach-v3',),
        episodes=1,
        max_steps=20,
        record_steps=10,
        dummy_s=0.3,
        delays_ms=(0,),
        episode_delays_ms=(0, 100),
        seeds=(0,),
    )
    return Job(policy=policy, sizes=sizes, **changes)


def test_seams_have_a_row_for_every_blending_and_are_not_played_again(
    reaching, tmp_path, monkeypatch
):
    job = tiny_job(reaching)
    rows = Rows(tmp_path / 'out.json', {}, resume=False)
    run.measure_seams(job, rows)
    found = rows.of('seams')
    assert {row['source'] for row in found} == {run.POLICY, OFFSET}
    assert {row['limits'] for row in found} == {run.REFERENCE, run.LIMITED}
    methods = {row['method'] for row in found}
    assert methods == {*run.METHODS} - {run.TRAINED}
    assert len(found) == 2 * 2 * len(methods) * len(trials((0,), (0,)))
    again = tiny_job(reaching)
    monkeypatch.setattr(run, 'recordings', None)
    run.measure_seams(again, Rows(tmp_path / 'out.json', {}, resume=True))


def test_episodes_are_paired_with_the_same_execution_without_delay(reaching, tmp_path, monkeypatch):
    chosen = [c for c in executions((0, 100)) if c.method == SYNCHRONOUS]
    monkeypatch.setattr(run, 'executions', lambda delays_ms: chosen)
    rows = Rows(tmp_path / 'out.json', {}, resume=False)
    run.measure_episodes(tiny_job(reaching), rows)
    found = rows.of('success')
    assert [row['name'] for row in found] == [c.name for c in chosen]
    assert [row['delay_ms'] for row in found] == [0, 100]
    for row in found:
        assert 0 <= row['ci_low'] <= row['success_rate'] <= row['ci_high'] <= 1
        assert row['episodes'] == 1
        assert row['points_below_no_delay'] in (0, 100, -100)


def test_a_policy_that_lacks_a_head_is_named_and_the_others_go_on(reaching, tmp_path, monkeypatch):
    def refuse(job, words, on_result):
        raise CheckpointError('the policy has no flow.safetensors')

    monkeypatch.setattr(Job, 'play', refuse)
    rows = Rows(tmp_path / 'out.json', {}, resume=False)
    run.measure_episodes(tiny_job(reaching), rows)
    assert len(rows.of('success')) == len(executions((0, 100)))
    text = REPORT.page(rows.of('success'), MANIFEST)
    assert f'Not measured: {BEST}, 0 ms. the policy has no flow.safetensors' in text


def test_every_execution_is_accepted_by_the_settings():
    for condition in executions():
        build_settings(merged_overrides(SINGLE, parse_overrides(condition.words)))
    assert {c.method for c in executions()} >= {BEST, LATEST, SYNCHRONOUS}


def test_without_a_peer_the_part_is_skipped_and_says_so(reaching, tmp_path):
    said = []
    rows = Rows(tmp_path / 'out.json', {}, resume=False)
    run.measure_peer(tiny_job(reaching, tell=said.append), rows)
    assert rows.of('peer') == []
    assert '--peer-python' in said[0]


# Page and pictures


def seam_rows(best_jerk):
    """Return rows of one source, as if the default blending had ``best_jerk``."""
    common = {
        'part': 'seams',
        'source': run.POLICY,
        'max_acceleration': 1.0,
        'seam_velocity_step': 0.1,
        'seam_acceleration_step': 1.0,
        'tracking_rms_mm': 3.0,
        'tracking_max_mm': 9.0,
        'idle': 0.0,
        'time_scale': 1.0,
        'motions': 5,
        'jerk_inside_chunks': 100.0,
    }
    return [
        {
            **common,
            'trial': trial,
            'delay_ms': delay,
            'method': method,
            'limits': limits,
            'max_jerk': jerk,
        }
        for trial in ('overlapped', 'one at a time')
        for delay in (0, 200)
        for limits in ('reference', 'controller')
        for method, jerk in ((LATEST, 1000.0), (BEST, best_jerk))
    ]


def peer_rows():
    return [
        {
            **row,
            'part': 'peer',
            'method': 'ActionQueue, replaced',
            'limits': 'none',
            'max_jerk': 5000.0,
            'version': 'lerobot 9.9',
        }
        for row in seam_rows(1.0)
        if row['method'] == LATEST and row['limits'] == 'reference'
    ]


def success_rows(lost):
    return [
        {
            'part': 'success',
            'name': f'{method}, {delay} ms',
            'method': method,
            'delay_ms': delay,
            'success_rate': 0.9,
            'ci_low': 0.8,
            'ci_high': 0.95,
            'episodes': 100,
            'points_below_no_delay': lost if delay else 0.0,
            'only_no_delay': 2,
            'only_delayed': 1,
            'p_value': 1.0,
            'idle': 0.1,
            'mean_duration_s': 2.0,
            'max_jerk': 1500.0,
            'tasks': 'reach-v3',
        }
        for method in (BEST, LATEST, SYNCHRONOUS)
        for delay in (0, 200)
    ]


def test_the_page_judges_by_the_numbers():
    good = REPORT.page([*seam_rows(100.0), *peer_rows(), *success_rows(2.0)], MANIFEST)
    assert 'at least 10.0 times less max jerk' in good
    assert 'lerobot 9.9' in good
    assert 'less max jerk in 4' in good
    bad = REPORT.page([*seam_rows(500.0), *success_rows(4.0)], MANIFEST)
    assert bad.count('at least 2.0 times less max jerk') == 2
    assert '| 4.0 | 2 / 1 |' in bad
    quick = REPORT.page(seam_rows(500.0), {**MANIFEST, 'quick': True})
    assert 'numbers mean nothing' in quick
    assert 'times less' not in quick


def test_pictures_are_drawn_where_there_are_rows(tmp_path):
    assert plot_seams(tmp_path / 'seams.png', [*seam_rows(100.0), *peer_rows()])
    assert plot_success(tmp_path / 'success.png', success_rows(2.0))
    assert (tmp_path / 'seams.png').stat().st_size > 10_000
    assert (tmp_path / 'success.png').stat().st_size > 10_000
    assert not plot_seams(tmp_path / 'none.png', [])
    assert not plot_success(tmp_path / 'none.png', [])


# The command


def test_the_command_refuses_what_it_cannot_do(tmp_path, capsys):
    out = ['--json', str(tmp_path / 'out.json')]
    assert cli.main(['bench', 'motion', '--parts', 'speed', *out]) == cli.EXIT_USAGE
    assert "'speed'" in capsys.readouterr().err
    for peer in ('/nowhere', str(tmp_path)):
        assert cli.main(['bench', 'motion', '--peer-python', peer, *out]) == cli.EXIT_USAGE
    assert 'lerobot[async]' in capsys.readouterr().err
    assert cli.main(['bench', 'motion', '--episodes', '0', *out]) == cli.EXIT_USAGE
    assert '--episodes is 0' in capsys.readouterr().err


def test_the_command_writes_rows_page_and_picture(reaching, tmp_path, monkeypatch):
    monkeypatch.setattr(job_part, 'QUICK', tiny_job(reaching).sizes)
    monkeypatch.setattr(run, 'METHODS', {BEST: run.METHODS[BEST], LATEST: run.METHODS[LATEST]})
    out = tmp_path / 'results' / 'motion.json'
    words = ['bench', 'motion', '--quick', '--parts', 'seams', '--policy', str(reaching)]
    assert cli.main([*words, '--json', str(out)]) == 0
    assert (out.parent / REPORT.file).read_text().startswith('# Motion')
    assert (out.parent / SEAMS_PICTURE).exists()
