# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla doctor``."""

import argparse

from efficient_vla.bringup import doctor

DESCRIPTION = (
    'Check this installation: Python, ROS 2, the build of this package, torch, the simulator and '
    'its rendering, the shipped policy, memory and disk. Every fault is told in one sentence with '
    'the command that mends it. Exit code 1 when a check failed.'
)
EXAMPLE = '  efficient-vla doctor'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: there are none."""


def main(arguments: argparse.Namespace) -> int:
    """Run all checks."""
    return doctor.main(arguments)
