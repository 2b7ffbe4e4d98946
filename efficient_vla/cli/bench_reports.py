# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench tokens``, ``motion``, ``decoding`` and ``compute``: rows with a page."""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from efficient_vla.cli.run_options import (
    add_hardware,
    add_policy,
    add_render,
    add_seed,
    policy_folder,
    refuse_below,
    refuse_unknown,
    task_list,
    writable_file,
)
from efficient_vla.errors import UsageError
from efficient_vla.sim.episodes import jobs
from efficient_vla.unfinished import saving

NO_PART = 'none'
"""Given as --parts it measures nothing and writes page and pictures of the rows again."""
SIZES = {
    'episodes': (int, 'episodes a task and condition'),
    'frames': (int, 'recorded frames a task, for latencies'),
    'graph-episodes': (int, 'episodes a task and graph condition'),
    'soak-frames': (int, 'frames of the soak'),
    'timing-s': (float, 'seconds of the loaded control loop'),
}
"""Option -> its type and what it says."""


@dataclass(frozen=True)
class ReportCommand:
    """One benchmark of several parts."""

    help: str
    parts: Mapping[str, str]
    """Part -> what it measures, the short ones first."""
    description: str
    example: str
    sizes: tuple[str, ...]
    hardware: str = ''
    """What the hardware profile is for; without it there is no such option."""


COMMANDS = {
    'tokens': ReportCommand(
        'everything about visual tokens',
        {
            'shapes': 'language parts of SmolVLM2-500M and LLaVA-7B against keep and reuse; on a '
            'GPU if there',
            'vision': 'the vision tower: where the time goes, partial recomputation, a static '
            'scene',
            'overhead': 'what a selector and its gate cost',
            'methods': 'success and cost of every method at keep 0.5 and 0.25, paired with dense',
            'graph': 'whole plan latency of dense and the composition through the ROS graph',
            'soak': 'thousands of frames with random changes and accidents',
        },
        'Measure everything about visual tokens, and write rows, pictures and a page beside each '
        'other.',
        '--parts methods,graph --resume',
        ('episodes', 'frames', 'graph-episodes', 'soak-frames'),
        'hardware profile of the graph',
    ),
    'motion': ReportCommand(
        'seams between chunks, delays of inference, the control loop',
        {
            'seams': 'recorded chunks of the policy, and of a dummy whose chunks disagree, played '
            'late, lost\n              or out of order through every blending: jerk, tracking '
            'error, idle time',
            'peer': "the same chunks through LeRobot's ActionQueue, RTCProcessor and RobotClient, "
            'in the\n              interpreter that --peer-python names; skipped without one. To '
            'make one:\n                python3.12 -m venv lerobot && lerobot/bin/pip install '
            "'lerobot[async]==0.6.1'",
            'success': 'episodes in which inference takes simulated time, asynchronous and '
            'synchronous',
            'controller': 'periods of the control loop, loaded at 200 Hz and idle at 500 Hz',
        },
        'Measure how smoothly and steadily chunks become motion, and write rows, pictures and a '
        'page.',
        '--peer-python lerobot/bin/python',
        ('episodes', 'timing-s'),
    ),
    'decoding': ReportCommand(
        'heads and decodings of actions',
        {
            'tokenizers': 'how many tokens a chunk takes with bins and with FAST, and at which '
            'error',
            'latency': 'time and passes of every head and decoding on the same plans, in turn, '
            'and how far\n              its chunks are from those of the exact one',
            'one_step': 'three times as many episodes with the flow head in one distilled step, '
            'paired with\n              ten steps',
            'success': 'episodes with every head and decoding, paired with the regression head',
        },
        'Measure heads and decodings of actions, and write rows, a picture and a page beside each '
        'other.',
        '--parts latency --resume',
        ('episodes', 'frames'),
        'hardware profile whose threads are used',
    ),
    'compute': ReportCommand(
        'layers, bytes and engines',
        {
            'methods': 'memory, cost and success of every number format, engine and depth, paired '
            'with dense',
        },
        'Measure what computing less a decision costs and brings, and write rows, a picture and a '
        'page beside each other.',
        '--policy smolvla-metaworld --resume',
        ('episodes', 'frames'),
        'hardware profile whose threads are used',
    ),
}


