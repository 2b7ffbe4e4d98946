# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line: help with examples, exit codes, and no traceback for what a person can mend."""

import argparse
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from efficient_vla import cli
from efficient_vla.cli.run_options import policy_folder

EVAL = ('eval', '--tasks', 'reach-v3', '--episodes', '1')


def call(capsys, *words):
    """Return exit code and what went to the error stream."""
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr()


@pytest.mark.parametrize('command', sorted(cli.COMMANDS))
def test_every_command_has_help_with_an_example(capsys, command):
    code, output = call(capsys, command, '--help')
    assert code == 0
    assert 'example:' in output.out
    assert f'efficient-vla {command}' in output.out.split('example:')[1]


def test_overview_names_every_command(capsys):
    code, output = call(capsys, '--help')
    assert code == 0
    for command in cli.COMMANDS:
        assert f'  {command} ' in output.out


def test_help_loads_neither_torch_nor_simulator_nor_ros():
    code = (
        'import sys; from efficient_vla import cli\n'
        'try:\n    cli.main(["--help"])\nexcept SystemExit:\n    pass\n'
        'heavy = {"torch", "mujoco", "rclpy", "transformers", "numpy"} & set(sys.modules)\n'
        'sys.exit(f"loaded {heavy}" if heavy else 0)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_command_is_wrong_usage(capsys):
    code, output = call(capsys, 'fly')
    assert code == cli.EXIT_USAGE
    assert "'fly'" in output.err


def test_no_command_is_wrong_usage(capsys):
    assert call(capsys)[0] == cli.EXIT_USAGE


def one_sentence(code, output):
    """Return the error text after checking that it is one line and no traceback."""
    assert code == cli.EXIT_USAGE
    assert 'Traceback' not in output.err
    assert output.err.count('\n') == 1
    return output.err


@pytest.mark.parametrize(
    ('words', 'named'),
    [
        (('eval', '--robot', 'ur10', '--tasks', 'reach', '--json', 'out.json'), "'ur10'"),
        (('eval', '--tasks', 'reach-v3', '--json', 'out.json', '--episodes', 'many'), "'many'"),
        (('eval', '--tasks', 'reach-v3'), '--json'),
        (('bench', 'nothing'), "'nothing'"),
    ],
)
def test_wrong_option_is_told_in_one_sentence_that_names_the_help(capsys, words, named):
    error = one_sentence(*call(capsys, *words))
    assert named in error
    assert '--help' in error


def test_robot_file_that_is_not_there_is_named_with_how_to_write_one(capsys, tmp_path):
    error = one_sentence(*call(capsys, 'up', '--robot', str(tmp_path / 'arm.yaml')))
    assert 'arm.yaml' in error
    assert 'new-robot' in error


def test_parameter_that_was_nearly_right_is_named_alone(capsys, tmp_path):
    words = ('--set', 'controller.rat=100', '--json', str(tmp_path / 'out.json'))
    error = one_sentence(*call(capsys, *EVAL, *words))
    assert 'did you mean controller.rate?' in error
    assert 'controller.blending' not in error


def test_unknown_task_is_named(capsys, passthrough, tmp_path):
    error = one_sentence(
        *call(
            capsys,
            'eval',
            '--tasks',
            'fly-v3',
            '--policy',
            str(passthrough),
            '--json',
            str(tmp_path / 'out.json'),
        )
    )
    assert "'fly-v3'" in error
    assert 'reach-v3' in error


def test_missing_policy_is_named(capsys, tmp_path):
    error = one_sentence(
        *call(
            capsys,
            *EVAL,
            '--policy',
            str(tmp_path / 'nothing'),
            '--json',
            str(tmp_path / 'out.json'),
        )
    )
    assert 'nothing' in error
    assert '--policy' in error


@pytest.mark.parametrize('name', ['evla-nano', 'passthrough'])
def test_a_policy_may_be_the_name_of_a_shipped_one(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = policy_folder(Path(name))
    assert folder.name == name
    assert (folder / 'policy.json').is_file()


@pytest.mark.parametrize(
    ('word', 'expected'),
    [
        ('reasoner.pruning.keep', 'node.param=value'),
        ('keep=0.5', 'node.param=value'),
        ('arm.keep=0.5', "unknown node 'arm'"),
        ('reasoner.pruning.kep=0.5', 'reasoner.pruning.keep'),
        ('reasoner.pruning.keep=much', "'much'"),
        ('reasoner.pruning.keep=1.5', 'at most 1.0'),
        ('reasoner.pruning.method=fast', 'one of none, fastv'),
    ],
)
def test_bad_override_is_explained(capsys, passthrough, tmp_path, word, expected):
    error = one_sentence(
        *call(
            capsys,
            *EVAL,
            '--policy',
            str(passthrough),
            '--set',
            word,
            '--json',
            str(tmp_path / 'out.json'),
        )
    )
    assert expected in error


def test_inconsistent_overrides_are_refused_as_a_whole(capsys, passthrough, tmp_path):
    error = one_sentence(
        *call(
            capsys,
            *EVAL,
            '--policy',
            str(passthrough),
            '--set',
            'reasoner.pruning.method=fastv',
            '--set',
            'reasoner.pruning.layer=0',
            '--json',
            str(tmp_path / 'out.json'),
        )
    )
    assert 'pruning.layer' in error


def test_output_that_cannot_be_written_is_told_before_the_run(capsys, passthrough, tmp_path):
    error = one_sentence(
        *call(capsys, *EVAL, '--policy', str(passthrough), '--json', str(tmp_path))
    )
    assert 'cannot write' in error


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (('--seed', '-1'), 'seed -1'),
        (('--tasks', 'reach-v3,reach-v3'), "'reach-v3' is named twice"),
        (('--instruction', '打开抽屉'), 'not a Latin letter'),
        (('--architecture', 'single', '--chunk-period', '0.2'), '--chunk-period'),
        (('--set', 'reasoner.threads=2'), '--graph'),
        (('--set', 'metaworld_robot.camera.render=fast'), '--graph'),
        (('--video', '{folder}/file/videos'), '--video'),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_no_file_stays(
    capsys, passthrough, tmp_path, words, expected
):
    (tmp_path / 'file').touch()
    words = [word.format(folder=tmp_path) for word in words]
    out = tmp_path / 'out.json'
    common = (*EVAL, '--policy', str(passthrough), '--json', str(out))
    assert expected in one_sentence(*call(capsys, *common, *words))
    assert not out.exists()


def test_an_earlier_result_stays_when_the_next_run_fails(capsys, passthrough, tmp_path):
    out = tmp_path / 'out.json'
    out.write_text('{}')
    words = (*EVAL, '--seed', '-1', '--policy', str(passthrough), '--json', str(out))
    one_sentence(*call(capsys, *words))
    assert out.read_text() == '{}'


@pytest.mark.parametrize('part', ['tokens', 'motion', 'decoding'])
@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (('--tasks', 'reach'), "unknown task 'reach'"),
        (('--tasks', 'reach-v3,reach-v3'), 'named twice'),
        (('--seed', '-1'), 'seed -1'),
    ],
)
def test_a_benchmark_of_several_parts_checks_its_words_before_it_writes(
    capsys, passthrough, tmp_path, part, words, expected
):
    rows = '{"rows": [{"part": "success", "key": "k"}]}'
    out = tmp_path / 'out.json'
    out.write_text(rows)
    common = ('bench', part, '--quick', '--policy', str(passthrough), '--json', str(out))
    assert expected in one_sentence(*call(capsys, *common, *words))
    assert out.read_text() == rows


