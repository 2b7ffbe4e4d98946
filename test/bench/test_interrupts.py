# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A long command that is interrupted for real keeps what it measured, and says so."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from benchmarks import job as job_part, stages
from efficient_vla import cli, interrupts, unfinished
from efficient_vla.bench import conditions
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.records import EpisodeResult

SIGNALS = {'SIGINT': signal.SIGINT, 'SIGTERM': signal.SIGTERM}
WORDS = ('--tasks', 'reach-v3', '--episodes', '4', '--seed', '1000')


def ended(number):
    """Send the signal to this process and let its handler run."""
    os.kill(os.getpid(), number)
    signal.sigtimedwait([], 0)


@pytest.fixture
def third_episode_ends_it(monkeypatch):
    """Let the signal come in the third episode of an evaluation."""

    def prepare(number):
        from efficient_vla.bench import evaluate as module

        played = []

        def run_episode(sim, stages, settings, seed, sentence, video):
            played.append(seed)
            if len(played) == 3:
                ended(number)
            return EpisodeResult(sim.task, seed, sentence, seed == 1000, 1.0, 0, 0.0, 0)

        monkeypatch.setattr(module, 'run_episode', run_episode)
        return played

    return prepare


@pytest.mark.parametrize('name', SIGNALS)
def test_an_evaluation_keeps_its_episodes(
    name, third_episode_ends_it, passthrough, tmp_path, capsys
):
    third_episode_ends_it(SIGNALS[name])
    out = tmp_path / 'out.json'
    words = ['eval', *WORDS, '--workers', '1', '--policy', str(passthrough), '--json', str(out)]
    assert cli.main(words) == 128 + SIGNALS[name]
    found = json.loads(out.read_text())
    assert found['interrupted'] == 'ended after 2 of 4 episodes; rates are of those.'
    assert [item['seed'] for item in found['episodes']] == [1000, 1001]
    assert (found['success_rate'], found['tasks']['reach-v3']['episodes']) == (0.5, 2)
    assert found['manifest']['seeds'] == [1000, 1003]
    assert f'is in {out}' in capsys.readouterr().err


def test_an_evaluation_that_is_not_interrupted_says_nothing_of_it(
    third_episode_ends_it, passthrough, monkeypatch
):
    third_episode_ends_it(0)
    assert 'interrupted' not in evaluate(Request(passthrough, ('reach-v3',), 4, 1000))


def test_an_evaluation_that_is_ended_before_its_first_episode_leaves_an_older_file(
    third_episode_ends_it, passthrough, tmp_path
):
    played = third_episode_ends_it(signal.SIGINT)
    played += [0, 0]
    out = tmp_path / 'out.json'
    out.write_text('older')
    words = ['eval', *WORDS, '--workers', '1', '--policy', str(passthrough), '--json', str(out)]
    assert cli.main(words) == cli.EXIT_INTERRUPTED
    assert out.read_text() == 'older'


def test_techniques_keep_the_conditions_that_are_whole(
    third_episode_ends_it, passthrough, tmp_path, monkeypatch
):
    played = third_episode_ends_it(signal.SIGTERM)
    monkeypatch.setattr(conditions, 'evaluate', evaluate)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0})
    out = tmp_path / 'out.json'
    words = ['bench', 'techniques', '--tasks', 'reach-v3', '--episodes', '2', '--names', 'bf16']
    assert cli.main([*words, '--policy', str(passthrough), '--json', str(out)]) == 143
    found = json.loads(out.read_text())
    assert [row['technique'] for row in found['rows']] == ['dense']
    assert found['interrupted']
    assert len(played) == 3


