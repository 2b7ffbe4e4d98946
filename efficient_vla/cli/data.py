# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla data``."""

import argparse

from efficient_vla.training import demonstrations

DESCRIPTION = (
    'Make demonstrations from the scripted experts of Meta-World, with disturbances so that '
    'recovery is in the data. Only successful episodes are kept; a run that was interrupted goes '
    'on where it stopped.'
)
EXAMPLE = '  efficient-vla data --help   # every option with its default'

add_arguments = demonstrations.add_arguments


def main(arguments: argparse.Namespace) -> int:
    """Make demonstrations."""
    return demonstrations.main(arguments)
