# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All nodes as real processes, and their policy in a server that is killed."""

from pathlib import Path

from fixtures.policies import write_policy

from benchmarks.serving.loss import measure_loss
from benchmarks.serving.run import ours

BRAKES_S = 5.0
"""A chunk of half a second runs out, and the arm decelerates; the rest is for a busy machine."""
RECOVERS_S = 2.0
ATTEMPTS = 3
LIGHT = {
    'metaworld_robot.camera.size': 64,
    'metaworld_robot.camera.render': 'fast',
    'metaworld_robot.max_steps': 100_000,
}


def test_the_arm_holds_without_its_server_and_goes_on_with_it(
    ros_domain: int, tmp_path: Path
) -> None:
    policy = write_policy(tmp_path / 'policy', velocity=(0.0, 0.01, 0.0))
    for _ in range(ATTEMPTS):
        with ours(policy, tmp_path) as server:
            found = measure_loss(server, LIGHT, tmp_path / 'logs')
        if found['hold_s'] < BRAKES_S and found['recover_s'] < RECOVERS_S:
            break
    assert found['hold_s'] < BRAKES_S
    assert found['recover_s'] < RECOVERS_S
