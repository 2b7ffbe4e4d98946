# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Policies that differ in their trunk alone, trained on the same frames for the same steps."""

import argparse
import csv
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.compute.decisions import load
from benchmarks.compute.memory import measure_memory
from benchmarks.depth import cpu_times
from benchmarks.job import Job, Sizes
from efficient_vla.bench.compare import paired_columns, unpacked, wilson_interval
from efficient_vla.bench.evaluate import Worker
from efficient_vla.bench.manifest import manifest
from efficient_vla.bench.rows import Rows, row_key
from efficient_vla.engines import store
from efficient_vla.headers import read_header
from efficient_vla.training.trunks import TRUNKS

BASELINE = 'llama'
EXAMPLES = """\
examples, each of which goes on where it was interrupted:
  python -m benchmarks.siblings --work /tmp/siblings --out siblings.json
  python -m benchmarks.siblings --data data/metaworld --work runs/siblings --out siblings.json
  python -m benchmarks.siblings --work /tmp/quick --out quick.json --trunks mamba --episodes 1 \\
      --tasks reach-v3 --demonstrations 2 --eye-steps 2 --joint-steps 2"""
COLUMNS = (
    'trunk',
    'numbers (M)',
    'success',
    '95 % interval',
    'p beside llama',
    'plan, CPU (ms)',
    'times llama',
    'trunk (MB)',
    'resident (MB)',
    'loss',
)


def package(*words: str) -> None:
    """Run a command of the package, whose output is shown, and end with its error."""
    subprocess.run([sys.executable, '-m', 'efficient_vla.cli', *words], check=True)


def training(trunk: str, args: argparse.Namespace) -> list[str]:
    """Return the words that train one sibling; nothing but the trunk differs between them."""
    return [
        'train',
        f'--trunk={trunk}',
        f'--data={args.data}',
        f'--out={args.work / trunk}',
        f'--width={args.width}',
        f'--layers={args.layers}',
        f'--image-size={args.image_size}',
        f'--batch={args.batch}',
        f'--eye-steps={args.eye_steps}',
        f'--joint-steps={args.joint_steps}',
        '--actor-steps=0',
        f'--seed={args.training_seed}',
        f'--threads={args.threads}',
        '--device=cpu',
    ]


def last_loss(curve: Path, name: str = 'single') -> float:
    """Return the running average of a loss in the last step of a training."""
    with curve.open(newline='') as file:
        return float([row['value'] for row in csv.DictReader(file) if row['loss'] == name][-1])


def parameters(folder: Path) -> int:
    """Return the numbers of a policy, without what its training left beside it."""
    return sum(entry.values for entry in read_header(folder / 'model.safetensors').values())


