# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The shipped middleware profile carries camera images between processes without loss."""

import json
from pathlib import Path

import pytest

from benchmarks.transport import measure_images
from efficient_vla import cli

SECONDS = 2.0


@pytest.mark.parametrize(('width', 'height'), [(640, 480), (1280, 720)])
def test_no_image_is_lost_at_camera_rate(ros_domain: int, width: int, height: int) -> None:
    found = measure_images(width, height, rate=30.0, seconds=SECONDS)
    assert found['sent'] == 60
    assert found['lost'] == 0
    assert 0.0 < found['latency_ms']['p50'] <= found['latency_ms']['p95']


def test_command_writes_what_it_measured_with_its_manifest(ros_domain: int, tmp_path: Path) -> None:
    target = tmp_path / 'new' / 'transport.json'
    words = ['--size', '64x48', '--rate', '10', '--seconds', '0.5', '--no-profile']
    cli.main(['bench', 'transport', *words, '--json', str(target)])
    found = json.loads(target.read_text())
    assert [(row['width'], row['sent']) for row in found['images']] == [(64, 5)]
    assert found['manifest']['profile'] is False
    assert found['manifest']['checkpoint'] is None
    assert found['manifest']['versions']


@pytest.mark.parametrize('words', [['--rate', '0'], ['--seconds', 'nan'], ['--seconds', '-1']])
def test_impossible_measurement_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(['bench', 'transport', *words]) == 2
    assert f'{words[0]} is {float(words[1])}' in capsys.readouterr().err
