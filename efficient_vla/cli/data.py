# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla data``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from efficient_vla.claims import claimed
from efficient_vla.cli.run_options import add_render, add_robot, policy_place, refuse_below
from efficient_vla.errors import UsageError
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, node_name, simulation
from efficient_vla.sim.episodes import check_tasks, jobs
from efficient_vla.training import demonstrations

DESCRIPTION = (
    'Make demonstrations from the scripted expert of a simulated robot, with disturbances so that '
    'recovery is in the data. Only successful episodes are kept; a run that was interrupted goes '
    'on where it stopped. Format npz is what efficient-vla train reads, of Meta-World alone, '
    'lerobot is a '
    "LeRobotDataset v3.0 for LeRobot's own trainer. With --graph a policy drives the running "
    'graph, and what flows in it is recorded.'
)
EXAMPLE = (
    '  efficient-vla data --tasks reach-v3,door-open-v3 --episodes 20 --out data/two-tasks\n'
    '  efficient-vla data --format lerobot --tasks drawer-open-v3 --out data/drawer\n'
    '  efficient-vla data --format lerobot --robot so101 --tasks reach --episodes 50\n'
    '  efficient-vla data --format lerobot --graph --tasks reach-v3 --episodes 5 --out data/seen'
)
OWN: dict[str, tuple[Any, tuple[str, ...]]] = {
    'cross': (40, ('npz',)),
    'default_share': (0.1, ('npz',)),
    'policy': ('', ('npz', 'graph')),
    'speed': (0.6, ('npz', 'lerobot')),
    'image_size': (128, ('lerobot', 'graph')),
    'render': ('fast', ('lerobot', 'graph')),
    'fps': (10, ('graph',)),
    'keep_failed': (False, ('graph',)),
}
"""Option -> its default, and what alone has it: a format, or recording the graph."""
SAID = {
    'npz': '--format npz',
    'lerobot': '--format lerobot without --graph',
    'graph': '--format lerobot --graph',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_robot(parser)
    parser.add_argument(
        '--out', metavar='DIR', type=Path, help='folder to fill (default: data/ROBOT)'
    )
    demonstrations.add_arguments(parser)
    parser.add_argument(
        '--format',
        choices=('npz', 'lerobot'),
        default='npz',
        help='npz, for efficient-vla train, or lerobot (default: %(default)s)',
    )
    parser.add_argument(
        '--graph',
        action='store_true',
        help='lerobot: record the running graph, driven by --policy, instead of the experts',
    )
    parser.add_argument(
        '--image-size',
        type=int,
        default=OWN['image_size'][0],
        help='lerobot: rows and columns of the images (default: %(default)s)',
    )
    add_render(parser, str(OWN['render'][0]))
    parser.add_argument(
        '--fps',
        type=int,
        default=OWN['fps'][0],
        help='graph: frames a second, and images of the camera (default: %(default)s)',
    )
    parser.add_argument(
        '--keep-failed', action='store_true', help='graph: keep episodes that failed too'
    )


def main(arguments: argparse.Namespace) -> int:
    """Make demonstrations."""
    refuse_below(arguments, 1, 'workers', 'fps')
    refuse_below(arguments, 0, 'episodes', 'cross', 'first')
    if arguments.graph and arguments.format != 'lerobot':
        raise UsageError('--graph records in format lerobot alone; add --format lerobot.')
    kind = 'graph' if arguments.graph else arguments.format
    for name, (default, owners) in OWN.items():
        if kind not in owners and getattr(arguments, name) != default:
            raise UsageError(
                f'--{name.replace("_", "-")} belongs to '
                f'{" and ".join(SAID[owner] for owner in owners)}; leave it out.'
            )
    if not 0 < arguments.speed <= 1:
        raise UsageError(f'--speed is {arguments.speed}; expected above 0 and at most 1.')
    if arguments.out is None:
        arguments.out = Path('data') / arguments.robot
    arguments.tasks = arguments.tasks or ','.join(simulation(arguments.robot).instructions)
    check_tasks(arguments.tasks.split(','), arguments.robot)
    if kind == 'npz' and arguments.robot != DEFAULT_ROBOT:
        raise UsageError(
            f'--format npz holds demonstrations of {DEFAULT_ROBOT} alone, for efficient-vla train; '
            'add --format lerobot.'
        )
    if kind == 'npz':
        with claimed(arguments.out):
            return demonstrations.main(arguments)
    refuse_below(arguments, 1, 'episodes')
    refuse_below(arguments, 16, 'image_size')
    if kind == 'graph':
        return _graph(arguments)
    from efficient_vla.training import lerobot_demonstrations

    return lerobot_demonstrations.main(arguments)


def _graph(arguments: argparse.Namespace) -> int:
    from efficient_vla.bench.graph_dataset import record_graph
    from efficient_vla.bench.graph_runner import GraphRequest
    from efficient_vla.cli.display import console
    from efficient_vla.cli.live import LiveObserver
    from efficient_vla.training.lerobot_dataset import DatasetWriter
    from efficient_vla.training.lerobot_demonstrations import layout

    camera = {
        'camera.size': arguments.image_size,
        'camera.rate': float(arguments.fps),
        'camera.render': arguments.render,
    }
    seed = demonstrations.TRAIN_SEED + arguments.first
    request = GraphRequest(
        policy=policy_place(arguments.policy or None, arguments.robot),
        jobs=jobs(arguments.tasks.split(','), seed, arguments.episodes, arguments.robot),
        overrides={node_name(arguments.robot): camera},
        robot=arguments.robot,
    )
    with (
        DatasetWriter(
            arguments.out, layout(arguments.robot, arguments.fps, arguments.image_size)
        ) as writer,
        LiveObserver(console, len(request.jobs)) as observer,
    ):
        record_graph(
            request,
            observer,
            writer,
            arguments.keep_failed,
            lambda text: print(text, file=sys.stderr),
        )
    print(f'{writer.episodes} episodes, {writer.frames} frames in {arguments.out}')
    return 0
