# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole-stage latencies of techniques, and the way from camera to command."""

import json

import numpy as np
import pytest
import torch

from benchmarks.stages import VARIANTS, WARM_UP_FRAMES, measure
from efficient_vla import cli
from efficient_vla.bench.loop_latency import camera_to_command
from efficient_vla.records import StageRecord, merge


def frames(count: int) -> list[np.ndarray]:
    """Return images that change from one to the next."""
    return [np.full((32, 32, 3), 10 * index, np.uint8) for index in range(count)]


def test_every_variant_is_measured_on_the_same_frames(passthrough):
    count = WARM_UP_FRAMES + 4
    found = measure(passthrough, frames(count), 'reach the goal', {})['variants']
    assert set(found) == set(VARIANTS)
    for stages in found.values():
        assert set(stages) == {'perception', 'reasoner', 'actor'}
        assert stages['perception']['passes'] == 4
        assert stages['actor']['passes'] == 4
        assert stages['reasoner']['passes'] + stages['perception']['skipped'] == 4
    for row in found['dense'].values():
        assert row['p50_to_dense'] == 1.0


def test_progress_is_told_for_every_pass(passthrough):
    passes = []
    measure(
        passthrough,
        frames(5),
        'reach',
        {},
        names=('dense', 'cache skip'),
        on_pass=lambda: passes.append(1),
    )
    assert len(passes) == 10


def test_command_measures_with_the_threads_of_the_graph(passthrough, tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr('benchmarks.stages.frames_of_motion', lambda *_: frames(WARM_UP_FRAMES + 1))

    def measure(policy, images, instruction, manifest, **_):
        used.append(torch.get_num_threads())
        return {'variants': {}, 'manifest': manifest}

    monkeypatch.setattr('benchmarks.stages.measure', measure)
    before = torch.get_num_threads()
    target = tmp_path / 'stages.json'
    words = ['--policy', str(passthrough), '--json', str(target)]
    assert cli.main(['bench', 'stages', *words]) == 0
    assert used == [1]
    assert torch.get_num_threads() == before
    assert json.loads(target.read_text())['manifest']['threads'] == 1


def test_dual_reacts_past_the_reasoner():
    stages = {
        'camera': StageRecord([20.0]),
        'reasoner': StageRecord([300.0], transport_ms=[5.0], age_ms=[400.0]),
        'actor': StageRecord([30.0], transport_ms=[4.0], age_ms=[60.0]),
        'controller': StageRecord([1.0], transport_ms=[2.0], age_ms=[70.0]),
    }
    found = camera_to_command(stages, 'dual')
    assert found['path'] == ['camera', 'actor', 'controller']
    assert found['total_ms'] == 70.0
    assert found['waiting_ms'] == pytest.approx(70 - 51 - 6)
    assert found['transport_share'] == pytest.approx(6 / 70)
    assert found['transport_share_by_stage']['actor'] == pytest.approx(4 / 70)


def test_single_reacts_through_the_reasoner():
    names = ('camera', 'perception', 'reasoner', 'actor', 'controller')
    stages = {name: StageRecord([10.0], transport_ms=[1.0], age_ms=[100.0]) for name in names}
    assert camera_to_command(stages, 'single')['path'] == list(names)


def test_nothing_measured_has_no_latency():
    assert camera_to_command({}, 'dual') == {}


def test_values_that_were_not_measured_do_not_count():
    stages = {'controller': StageRecord([1.0], transport_ms=[float('nan')], age_ms=[50.0])}
    assert camera_to_command(stages, 'dual')['transport_ms'] == {'controller': 0.0}


def test_merged_records_add_passes_and_time():
    whole = merge(
        [
            StageRecord([1.0], skipped=1, parameters_mb=3.0, duration_s=2.0),
            StageRecord([2.0, 3.0], skipped=2, parameters_mb=4.0, duration_s=1.0),
        ]
    )
    assert whole.latency_ms == [1.0, 2.0, 3.0]
    assert whole.skipped == 3
    assert whole.parameters_mb == 4.0
    assert whole.rate_hz == 1.0
