# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration through the whole graph, with a policy without weights that succeeds."""

import json
import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from efficient_vla import cli
from efficient_vla.bench import graph_runner
from efficient_vla.errors import EpisodeError
from efficient_vla.policy import default_policy

pytest.importorskip('rclpy', reason='the graph needs ROS 2')
pytest.importorskip('efficient_vla.msg', reason='the graph needs the interfaces built')
pytestmark = pytest.mark.timeout(300)

HEADS = 'single.', 'dual.'
STAGES = {'camera', 'perception', 'reasoner', 'actor', 'controller'}


def demo(policy: Path, out: Path, *words: str) -> 'subprocess.Popen[str]':
    """Start the demonstration in a process of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            '-m',
            'efficient_vla.cli',
            'demo',
            '--policy',
            str(policy),
            '--tasks',
            'reach-v3',
            '--episodes',
            '1',
            '--out',
            str(out),
            *words,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope='module')
def run(reaching, tmp_path_factory, module_ros_domain) -> tuple[Path, str]:
    """Return the folder of one finished demonstration and what it printed."""
    out = tmp_path_factory.mktemp('demo') / 'runs'
    process = demo(reaching, out, '--set', 'reasoner.max_rate=3.0')
    try:
        text, errors = process.communicate(timeout=280)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    (folder,) = out.iterdir()
    return folder, text


def test_episode_succeeds_and_the_table_says_so(run):
    folder, text = run
    assert 'success' in text
    assert 'reach-v3' in text
    assert str(folder) in text.replace('\n', '')


def test_summary_holds_what_an_evaluation_holds(run):
    found = json.loads((run[0] / 'summary.json').read_text())
    assert found['success_rate'] == 1.0
    assert found['tasks']['reach-v3']['episodes'] == 1
    assert set(found['stages']) == STAGES
    assert set(found['rates_hz']) == STAGES
    assert set(found['control']) >= {'period_ms', 'period_p99_ms', 'underruns', 'max_jerk'}
    assert found['control']['period_ms'] > 0
    assert found['episodes'][0]['instruction'] == 'reach the goal position'


def test_latency_from_camera_to_command_is_split(run):
    found = json.loads((run[0] / 'summary.json').read_text())['camera_to_command']
    assert found['path'] == ['camera', 'actor', 'controller']
    assert 0 <= found['transport_share'] <= 1
    parts = sum(found['compute_ms'].values()) + sum(found['transport_ms'].values())
    assert found['total_ms'] == pytest.approx(parts + found['waiting_ms'], rel=0.5)


def test_summary_has_only_finite_numbers(run):
    def refuse(word: str) -> float:
        raise ValueError(word)

    text = (run[0] / 'summary.json').read_text()
    found = json.loads(text, parse_constant=refuse)
    assert math.isfinite(found['control']['max_jerk'])


def test_manifest_holds_overrides_and_profile(run):
    facts = json.loads((run[0] / 'manifest.json').read_text())
    assert facts['parameters']['reasoner.max_rate'] == 3.0
    assert facts['parameters']['metaworld_robot.camera.render'] == 'fast'
    assert facts['render'] == 'fast'
    assert facts['hardware'] == 'cpu_2core'
    assert facts['seeds'] == [1000]


def test_video_and_contact_sheet_are_there(run):
    folder, _ = run
    episode = json.loads((folder / 'summary.json').read_text())['episodes'][0]
    reader = imageio_ffmpeg.read_frames(str(folder / episode['video']))
    assert next(reader)['codec'] == 'h264'
    assert len(list(reader)) > 5
    with Image.open(folder / 'contact_sheet.png') as sheet:
        sheet.load()
        assert sheet.width > 1000


def test_animation_moves(run):
    folder, _ = run
    with Image.open(folder / 'animation.webp') as animation:
        assert animation.n_frames > 5


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        ((), None),
        (('--set', 'metaworld_robot.camera.render=default'), 'default'),
        (('--render', 'default'), 'default'),
        (('--render', 'fast', '--set', 'metaworld_robot.camera.render=default'), 'fast'),
    ],
)
def test_the_rendering_is_the_one_that_was_asked_for(
    monkeypatch, passthrough, tmp_path, words, expected
):
    asked = []

    def stop(request, observer):
        asked.append(request.overrides.get('metaworld_robot', {}).get('camera.render'))
        raise EpisodeError('stopped')

    monkeypatch.setattr(graph_runner, 'run_graph', stop)
    common = ['demo', '--policy', str(passthrough), '--out', str(tmp_path / 'runs')]
    assert cli.main([*common, *words]) == cli.EXIT_FAILED
    assert asked == [expected]


def test_interrupt_while_the_nodes_start_ends_all_of_them(passthrough, tmp_path, ros_domain):
    process = demo(passthrough, tmp_path / 'runs')
    try:
        nodes: list[int] = []
        while not nodes and process.poll() is None:
            nodes = children(process.pid)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert 'Traceback' not in errors
    assert not any(alive(pid) for pid in nodes)


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended may still wait for its parent."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    """Return the direct children of a process."""
    text = Path(f'/proc/{pid}/task/{pid}/children').read_text()
    return [int(word) for word in text.split()]


def test_evaluation_through_the_graph_writes_the_same_json(run, reaching, tmp_path):
    target = tmp_path / 'out.json'
    code = cli.main(
        [
            'eval',
            '--graph',
            '--tasks',
            'reach-v3',
            '--episodes',
            '1',
            '--seed',
            '1000',
            '--policy',
            str(reaching),
            '--architecture',
            'single',
            '--instruction',
            'go to the goal',
            '--set',
            'controller.limits.max_velocity=[0.7]',
            '--json',
            str(target),
        ]
    )
    found = json.loads(target.read_text())
    summary = json.loads((run[0] / 'summary.json').read_text())
    assert code == 0
    assert set(found) == set(summary)
    assert found['episodes'][0]['instruction'] == 'go to the goal'
    assert found['camera_to_command']['path'][:3] == ['camera', 'perception', 'reasoner']
    assert found['manifest']['parameters']['controller.limits.max_velocity'] == [0.7]
    assert found['manifest']['parameters']['actor.architecture'] == 'single'


def evaluate_graph(capsys, policy: Path, folder: Path, *words: str) -> tuple[int, str]:
    """Evaluate one episode through the graph; return the exit code and what it complained of."""
    common = ['eval', '--graph', '--tasks', 'reach-v3', '--episodes', '1', '--policy', str(policy)]
    code = cli.main([*common, '--json', str(folder / 'out.json'), *words])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (('--plan-period', '0.5'), '--plan-period'),
        (('--workers', '2'), '--workers'),
        (('--set', 'actor.rte=1'), 'actor.rate'),
        (('--set', 'metaworld_robot.camera.render=nice'), 'one of default, fast'),
    ],
)
def test_wrong_usage_is_told_before_the_graph_starts(
    capsys, passthrough, tmp_path, words, expected
):
    code, error = evaluate_graph(capsys, passthrough, tmp_path, *words)
    assert code == cli.EXIT_USAGE
    assert expected in error
    assert error.count('\n') == 1


@pytest.mark.parametrize('command', [('demo',), ('eval',), ('bench', 'stages')])
def test_unknown_hardware_is_refused_with_those_that_are_known(capsys, command):
    with pytest.raises(SystemExit, match='2'):
        cli.main([*command, '--hardware', 'toaster'])
    error = capsys.readouterr().err
    assert "'toaster'" in error
    assert 'jetson_orin' in error


def test_graph_that_cannot_start_ends_with_the_reason(capsys, tmp_path, ros_domain):
    policy = tmp_path / 'policy'
    policy.mkdir()
    for path in default_policy().glob('*.json'):
        shutil.copy(path, policy)
    # One node alone lacks anything: of two, either may be the first to say so.
    weights = load_file(default_policy() / 'model.safetensors')
    held = {name: part for name, part in weights.items() if not name.startswith(HEADS)}
    save_file(held, policy / 'model.safetensors')
    code, error = evaluate_graph(capsys, policy, tmp_path)
    assert code == cli.EXIT_FAILED
    assert 'actor: configure: ' in error
    assert 'Use the whole folder of the policy' in error
    assert error.count('\n') == 1


def test_a_policy_that_nobody_knows_is_refused_before_the_graph_starts(capsys, tmp_path):
    policy = tmp_path / 'policy'
    policy.mkdir()
    (policy / 'policy.json').write_text('{"policy_type": "nonsense"}')
    code, error = evaluate_graph(capsys, policy, tmp_path)
    assert code == cli.EXIT_USAGE
    assert "'nonsense'" in error
    assert error.count('\n') == 1
