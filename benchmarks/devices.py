# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Parity and time of the stages on a device: `python -m benchmarks.devices --out FILE`.

Runs unattended. Each configuration is measured beside the CPU and written at once, so that a run
that was interrupted goes on where it stopped; without a GPU it measures the CPU against itself.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from efficient_vla.bench.lockstep import new_records, plan_from, timed
from efficient_vla.devices import torch_device
from efficient_vla.policy import Policy
from efficient_vla.types import Frame

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    'dense': {},
    'patch cache': {'cache_method': 'patch', 'signals': True},
    'fastv': {'pruning_method': 'fastv', 'pruning_keep': 0.25},
    'vla_cache': {'reuse_method': 'vla_cache'},
    'bf16': {'quantization_mode': 'bf16', 'perception_quantization_mode': 'bf16'},
    'single': {'architecture': 'single'},
    'flow': {'head': 'flow', 'architecture': 'single'},
    'diffusion': {'head': 'diffusion', 'architecture': 'single'},
}


def measure(
    policy: str | None, device: str, keywords: dict[str, Any], passes: int
) -> dict[str, float]:
    """Return the largest difference of a chunk from the CPU's, and the median of each stage."""
    made = []
    for where in ('cpu', device):
        loaded = Policy.from_pretrained(policy, device=where, **keywords)
        records = new_records(loaded)
        rng = np.random.default_rng(0)
        image = rng.integers(0, 255, (480, 480, 3), np.uint8)
        state = np.zeros(len(loaded.actor.state_names), np.float32)
        chunks = []
        for step in range(passes):
            image = image.copy()
            image[:60, 8 * step % 480 :][:, :60] = 128
            frame = Frame(dict.fromkeys(loaded.perception.cameras, image), state, 0.1 * step)
            plan = plan_from(loaded, frame, 'open the drawer', records)
            chunks.append(timed(records['actor'], loaded.actor.chunk, plan, frame).actions)
        made.append(np.stack(chunks))
    return {
        'difference': float(np.abs(made[1] - made[0]).max()),
        **{f'{name}_ms': float(np.median(r.latency_ms)) for name, r in records.items()},
    }


def main() -> None:
    """Measure what the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('runs/devices.json'))
    parser.add_argument('--device', default='auto')
    parser.add_argument('--policy')
    parser.add_argument('--passes', type=int, default=20)
    args = parser.parse_args()
    device = str(torch_device(args.device))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(args.out.read_text()) if args.out.exists() else {}
    for name, keywords in CONFIGURATIONS.items():
        key = f'{args.policy or "evla-nano"}, {device}, {name}'
        if key not in found:
            found[key] = measure(args.policy, device, keywords, args.passes)
            args.out.write_text(json.dumps(found, indent=2) + '\n')
            Console().print(key, found[key])


if __name__ == '__main__':
    main()