def add_parsers(parts: Any) -> None:
    """Declare the commands and their options."""
    for name, command in COMMANDS.items():
        lines = '\n'.join(f'  {part:<12}{text}' for part, text in command.parts.items())
        start = f'  efficient-vla bench {name}'
        parser: argparse.ArgumentParser = parts.add_parser(
            name,
            help=command.help,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            description=f'{command.description}\n\n{lines}',
            epilog=f'example:\n{start} --quick --json {name}.json\n'
            f'{start} {command.example} --json docs/results/{name}.json\n'
            f'{start} --parts {NO_PART} --resume --json docs/results/{name}.json',
        )
        _add_run(parser, command)
        if name == 'tokens':
            parser.add_argument(
                '--composition',
                metavar='P=V,P=V',
                type=task_list,
                default=(),
                help='parameters of the composition, node.param=value',
            )
            parser.add_argument(
                '--device',
                choices=('auto', 'cpu', 'cuda'),
                default='auto',
                help='where the shapes run (default: a GPU if there is one)',
            )
        if name == 'compute':
            parser.add_argument(
                '--only',
                metavar='NAME',
                action='append',
                default=[],
                help='a technique to measure beside dense, such as student; may be given again '
                '(default: all)',
            )
        if name == 'motion':
            parser.add_argument(
                '--peer-python',
                metavar='PATH',
                type=Path,
                help='Python of an environment with LeRobot',
            )
        parser.set_defaults(part_main=partial(main, name))


def _add_run(parser: argparse.ArgumentParser, command: ReportCommand) -> None:
    add_policy(parser)
    parser.add_argument(
        '--parts',
        metavar='A,B',
        type=task_list,
        default=tuple(command.parts),
        help=f'what to measure, or {NO_PART} to write the page of OUT again with --resume '
        f'(default: {",".join(command.parts)})',
    )
    parser.add_argument(
        '--quick', action='store_true', help='tiny sizes, minutes: says that everything runs'
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='keep the rows of OUT and measure what is missing; otherwise OUT begins anew',
    )
    parser.add_argument('--tasks', metavar='A,B', type=task_list, help='Meta-World tasks')
    add_seed(parser)
    for option in command.sizes:
        kind, text = SIZES[option]
        parser.add_argument(f'--{option}', metavar='N', type=kind, help=text)
    add_render(parser, 'fast')
    parser.add_argument(
        '--workers', metavar='N', type=int, help='processes for episodes (default: one a core)'
    )
    if command.hardware:
        add_hardware(parser, command.hardware)
    parser.add_argument('--json', metavar='OUT', type=Path, required=True, help='file for the rows')


def main(name: str, arguments: argparse.Namespace) -> int:
    """Measure the parts; return 0 where the soak found nothing wrong, else 1."""
    if arguments.parts != (NO_PART,):
        refuse_unknown('part', arguments.parts, tuple(COMMANDS[name].parts))
    refuse_below(arguments, 1, 'workers')
    peer = getattr(arguments, 'peer_python', None)
    if peer is not None and not (peer.is_file() and os.access(peer, os.X_OK)):
        raise UsageError(
            f'--peer-python {peer} cannot be run; expected the Python of an environment with '
            "LeRobot. Make one with python3.12 -m venv and pip install 'lerobot[async]'."
        )
    target = writable_file(arguments.json)

    from benchmarks.job import QUICK, Job, Sizes
    from efficient_vla.bench.overrides import parse_overrides
    from efficient_vla.cli.display import console
    from efficient_vla.cli.live import LiveObserver

    benchmark = importlib.import_module(f'benchmarks.{name}.run')
    given = {'quick', 'seed', 'render', 'hardware', 'device', 'composition', 'only'}
    values = {key: value for key, value in vars(arguments).items() if key in given}
    parse_overrides(values.get('composition', ()))
    job = Job(
        policy=policy_folder(arguments.policy),
        sizes=_resized(arguments, name, QUICK if arguments.quick else Sizes()),
        workers=arguments.workers or (1 if arguments.quick else len(os.sched_getaffinity(0))),
        peer_python=peer.absolute() if peer is not None else None,
        display=lambda episodes: LiveObserver(console, episodes),
        tell=lambda text: console.print(text, markup=False),
        **values,
    )
    rows = job.open_rows(target, arguments.resume)

    def write() -> None:
        rows.write()
        for path in benchmark.REPORT.write(rows):
            job.tell(f'wrote {path}')

    try:
        with saving(write):
            for part, measure in benchmark.PARTS.items():
                if part in arguments.parts:
                    measure(job, rows)
    except KeyboardInterrupt:
        print(f'interrupted; rows are in {target}, --resume goes on', file=sys.stderr)
        raise
    wrong = [row['first_failure'] for row in rows.of('soak') if row['failures']]
    for text in wrong:
        console.print(f'soak: {text}', style='red', markup=False)
    return int(bool(wrong))


def _resized(arguments: argparse.Namespace, name: str, sizes: Any) -> Any:
    """Return ``sizes`` with those that were given; refuse what cannot be measured."""
    names = [option.replace('-', '_') for option in COMMANDS[name].sizes]
    refuse_below(arguments, 1, *names)
    given = {n: v for n in ('tasks', *names) if (v := getattr(arguments, n)) is not None}
    found = replace(sizes, **given)
    jobs(found.tasks, arguments.seed, found.episodes)
    return found
