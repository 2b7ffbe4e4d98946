# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla train``."""

import argparse

from efficient_vla.training import train

DESCRIPTION = (
    'Train trunk and heads of a policy on demonstrations, on CPU or CUDA by the same command. '
    'Resumes from the latest checkpoint and writes curves.'
)
EXAMPLE = '  efficient-vla train --help   # every option with its default'

add_arguments = train.add_arguments


def main(arguments: argparse.Namespace) -> int:
    """Train a policy."""
    return train.main(arguments)
