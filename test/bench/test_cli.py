# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line: help with examples, exit codes, and no traceback for what a person can mend."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from efficient_vla import cli

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


def test_unexpected_errors_keep_their_traceback(monkeypatch):
    def broken(arguments):
        raise ZeroDivisionError

    from efficient_vla.cli import evaluate

    monkeypatch.setattr(evaluate, 'main', broken)
    with pytest.raises(ZeroDivisionError):
        cli.main([*EVAL, '--json', 'out.json'])
