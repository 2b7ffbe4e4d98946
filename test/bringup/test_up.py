# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla up`` ends without a trace, whenever Ctrl-C comes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
from fixtures.policies import write_policy

from efficient_vla.nodes.client import neighbours
from efficient_vla.nodes.client.neighbours import refuse_neighbours

WaitGone = Callable[[int, float], None]
END_TIMEOUT_S = 30.0


@contextmanager
def up(
    folder: Path, *words: str, prefix: tuple[str, ...] = ()
) -> Iterator['subprocess.Popen[str]']:
    """Run the command as a leader of its own group, as a shell does."""
    command = [
        *prefix,
        sys.executable,
        '-m',
        'efficient_vla.cli',
        'up',
        '--log-folder',
        str(folder / 'logs'),
        '--set',
        'metaworld_robot.camera.size=64',
        *words,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: 'subprocess.Popen[str]', text: str) -> str:
    """Return the output up to the line that holds ``text``."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return ''.join(lines)
    raise AssertionError(f'the output ended without {text!r}:\n{"".join(lines)}')


def children(pid: int) -> list[int]:
    """Return the process ids of all children."""
    words = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    return [int(word) for word in words]


@pytest.mark.parametrize('phase', ['logs:', 'monitor: -', 'metaworld_robot: active'])
def test_ctrl_c_ends_everything_without_a_traceback(
    ros_domain: int, wait_gone: WaitGone, tmp_path: Path, phase: str
) -> None:
    policy = write_policy(tmp_path / 'policy')
    with up(tmp_path, '--policy', str(policy)) as process:
        read_until(process, phase)
        nodes = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=END_TIMEOUT_S)
        assert process.returncode in (0, 130)
        for pid in nodes:
            wait_gone(pid, 1.0)
    texts = [rest, *(path.read_text() for path in (tmp_path / 'logs').glob('*.log'))]
    assert not any('Traceback' in text for text in texts), '\n'.join(texts)


def test_graph_outlives_its_terminal_under_nohup(ros_domain: int, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / 'policy')
    with up(tmp_path, '--policy', str(policy), prefix=('nohup',)) as process:
        read_until(process, 'logs:')
        os.kill(process.pid, signal.SIGHUP)
        read_until(process, 'monitor: active')
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=END_TIMEOUT_S)


def test_second_ctrl_c_changes_nothing(
    ros_domain: int, wait_gone: WaitGone, tmp_path: Path
) -> None:
    policy = write_policy(tmp_path / 'policy')
    with up(tmp_path, '--policy', str(policy)) as process:
        read_until(process, 'monitor: -')
        nodes = children(process.pid)
        for _ in range(3):
            os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=END_TIMEOUT_S)
        assert process.returncode in (0, 130)
        assert 'Traceback' not in rest
        for pid in nodes:
            wait_gone(pid, 1.0)


def test_wrong_policy_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'efficient_vla.cli', 'up', '--policy', str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=False)
    assert done.returncode == 2
    assert 'policy.json' in done.stderr
    assert 'Traceback' not in done.stderr


def test_folder_for_logs_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / 'logs').touch()
    with up(tmp_path) as process:
        output, _ = process.communicate(timeout=60.0)
        assert process.returncode == 2
    assert '--log-folder' in output
    assert output.count('\n') == 1


def test_parameter_that_a_node_would_refuse_is_told_before_any_starts(tmp_path: Path) -> None:
    with up(tmp_path, '--set', 'controller.rate=-5.0') as process:
        output, _ = process.communicate(timeout=60.0)
        assert process.returncode == 2
    assert 'controller: rate is -5.0' in output
    assert output.count('\n') == 1
    assert not (tmp_path / 'logs').exists()


def test_second_graph_in_the_same_place_is_refused(
    ros_domain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('controller', context=context)
    try:
        with monkeypatch.context() as patient:
            # However busy the machine that the tests run on.
            patient.setattr(neighbours, 'POLLS', 1000)
            refused = refuse_neighbours(('actor', 'controller'), '')
        assert refused is not None
        assert refused.startswith(f'ROS domain {ros_domain} has controller already')
        assert refuse_neighbours(('actor',), '') is None
        assert refuse_neighbours(('controller',), '/other') is None
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