def test_stages_keep_the_frames_until_then(passthrough, tmp_path, monkeypatch):
    import numpy as np

    images = [np.full((32, 32, 3), 10 * i, np.uint8) for i in range(stages.WARM_UP_FRAMES + 4)]
    monkeypatch.setattr(stages, 'frames_of_motion', lambda *_: images)
    run_frame, passes = stages._run_frame, []

    def stopped(variant, image, index, instruction):
        passes.append(index)
        if index == stages.WARM_UP_FRAMES + 2:
            ended(signal.SIGINT)
        run_frame(variant, image, index, instruction)

    monkeypatch.setattr(stages, '_run_frame', stopped)
    out = tmp_path / 'out.json'
    words = ['bench', 'stages', '--policy', str(passthrough), '--json', str(out)]
    assert cli.main(words) == cli.EXIT_INTERRUPTED
    found = json.loads(out.read_text())
    assert found['interrupted']
    assert found['variants']['dense']['actor']['passes'] == 2
    assert found['manifest']['frames'] == 60


def test_a_report_writes_its_page_and_resumes(passthrough, tmp_path, monkeypatch, capsys):
    from benchmarks.decoding import run

    played = []

    def play(job, words, on_result=None):
        played.append(words)
        if len(played) == 3:
            ended(signal.SIGTERM)
        return {('reach-v3', seed): True for seed in (1, 2)}

    monkeypatch.setattr(job_part.Job, 'play', play)
    out = tmp_path / 'decoding.json'
    words = ['bench', 'decoding', '--quick', '--parts', 'success', '--policy', str(passthrough)]
    assert cli.main([*words, '--json', str(out)]) == 143
    assert len(json.loads(out.read_text())['rows']) == 2
    assert '| flow, 10 steps | 100 % |' in (tmp_path / 'decoding.md').read_text()
    assert '--resume' in capsys.readouterr().err
    assert cli.main([*words, '--resume', '--json', str(out)]) == 0
    assert len(json.loads(out.read_text())['rows']) == len(run.CONDITIONS)
    assert len(played) == 1 + len(run.CONDITIONS)


@pytest.mark.parametrize('number', SIGNALS.values())
def test_a_real_process_keeps_its_episodes(number, reaching, tmp_path):
    """The pool of workers, its children and the terminal are the real ones."""
    out = tmp_path / 'out.json'
    words = ['eval', '--tasks', 'reach-v3', '--episodes', '200', '--workers', '2']
    words += ['--policy', str(reaching), '--json', str(out), '--render', 'fast']
    words += ['--set', 'eval.max_steps=8', '--architecture', 'single']
    code = (
        'import sys\n'
        'from efficient_vla import cli\n'
        'from efficient_vla.bench import evaluate\n'
        'run = evaluate._run_all\n'
        'def told(request):\n'
        '    for result in run(request):\n'
        '        print("episode", file=sys.stderr, flush=True)\n'
        '        yield result\n'
        'evaluate._run_all = told\n'
        'if __name__ == "__main__":\n'
        f'    sys.exit(cli.main({words}))\n'
    )
    script = tmp_path / 'run.py'
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(100, process.kill)
    timer.start()
    try:
        assert process.stderr is not None
        # The second one is told after the first was taken in.
        assert [process.stderr.readline() for _ in range(2)] == ['episode\n'] * 2
        process.send_signal(number)
        errors = process.stderr.read()
        assert process.wait() == 128 + number, errors
    finally:
        timer.cancel()
        process.kill()
    assert 'Traceback' not in errors
    found = json.loads(out.read_text())
    assert 1 <= len(found['episodes']) < 200
    assert found['interrupted'].endswith('of 200 episodes; rates are of those.')


def test_a_request_to_end_carries_its_exit_code():
    for stop, code in ((KeyboardInterrupt(), 130), (interrupts.Interrupted({}, 143), 143)):
        carrying = unfinished.carrying(lambda: {'rows': 3})
        with pytest.raises(interrupts.Interrupted) as caught, carrying:
            raise stop
        assert (caught.value.code, caught.value.found) == (code, {'rows': 3})


def test_what_is_saved_at_the_end_is_saved_at_an_interruption_and_not_after_a_fault():
    saved = []
    with unfinished.saving(lambda: saved.append('end')):
        pass
    stopped = unfinished.saving(lambda: saved.append('interrupted'))
    with pytest.raises(KeyboardInterrupt), stopped:
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), unfinished.saving(lambda: saved.append('fault')):
        raise ZeroDivisionError
    assert saved == ['end', 'interrupted']


def test_a_program_under_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.unwinding():
            ended(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
