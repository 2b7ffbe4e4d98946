# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench``."""

import argparse
from pathlib import Path
from typing import Any

from efficient_vla.cli import (
    bench_policies,
    bench_reports,
    bench_roundtrip,
    bench_serving,
    bench_success,
    bench_transport,
)
from efficient_vla.cli.run_options import (
    add_hardware,
    add_part,
    add_policy,
    policy_folder,
    writable_file,
    written,
)
from efficient_vla.errors import UsageError

DESCRIPTION = """\
Measure single parts.

  stages        latency of perception, reasoner and actor with each technique alone, against dense
                in the same run: all variants see the same frames in turn
  techniques    success with each technique alone, against dense on the same scenes
  instructions  success of a scene that is asked for its own task, for another, or for nonsense
  compare       two results of `efficient-vla eval` by task and seed, with McNemar's exact test
  decoding      heads and decodings of actions: success, latency, tokens, with a page
  compute       number formats, engines and depth: success, latency, memory, with a page
  motion        seams between chunks, delays of inference, the control loop, beside LeRobot
  tokens        everything about visual tokens, with pictures and a page
  parity        folders of LeRobot beside what LeRobot itself computed, from their reference.npz
  policies      load time, memory and stages of a folder, beside LeRobot's own class in turns
  roundtrip     success of a folder in LeRobot's own class and in ours
  transport     images between two processes at camera rate, with the shipped middleware profile
  serving       servers and clients of openpi's protocol, and a server that dies"""

EXAMPLE = """\
  efficient-vla bench stages --frames 60 --json stages.json
  efficient-vla bench compare dense.json fastv.json
  efficient-vla bench transport --help"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-benchmarks and their options."""
    parts = parser.add_subparsers(dest='part', metavar='part', required=True)
    text = 'each technique alone against dense'
    stages = add_part(parts, 'stages', text, '--frames 60 --json stages.json', _stages)
    add_policy(stages)
    stages.add_argument('--task', default='reach-v3', help='scene (default: %(default)s)')
    stages.add_argument(
        '--frames',
        metavar='N',
        type=int,
        default=60,
        help='frames a variant (default: %(default)s)',
    )
    stages.add_argument(
        '--still',
        metavar='SHARE',
        type=float,
        default=0.5,
        help='share of frames in which nothing moves (default: %(default)s)',
    )
    add_hardware(stages, 'hardware profile whose threads are used')
    stages.add_argument('--json', metavar='OUT', type=Path, help='file for the result')
    bench_success.add_parsers(parts)
    bench_reports.add_parsers(parts)
    text = 'two evaluations by task and seed'
    pairs = add_part(parts, 'compare', text, 'dense.json fastv.json', _compare)
    pairs.add_argument('first', type=Path, help='JSON file of an evaluation')
    pairs.add_argument('second', type=Path, help='JSON file of another one with the same seeds')
    text = 'folders of LeRobot beside their reference.npz'
    same = add_part(parts, 'parity', text, 'pretrained_model --json parity.json', _parity)
    same.add_argument('folders', metavar='FOLDER', nargs='+', type=Path, help='policy folder')
    same.add_argument('--json', metavar='OUT', type=Path, help='file for the result')
    bench_policies.add_parsers(parts)
    bench_roundtrip.add_parsers(parts)
    bench_transport.add_parsers(parts)
    bench_serving.add_parsers(parts)


def main(arguments: argparse.Namespace) -> int:
    """Run one sub-benchmark."""
    return int(arguments.part_main(arguments))


def _compare(arguments: argparse.Namespace) -> int:
    from efficient_vla.bench.compare import compare, read_outcomes
    from efficient_vla.cli.display import comparison_table, console

    found = compare(read_outcomes(arguments.first), read_outcomes(arguments.second))
    console.print(comparison_table(found))
    return 0


def _parity(arguments: argparse.Namespace) -> int:
    from efficient_vla.bench.parity import LIMIT, parity
    from efficient_vla.cli.display import console, parity_table

    target = writable_file(arguments.json) if arguments.json else None
    rows: list[dict[str, Any]] = []
    with written(target) as write:
        for folder in arguments.folders:
            rows.append(parity(folder))
        write({'limit': LIMIT, 'rows': rows})
    console.print(parity_table(rows, LIMIT))
    return 0 if all(row['max_error'] <= LIMIT for row in rows) else 1


def _stages(arguments: argparse.Namespace) -> int:
    from rich.progress import Progress

    from benchmarks.stages import VARIANTS, WARM_UP_FRAMES, frames_of_motion, measure
    from benchmarks.threads import threads_of
    from efficient_vla.bench.manifest import manifest
    from efficient_vla.cli.display import console, variant_table
    from efficient_vla.sim.metaworld.tasks import INSTRUCTIONS

    if arguments.frames <= WARM_UP_FRAMES:
        raise UsageError(
            f'--frames is {arguments.frames}; expected more than {WARM_UP_FRAMES}, since the '
            'first frames only warm up.'
        )
    if not 0 <= arguments.still <= 1:
        raise UsageError(f'--still is {arguments.still}; expected a share from 0 to 1.')
    if arguments.task not in INSTRUCTIONS:
        raise UsageError(
            f'unknown task {arguments.task!r}; expected one of {", ".join(INSTRUCTIONS)}.'
        )
    target = writable_file(arguments.json) if arguments.json else None
    policy = policy_folder(arguments.policy, composed=True)
    images = frames_of_motion(arguments.task, arguments.frames, arguments.still)
    facts = {name: getattr(arguments, name) for name in ('frames', 'still', 'task')}
    with (
        written(target) as write,
        Progress(console=console) as progress,
        threads_of(arguments.hardware) as threads,
    ):
        about = manifest(policy, {}, render='fast', threads=threads, **facts)
        bar = progress.add_task('stages', total=len(images) * len(VARIANTS))
        found = measure(
            policy,
            images,
            INSTRUCTIONS[arguments.task],
            about,
            on_pass=lambda: progress.advance(bar),
        )
        write(found)
    console.print(variant_table(found['variants']))
    return 0
