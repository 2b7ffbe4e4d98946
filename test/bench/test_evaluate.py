# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation in process: the shape of its result, paired seeds, schedules and interruptions."""

import json
import os
import signal
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from fixtures.policies import write_policy

from efficient_vla import cli
from efficient_vla.bench import lockstep
from efficient_vla.bench.evaluate import Request, Worker, evaluate
from efficient_vla.bench.manifest import command
from efficient_vla.bench.overrides import parse_overrides
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.sim.catalogue import simulation
from efficient_vla.types import InvalidRecordError, RefusedChunkError

TASKS = ('reach-v3', 'window-close-v3')


def request(policy: Path, *words: str, **changes) -> Request:
    """Return a request for the smallest evaluation: half a second of simulated time."""
    facts = {
        'tasks': ('reach-v3',),
        'episodes': 1,
        'seed': 1000,
        'render': 'fast',
        'image_size': 64,
        'overrides': parse_overrides(['eval.max_steps=40', *words]),
    }
    return Request(policy=policy, **{**facts, **changes})


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    """Return the JSON of one evaluation through the command line, read back from its file."""
    folder = tmp_path_factory.mktemp('eval')
    policy = write_policy(folder / 'policy')
    code = cli.main(
        [
            'eval',
            '--tasks',
            ','.join(TASKS),
            '--episodes',
            '1',
            '--seed',
            '1000',
            '--policy',
            str(policy),
            '--render',
            'fast',
            '--workers',
            '1',
            '--set',
            'eval.reasoner_period=0.5',
            '--chunk-period',
            '0.25',
            '--set',
            'eval.max_steps=80',
            '--video',
            str(folder / 'videos'),
            '--json',
            str(folder / 'sub' / 'out.json'),
        ]
    )
    assert code == 0
    return json.loads((folder / 'sub' / 'out.json').read_text()), folder


def test_success_is_reported_by_task_with_its_interval(result):
    found, _ = result
    assert set(found['tasks']) == set(TASKS)
    for task in found['tasks'].values():
        low, high = task['ci95']
        assert 0 <= low <= task['success_rate'] <= high <= 1
        assert task['episodes'] == 1
        assert task['successes'] in (0, 1)
    rates = [task['success_rate'] for task in found['tasks'].values()]
    assert found['success_rate'] == pytest.approx(sum(rates) / len(rates))


def test_stages_report_latencies_and_rates(result):
    found, _ = result
    for stage in ('perception', 'reasoner', 'actor'):
        latency = found['stages'][stage]['latency_ms']
        assert 0 <= latency['p50'] <= latency['p95'] <= latency['p99']
        assert found['rates_hz'][stage] > 0
    assert found['stages']['reasoner']['tokens_total'] > 0
    assert found['stages']['reasoner']['tokens_kept'] > 0


def test_schedule_is_that_of_the_settings(result):
    found, _ = result
    assert found['rates_hz']['reasoner'] == pytest.approx(2.0)
    assert found['rates_hz']['actor'] == pytest.approx(4.0)


def test_control_reports_period_underruns_and_jerk(result):
    found, _ = result
    assert found['control']['period_ms'] == 12.5
    assert found['control']['underruns'] >= 0
    assert found['control']['max_jerk'] >= 0


def test_manifest_says_what_the_run_was_made_with(result):
    found, _ = result
    facts = found['manifest']
    assert facts['seeds'] == [1000, 1000]
    assert facts['render'] == 'fast'
    assert facts['camera']['names'] == ['corner2']
    assert facts['state_width'] == 4
    assert len(facts['checkpoint']['sha256']) == 64
    assert facts['parameters']['eval.actor_period'] == 0.25
    assert facts['parameters']['reasoner.pruning.keep'] == 0.5
    assert {'cpu', 'cores', 'memory_gb', 'os'} <= set(facts['machine'])
    assert 'python' in facts['versions']
    assert facts['command'].startswith('efficient-vla')


def test_videos_are_written_for_every_episode(result):
    _, folder = result
    names = sorted(path.name for path in (folder / 'videos').iterdir())
    assert names == ['reach-v3-1000.mp4', 'window-close-v3-1000.mp4']


def outcomes(found):
    """Return what two runs of the same episodes must share."""
    keys = ('task', 'seed', 'success', 'duration_s', 'max_jerk', 'underruns')
    return [tuple(episode[key] for key in keys) for episode in found['episodes']]


def test_same_seed_is_the_same_episode_whatever_the_workers(passthrough):
    alone = evaluate(request(passthrough, tasks=TASKS, episodes=2))
    shared = evaluate(request(passthrough, tasks=TASKS, episodes=2, workers=2))
    assert outcomes(alone) == outcomes(shared)
    assert [episode['seed'] for episode in alone['episodes']] == [1000, 1001, 1000, 1001]


def test_single_makes_one_chunk_a_plan(passthrough):
    found = evaluate(request(passthrough, 'actor.architecture=single'))
    assert found['stages']['actor']['passes'] == found['stages']['reasoner']['passes']
    assert found['rates_hz']['reasoner'] == pytest.approx(6.0)


def test_instruction_replaces_the_sentence_of_the_task(passthrough):
    found = evaluate(request(passthrough, instruction='sing a song'))
    assert found['episodes'][0]['instruction'] == 'sing a song'


