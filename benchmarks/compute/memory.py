# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a policy keeps in memory, measured from outside of torch: its own process, nothing else.

Run as ``python -m benchmarks.compute.memory POLICY node.param=value ...``; prints one JSON object.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.job import SINGLE
from efficient_vla.bench.evaluate import IMAGE_SIDE
from efficient_vla.bench.overrides import build_settings, merged, parse_overrides
from efficient_vla.bench.rows import REFUSALS, REFUSED
from efficient_vla.bringup.fit import image_side
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts
from efficient_vla.settings import InvalidSettingError

PASSES = 3
"""The first ones allocate what later ones use again."""
INSTRUCTION = 'reach the goal position'
ROOT = Path(__file__).resolve().parents[2]


def measure_memory(policy: Path, words: Sequence[str]) -> dict[str, Any]:
    """Return resident and peak memory of a process that decides with these parameters [MB].

    Resident is what came on top of the imports; both are in units of 1e6 bytes. Raises
    ``InvalidSettingError`` with what the process refused.
    """
    command = [sys.executable, '-m', 'benchmarks.compute.memory', str(policy), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f'memory of {" ".join(words) or "dense"}: {done.stderr[-500:]}')
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if REFUSED in found:
        raise InvalidSettingError(found[REFUSED])
    return found


def _decide(policy: Path, words: Sequence[str]) -> dict[str, float]:
    import torch

    torch.zeros(1) @ torch.zeros(1)
    facts = folder_facts(policy)
    side = image_side(facts) or IMAGE_SIDE
    process = psutil.Process()
    before = process.memory_info().rss
    stages = Policy.from_settings(policy, build_settings(merged(SINGLE, parse_overrides(words))))
    images = {name: np.full((side, side, 3), 128, np.uint8) for name in stages.perception.cameras}
    state = np.zeros(len(stages.actor.state_names), np.float32)
    for number in range(PASSES):
        stages.act(images, INSTRUCTION, state, stamp=float(number))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {'resident_mb': (process.memory_info().rss - before) / 1e6, 'peak_mb': peak / 1e6}


def main() -> None:
    """Print what the command line asks for."""
    policy, *words = sys.argv[1:]
    try:
        found: dict[str, Any] = _decide(Path(policy), words)
    except REFUSALS as error:
        found = {REFUSED: str(error)}
    sys.stdout.write(json.dumps(found) + '\n')


if __name__ == '__main__':
    main()
