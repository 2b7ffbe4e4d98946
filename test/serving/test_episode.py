# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An episode whose policy is `efficient-vla serve` in a process of its own."""

from pathlib import Path

from benchmarks.serving.run import ours
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.places import policy_place
from efficient_vla.policy import default_policy


def test_an_episode_succeeds_with_the_policy_in_a_server(tmp_path: Path) -> None:
    with ours(default_policy(), tmp_path) as server:
        found = evaluate(
            Request(policy_place(server.address), ('reach-v3',), 1, 1000, render='fast')
        )
    (episode,) = found['episodes']
    assert episode['success'], episode
    assert found['manifest']['checkpoint'] == {'server': server.address}