def measure(jobs: Mapping[str, Job], rows: Rows, progress: Progress) -> None:
    """Measure what the rows of the siblings lack; all are compared with the first."""
    keys = {name: row_key('siblings', trunk=name, **job.played) for name, job in jobs.items()}
    first, reference = next(iter(jobs)), next(iter(jobs.values()))

    @cache
    def times() -> dict[str, list[float]]:
        policies = {name: load(job.policy, ()) for name, job in jobs.items()}
        return cpu_times(policies, reference.scenes)

    def cost(name: str) -> dict[str, Any]:
        job, mine = jobs[name], times()[name]
        return {
            'parameters': parameters(job.policy),
            'cpu_p50_ms': float(np.median(mine)),
            'cpu_p95_ms': float(np.percentile(mine, 95)),
            'times_first': float(np.mean(mine) / np.mean(times()[first])),
            'frames': len(mine),
            'weights_mb': load(job.policy, ()).reasoner.parameters_mb,
            'loss': last_loss(job.policy / 'curves.csv'),
            **measure_memory(job.policy, ()),
        }

    def success(name: str) -> dict[str, Any]:
        request = jobs[name].request(())
        bar = progress.add_task(f'episodes of {name}', total=len(request.jobs()))
        seen = {}
        with closing(Worker(request)) as worker:
            for task, seed in request.jobs():
                seen[task, seed] = worker.run(task, seed).success
                progress.update(bar, advance=1)
        others = seen if name == first else unpacked(rows.get(keys[first])['outcomes'])
        return paired_columns(seen, others, first, 'this')

    for column, call in (('success_rate', success), ('cpu_p50_ms', cost)):
        for name in jobs:
            if not rows.done(keys[name], column):
                rows.extend('siblings', keys[name], trunk=name, **call(name))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = [COLUMNS, ('---',) * len(COLUMNS)]
    for row in rows:
        won = round(row['success_rate'] * row['episodes'])
        low, high = wilson_interval(won, row['episodes'])
        cells = (
            f'`{row["trunk"]}`',
            f'{row["parameters"] / 1e6:.2f}',
            f'{won}/{row["episodes"]}',
            f'{100 * low:.0f} to {100 * high:.0f} %',
            f'{row["p_value"]:.2g}',
            f'{row["cpu_p50_ms"]:.1f}',
            f'{row["times_first"]:.2f}',
            f'{row["weights_mb"]:.1f}',
            f'{row["resident_mb"]:.0f}',
            f'{row["loss"]:.3f}',
        )
        lines.append(cells)
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(
        prog='python -m benchmarks.siblings',
        description=f'{__doc__} Makes demonstrations where there are none, trains, plays the same '
        'episodes with all, and lets all see the same frames in turn, in one process; CPU time is '
        'that of the process. Needs nobody to watch.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument('--out', type=Path, required=True, help='file of the rows, JSON')
    made.add_argument('--work', type=Path, required=True, help='folder of the policies')
    made.add_argument('--data', type=Path, help='demonstrations (default: WORK/data)')
    made.add_argument(
        '--trunks', nargs='+', default=list(TRUNKS), choices=TRUNKS, help='beside llama'
    )
    made.add_argument('--tasks', default='reach-v3,door-open-v3,button-press-v3')
    for name, default, about in (
        ('demonstrations', 50, 'episodes a task, where there is no data'),
        ('width', 128, 'of trunk and plan'),
        ('layers', 4, 'of the trunk; one of Mamba counts twice'),
        ('image-size', 96, 'pixels'),
        ('batch', 32, 'samples'),
        ('eye-steps', 300, 'batches'),
        ('joint-steps', 800, 'batches'),
        ('training-seed', 0, 'of weights and batches'),
        ('episodes', 20, 'a task'),
        ('seed', 1000, 'of the first episode of each task'),
        ('threads', 1, 'of the CPU'),
    ):
        made.add_argument(
            f'--{name}', type=int, default=default, help=f'{about} (default: %(default)s)'
        )
    return made


def main() -> None:
    """Train and measure what is not there yet, and print the table."""
    args = parser().parse_args()
    torch.set_num_threads(args.threads)
    args.data = args.data or args.work / 'data'
    tasks = tuple(args.tasks.split(','))
    names = [BASELINE, *(name for name in args.trunks if name != BASELINE)]
    if not any(args.data.glob('*.npz')) or args.data == args.work / 'data':
        count, where = f'--episodes={args.demonstrations}', f'--out={args.data}'
        package('data', where, f'--tasks={args.tasks}', count, '--cross=0', '--workers=1')
    for name in names:
        package(*training(name, args))
    console = Console()
    sizes = replace(Sizes(), tasks=tasks, episodes=args.episodes)
    jobs = {
        name: Job(args.work / name, sizes, seed=args.seed, tell=console.print) for name in names
    }
    machine = {'processor': store.processor(), 'instructions': store.instruction_sets()}
    facts = {
        'trainings': [' '.join(training(name, args)) for name in names],
        'demonstrations': len([*args.data.glob('*.npz')]),
        'threads': args.threads,
        'seed': args.seed,
        'render': jobs[BASELINE].render,
    }
    about = manifest(args.work / BASELINE, {}, **machine, **facts)
    rows = Rows(args.out, about, resume=True)
    with Progress(console=console) as progress:
        measure(jobs, rows, progress)
    sys.stdout.write(table(rows.of('siblings')) + '\n')


if __name__ == '__main__':
    main()