def test_empty_instruction_is_refused(passthrough):
    with pytest.raises(InvalidRecordError, match='instruction'):
        evaluate(request(passthrough, instruction='  '))


@pytest.mark.parametrize('sentence', ['', 'открой ящик', '打开抽屉'])
def test_instruction_that_no_policy_reads_is_refused_before_anything_starts(tmp_path, sentence):
    with pytest.raises(InvalidRecordError, match='instruction'):
        request(tmp_path, instruction=sentence)


def test_policies_get_the_instruction_as_the_graph_gives_it(tmp_path):
    asked = request(tmp_path, instruction=' open  the drawer ')
    assert asked.sentence == 'open the drawer'


def test_the_same_episode_is_not_counted_twice(tmp_path):
    with pytest.raises(UsageError, match='named twice'):
        request(tmp_path, tasks=('reach-v3', 'window-close-v3', 'reach-v3'))


def test_single_has_no_period_of_chunks(tmp_path):
    with pytest.raises(UsageError, match='every plan gives one chunk'):
        request(tmp_path, 'actor.architecture=single', 'eval.actor_period=0.2')


def test_error_of_a_worker_reaches_the_caller(tmp_path):
    (tmp_path / 'policy.json').write_text('{"policy_type": "nonsense"}')
    with pytest.raises(CheckpointError, match='nonsense'):
        evaluate(request(tmp_path, episodes=2, workers=2))


def children(pid: int) -> list[int]:
    """Return the direct children of a process."""
    text = Path(f'/proc/{pid}/task/{pid}/children').read_text()
    return [int(word) for word in text.split()]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_evaluation(passthrough, tmp_path, number):
    """Ctrl-C ends with 130 and no traceback; even after SIGKILL the workers end by themselves."""
    process = subprocess.Popen(
        [
            sys.executable,
            '-m',
            'efficient_vla.cli',
            'eval',
            '--tasks',
            'reach-v3',
            '--episodes',
            '40',
            '--policy',
            str(passthrough),
            '--workers',
            '2',
            '--json',
            str(tmp_path / 'out.json'),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        workers: list[int] = []
        while len(workers) < 2 and process.poll() is None:
            workers = children(process.pid)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.kill()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    # The pipes close only when the last process that holds them has ended.
    if number == signal.SIGINT:
        assert 'Traceback' not in errors
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)


def test_a_chunk_out_of_range_is_counted_and_the_episode_goes_on(tmp_path, monkeypatch):
    words = 'eval.actor_period=0.1', 'eval.reasoner_period=0.1'
    worker = Worker(request(write_policy(tmp_path), *words))
    actor = worker.stages.actor
    chunk, asked = actor.chunk, []

    def refuse_first_two(plan, frame):
        asked.append(frame.stamp)
        if len(asked) <= 2:
            raise RefusedChunkError('chunk has -2 for gripper; expected -1 to 1.')
        return chunk(plan, frame)

    monkeypatch.setattr(actor, 'chunk', refuse_first_two)
    result = worker.run('reach-v3', 1000)
    worker.close()
    assert result.rejected_chunks == 2
    assert asked == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_another_broken_record_still_ends_the_evaluation(tmp_path, monkeypatch):
    worker = Worker(request(write_policy(tmp_path)))

    def broken(plan, frame):
        raise InvalidRecordError('chunk has NaN.')

    monkeypatch.setattr(worker.stages.actor, 'chunk', broken)
    with pytest.raises(InvalidRecordError, match='NaN'):
        worker.run('reach-v3', 1000)
    worker.close()


@pytest.mark.parametrize(
    ('module', 'start'),
    [('benchmarks.refresh', 'python -m benchmarks.refresh'), ('pytest', 'efficient-vla')],
)
def test_a_manifest_names_what_was_started(monkeypatch, module, start):
    monkeypatch.setattr(sys.modules['__main__'], '__spec__', ModuleSpec(module, None))
    monkeypatch.setattr(sys, 'argv', ['x', 'my model', '--json', 'out.json'])
    assert command() == f"{start} 'my model' --json out.json"


@pytest.mark.parametrize(('control', 'plans'), [('live', 4), ('first', 1)])
def test_the_first_plan_of_an_episode_may_stay(tmp_path, control, plans):
    words = 'actor.architecture=dual', f'eval.plan={control}', 'eval.reasoner_period=0.125'
    asked = request(write_policy(tmp_path / 'policy'), *words)
    found = evaluate(asked)
    assert found['stages']['reasoner']['passes'] == plans
    assert found['stages']['actor']['passes'] == 5


def test_a_wrong_plan_is_made_for_another_sentence_of_the_scene(tmp_path, monkeypatch):
    heard = []
    plan_from = lockstep.plan_from

    def listening(stages, frame, instruction, records):
        heard.append(instruction)
        return plan_from(stages, frame, instruction, records)

    monkeypatch.setattr(lockstep, 'plan_from', listening)
    found = evaluate(request(write_policy(tmp_path / 'policy'), 'eval.plan=wrong'))
    assert found['episodes'][0]['instruction'] == 'reach the goal position'
    assert set(heard) == {'push the puck to the goal'}
    sim = simulation('ur5e').make('reach_three', 'fast', 64)
    sim.reset(1000)
    own = sim.instruction
    other = lockstep.other_sentence(sim, 1000)
    sim.close()
    assert other != own
    assert other in {f'touch the {colour} ball' for colour in ('red', 'green', 'blue')}
