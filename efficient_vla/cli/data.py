# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla data``."""

import argparse

from efficient_vla.cli.options import writable_folder
from efficient_vla.cli.run_options import add_render, refuse_below
from efficient_vla.errors import UsageError
from efficient_vla.sim.episodes import check_tasks
from efficient_vla.training import demonstrations

DESCRIPTION = (
    'Make demonstrations from the scripted experts of Meta-World, with disturbances so that '
    'recovery is in the data. Only successful episodes are kept; a run that was interrupted goes '
    'on where it stopped. Format npz is what efficient-vla train reads, lerobot is a '
    "LeRobotDataset v3.0 for LeRobot's own trainer."
)
EXAMPLE = (
    '  efficient-vla data --tasks reach-v3,door-open-v3 --episodes 20 --out data/two-tasks\n'
    '  efficient-vla data --format lerobot --tasks drawer-open-v3 --out data/drawer'
)
ONLY = {
    'npz': {'cross': 40, 'default_share': 0.1, 'policy': ''},
    'lerobot': {'image_size': 128, 'render': 'fast'},
}
"""Format -> options that it alone has, with their defaults."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    demonstrations.add_arguments(parser)
    parser.add_argument(
        '--format',
        choices=tuple(ONLY),
        default='npz',
        help='npz, for efficient-vla train, or lerobot (default: %(default)s)',
    )
    parser.add_argument(
        '--image-size',
        type=int,
        default=ONLY['lerobot']['image_size'],
        help='rows and columns of the images of format lerobot (default: %(default)s)',
    )
    add_render(parser, str(ONLY['lerobot']['render']))


def main(arguments: argparse.Namespace) -> int:
    """Make demonstrations."""
    refuse_below(arguments, 1, 'workers')
    refuse_below(arguments, 0, 'episodes', 'cross', 'first')
    for other in ONLY.keys() - {arguments.format}:
        for name, default in ONLY[other].items():
            if getattr(arguments, name) != default:
                raise UsageError(
                    f'--{name.replace("_", "-")} belongs to --format {other}; leave it out.'
                )
    if not 0 < arguments.speed <= 1:
        raise UsageError(f'--speed is {arguments.speed}; expected above 0 and at most 1.')
    if arguments.format == 'npz':
        writable_folder(arguments.out, '--out')
        return demonstrations.main(arguments)
    from efficient_vla.training import lerobot_demonstrations

    refuse_below(arguments, 1, 'episodes')
    refuse_below(arguments, 16, 'image_size')
    check_tasks(arguments.tasks.split(','))
    writable_folder(arguments.out, '--out')
    return lerobot_demonstrations.main(arguments)