ROUNDTRIP = 'bench', 'roundtrip', 'none', '--json', 'out.json'


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (('bench', 'decoding', '--json', 'out.json', '--workers', '0'), '--workers is 0'),
        ((*ROUNDTRIP, '--ways', 'walk'), "unknown way 'walk'"),
        (ROUNDTRIP, '--peer-python is None'),
        ((*ROUNDTRIP, '--peer-python', '{folder}/file'), 'an environment with LeRobot'),
        ((*ROUNDTRIP, '--ways', 'process', '--tasks', 'foo'), "'foo'"),
        ((*ROUNDTRIP, '--ways', 'process'), 'is no policy folder'),
        (('data', '--workers', '0'), '--workers is 0'),
        (('data', '--first', '-1'), '--first is -1'),
        (('data', '--tasks', 'foo'), "'foo'"),
        (('data', '--tasks', 'reach-v3,reach-v3'), 'named twice'),
        (('data', '--out', '{folder}/file/data'), '--out'),
        (('train', '--out', '{folder}/file/policy'), '--out'),
        (('train', '--data', '{folder}/none'), 'efficient-vla data --out'),
        (('train', '--device', 'gpu'), "'gpu'"),
        (('train', '--seed', '-1'), '--seed is -1'),
        (('train', '--method', 'lightvla', '--batch', '-1'), '--batch is -1'),
    ],
)
def test_commands_explain_what_they_cannot_do(capsys, monkeypatch, tmp_path, words, expected):
    (tmp_path / 'file').touch()
    monkeypatch.chdir(tmp_path)
    words = [word.format(folder=tmp_path) for word in words]
    assert expected in one_sentence(*call(capsys, *words))


