# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A reasoner in a process apart hangs and is killed: the fast side goes on, holds, and recovers."""

import pytest
from fixtures.policies import write_policy

from benchmarks.slow_node.faults import suffer
from benchmarks.slow_node.rig import SlowNodeRig

pytestmark = pytest.mark.alone
VALID_S, HUNG_S = 2.0, 5.0
RECOVERS_S = 2.0
ATTEMPTS = 3
LIGHT = {
    'actor.architecture': 'dual',
    'reasoner.plan_validity': VALID_S,
    'metaworld_robot.camera.size': 64,
    'metaworld_robot.camera.render': 'fast',
    'metaworld_robot.max_steps': 10**9,
}


@pytest.fixture(scope='module')
def rig(tmp_path_factory, module_ros_domain):
    folder = tmp_path_factory.mktemp('slow_node')
    policy = write_policy(folder / 'policy', velocity=(0.0, 0.002, 0.0))
    with SlowNodeRig(folder, 'reasoner', LIGHT, str(policy)) as rig:
        yield rig


def recovered(rig, fault, seconds=None):
    """Return what came of a fault, of several tries the first whose recovery was in time."""
    for _ in range(ATTEMPTS):
        found = suffer(rig, fault, VALID_S, seconds)
        if found.back_after < RECOVERS_S:
            break
    assert found.back_after < RECOVERS_S
    return found


def test_chunks_go_on_while_the_plan_holds_and_the_arm_holds_after_it(rig):
    found = recovered(rig, 'hung 10 s', HUNG_S)
    assert found.chunks_during > 0
    assert found.oldest_plan < VALID_S + 0.5
    assert 0.2 < found.held < 0.95


def test_a_reasoner_that_was_killed_is_followed_once_it_works_again(rig):
    recovered(rig, 'killed')
