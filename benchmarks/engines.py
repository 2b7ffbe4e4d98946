# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Time of each stage in torch and in other engines, in turn in one run, with the error of each.

``python -m benchmarks.engines --out FILE`` takes shipped policies; ``--tower`` times a vision tower
of SmolVLA's real shape (SigLIP-base, 512 px) with random weights instead. Where the machine is busy
the CPU time of the process is what counts, and it is told beside the other.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from efficient_vla.devices import ENGINES
from efficient_vla.engines import store
from efficient_vla.engines.fitting import fit
from efficient_vla.engines.graphs import EngineGraph, EngineRequest
from efficient_vla.errors import UsageError
from efficient_vla.perception.tower import VisionTower, WholeTower
from efficient_vla.policy import Policy
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import Frame

POLICIES = ('evla-nano', 'smolvla-metaworld', 'act-metaworld')
STAGES = ('perception', 'reasoner', 'actor')
TORCH = 'torch'
TASK = 'open the drawer'


def in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Return, for each name, median and 95th percentile of time and the median of CPU time [ms]."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for step in range(rounds + 2):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            taken = time.perf_counter() - wall, time.process_time() - cpu
            if step > 1:
                spent[name].append(taken)
    found = {}
    for name, pairs in spent.items():
        walls, cpus = (np.array(column) * 1e3 for column in zip(*pairs, strict=True))
        p50, p95 = np.percentile(walls, (50, 95))
        found[name] = {
            'p50_ms': float(p50),
            'p95_ms': float(p95),
            'cpu_p50_ms': float(np.median(cpus)),
        }
    return found


def loaded(policy: str, engine: str) -> Policy:
    """Return a policy of which every stage that has layers of its own is executed by an engine."""
    stages = ('actor',) if policy.startswith('act') else STAGES
    keywords = {f'{stage}_engine': engine for stage in stages}
    return Policy.from_pretrained(policy, robot='metaworld', device='cpu', **keywords)


def frames() -> Iterator[Frame]:
    """Yield frames of noise, none like the one before."""
    random, stamp = np.random.default_rng(0), 0.0
    state = np.array([0.0, 0.6, 0.2, 1.0], np.float32)
    while True:
        yield Frame({'corner2': random.integers(0, 255, (128, 128, 3), np.uint8)}, state, stamp)
        stamp += 0.1


def stages_of(policy: Policy) -> dict[str, Callable[[], Any]]:
    """Return a pass of each stage, on what the stage before made of the newest frame."""
    given = frames()
    last: dict[str, Any] = {}

    def perceive() -> None:
        last['frame'] = next(given)
        policy.reasoner.observe(last['frame'].state, last['frame'].stamp)
        last['tokens'] = policy.perception.encode(last['frame'])

    def plan() -> None:
        last['plan'] = policy.reasoner.plan(last['tokens'], TASK)

    def act() -> None:
        policy.actor.chunk(last['plan'], last['frame'])

    return dict(zip(STAGES, (perceive, plan, act), strict=True))


def measure(policy: str, engines: list[str], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each stage and engine that the machine has."""
    made, refused = {}, []
    for engine in (TORCH, *engines):
        try:
            made[engine] = loaded(policy, engine)
        except InvalidSettingError as error:
            refused.append({'policy': policy, 'engine': engine, 'refused': str(error)})
    calls = {
        f'{engine} {stage}': call
        for engine, one in made.items()
        for stage, call in stages_of(one).items()
    }
    times, rows = in_turn(calls, rounds), []
    for engine, one in made.items():
        for stage in STAGES:
            part = getattr(one, stage)
            known = getattr(part, 'engine', None)
            if not part.parameters_mb or (known is None and engine != TORCH):
                continue
            row: dict[str, Any] = {'policy': policy, 'stage': stage, 'engine': engine}
            row |= times[f'{engine} {stage}']
            ours, torchs = row['cpu_p50_ms'], times[f'{TORCH} {stage}']['cpu_p50_ms']
            row['times_faster_cpu'] = torchs / ours
            row['error'] = 0.0 if known is None else known.error
            row['weights_mb'] = part.parameters_mb
            rows.append(row)
    return rows + refused


def measure_tower(engines: list[str], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each engine and a vision tower of SmolVLA's real shape."""
    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=512,
        patch_size=16,
        vision_use_head=False,
    )
    pixels = torch.rand(1, 3, 512, 512) * 2 - 1
    tower = VisionTower(SiglipVisionModel(config), nn.Linear(768, 960)).eval().requires_grad_(False)
    calls: dict[str, Callable[[], Any]] = {TORCH: lambda: tower(pixels)}
    reports = {}
    for engine in engines:
        fitted: list[nn.Module] = []
        graph = EngineGraph('vision tower', WholeTower(tower, pixels), fitted.append)
        request = EngineRequest(engine, torch.get_num_threads(), 0.01)

        def probe(fitted: list[nn.Module] = fitted, graph: EngineGraph = graph) -> torch.Tensor:
            found: torch.Tensor = (fitted[0] if fitted else graph.module)(pixels)
            return found

        reports[engine] = fit([graph], [probe], request)
        calls[engine] = probe
    with torch.inference_mode():
        times = in_turn(calls, rounds)
    return [
        {
            'policy': 'vision tower of SmolVLA, 512 px',
            'stage': 'perception',
            'engine': engine,
            **times[engine],
            'times_faster_cpu': times[TORCH]['cpu_p50_ms'] / times[engine]['cpu_p50_ms'],
            'error': reports[engine].error if engine in reports else 0.0,
        }
        for engine in calls
    ]


def main() -> None:
    """Measure, and write after each policy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='file of the rows, JSON')
    parser.add_argument('--policies', nargs='*', default=POLICIES)
    parser.add_argument('--engines', nargs='*', default=['openvino'], choices=ENGINES[1:])
    parser.add_argument('--rounds', type=int, default=30)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--tower', action='store_true')
    args = parser.parse_args()
    if args.rounds < 1 or args.threads < 1:
        raise UsageError('--rounds and --threads expect at least 1.')
    torch.set_num_threads(args.threads)
    rows: list[dict[str, Any]] = []
    for policy in () if args.tower else args.policies:
        rows += measure(policy, args.engines, args.rounds)
        gc.collect()
        write(args.out, rows, args.threads)
    if args.tower:
        rows += measure_tower(args.engines, args.rounds)
        write(args.out, rows, args.threads)
    Console().print(f'{len(rows)} rows in {args.out}')


def write(path: Path, rows: list[dict[str, Any]], threads: int) -> None:
    """Write rows with the machine that made them."""
    machine = {'processor': store.processor(), 'instructions': store.instruction_sets()}
    text = json.dumps({'machine': machine | {'threads': threads}, 'rows': rows}, indent=1)
    path.write_text(text + '\n')


if __name__ == '__main__':
    main()