@pytest.mark.parametrize(
    ('mode', 'words'),
    [
        *(
            ((), words)
            for words in (
                ('--steps', '5'),
                ('--rank', '5'),
                ('--frames', '5'),
                ('--validation', 'held-out'),
                ('--validation-frames', '5'),
                ('--install',),
                ('--policy', 'evla-nano'),
            )
        ),
        (('--method', 'otter'), ('--eye-steps', '5')),
        (('--method', 'otter'), ('--actor-steps', '5')),
        (('--method', 'otter'), ('--image-size', '5')),
        (('--vlm', 'model'), ('--joint-steps', '5')),
        (('--vlm', 'model'), ('--policy', 'evla-nano')),
        (('--vlm', 'model'), ('--install',)),
        (('--vlm', 'model'), ('--method', 'otter')),
    ],
)
def test_training_refuses_an_option_that_it_would_not_use(
    capsys, monkeypatch, tmp_path, mode, words
):
    monkeypatch.chdir(tmp_path)
    said = one_sentence(*call(capsys, 'train', *mode, *words))
    assert words[0] in said
    assert 'Leave it out' in said or 'expected one' in said


def test_training_on_a_gpu_that_is_not_there_is_refused(capsys, monkeypatch, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip('this machine has a GPU')
    monkeypatch.chdir(tmp_path)
    assert "'cuda'" in one_sentence(*call(capsys, 'train', '--device', 'cuda'))


@pytest.mark.parametrize('command', ['data', 'train'])
def test_help_names_every_default(command):
    module = importlib.import_module(f'efficient_vla.cli.{command}')
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    silent = [
        action.dest
        for action in parser._actions
        if not any(action.default is none for none in (None, False, argparse.SUPPRESS))
        and 'default' not in (action.help or '')
    ]
    assert silent == []


@pytest.mark.parametrize('option', ['--episodes', '--workers'])
def test_counts_start_at_one(capsys, passthrough, tmp_path, option):
    error = one_sentence(
        *call(
            capsys,
            'eval',
            '--tasks',
            'reach-v3',
            option,
            '0',
            '--policy',
            str(passthrough),
            '--json',
            str(tmp_path / 'out.json'),
        )
    )
    assert 'at least 1' in error


def test_interrupt_ends_with_130_and_no_traceback(capsys, monkeypatch):
    def interrupted(command, words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, 'run', interrupted)
    code, output = call(capsys, 'doctor')
    assert code == cli.EXIT_INTERRUPTED
    assert output.err == ''


@pytest.mark.parametrize('seconds', [0.03, 0.3, 0.8])
def test_interrupt_while_the_interpreter_starts_is_silent(tmp_path, seconds):
    script = Path(sys.prefix) / 'bin' / 'efficient-vla'
    if not script.exists():
        pytest.skip('efficient-vla is not installed beside this interpreter')
    words = [str(script), 'demo', '--out', str(tmp_path / 'runs')]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (cli.EXIT_INTERRUPTED, '')


@pytest.mark.parametrize(
    'error', [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes")]
)
def test_want_of_memory_is_said_with_what_helps(monkeypatch, capsys, error):
    def greedy(arguments):
        raise error

    from efficient_vla.cli import evaluate

    monkeypatch.setattr(evaluate, 'main', greedy)
    code, told = call(capsys, *EVAL, '--json', 'out.json')
    assert code == cli.EXIT_FAILED
    assert 'memory ran out' in told.err
    assert 'fewer --workers' in told.err


@pytest.mark.parametrize(
    'words',
    [
        ['train', '--whole', '101'],
        ['train', '--threads', '257'],
        ['bench', 'policies', '--threads', '257'],
    ],
)
def test_numbers_beyond_reason_are_refused(capsys, words):
    code, told = call(capsys, *words)
    assert code == cli.EXIT_USAGE
    assert f'{words[-2]} is {words[-1]}; expected at most' in told.err


def test_a_broken_pipe_is_no_success_where_our_output_is_read(monkeypatch):
    def broken(arguments):
        raise BrokenPipeError

    from efficient_vla.cli import evaluate

    monkeypatch.setattr(evaluate, 'main', broken)
    read, write = os.pipe()
    with open(write, 'w') as out, monkeypatch.context() as patched:
        patched.setattr(sys, 'stdout', out)
        with pytest.raises(BrokenPipeError):
            cli.main([*EVAL, '--json', 'out.json'])
        os.close(read)
        assert cli.main([*EVAL, '--json', 'out.json']) == 0


def test_unexpected_errors_keep_their_traceback(monkeypatch):
    def broken(arguments):
        raise ZeroDivisionError

    from efficient_vla.cli import evaluate

    monkeypatch.setattr(evaluate, 'main', broken)
    with pytest.raises(ZeroDivisionError):
        cli.main([*EVAL, '--json', 'out.json'])
