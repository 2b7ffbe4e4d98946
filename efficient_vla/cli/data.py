# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla data``."""

import argparse

from efficient_vla.cli.options import writable_folder
from efficient_vla.cli.run_options import refuse_below
from efficient_vla.training import demonstrations

DESCRIPTION = (
    'Make demonstrations from the scripted experts of Meta-World, with disturbances so that '
    'recovery is in the data. Only successful episodes are kept; a run that was interrupted goes '
    'on where it stopped.'
)
EXAMPLE = '  efficient-vla data --tasks reach-v3,door-open-v3 --episodes 20 --out data/two-tasks'

add_arguments = demonstrations.add_arguments


def main(arguments: argparse.Namespace) -> int:
    """Make demonstrations."""
    refuse_below(arguments, 1, 'workers')
    refuse_below(arguments, 0, 'episodes', 'cross', 'first')
    writable_folder(arguments.out, '--out')
    return demonstrations.main(arguments)
