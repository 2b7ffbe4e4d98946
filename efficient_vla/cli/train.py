# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla train``."""

import argparse
from pathlib import Path

DESCRIPTION = (
    'Train trunk and heads of a policy on demonstrations, on CPU or CUDA by the same command. '
    'Resumes from the latest checkpoint and writes curves.'
)
EXAMPLE = '  efficient-vla train --data data/metaworld --out runs/train --joint-steps 1000'

STEPS = {'eye': 1000, 'joint': 4000, 'actor': 3000}
"""Batches of 64 samples in each stage, by default."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('--data', type=Path, default=Path('data/metaworld'), help='demonstrations')
    parser.add_argument('--out', type=Path, default=Path('runs/train'), help='folder of the policy')
    for stage, steps in STEPS.items():
        parser.add_argument(
            f'--{stage}-steps',
            type=int,
            default=steps,
            help=f'batches of 64 samples in stage {stage} (default: {steps})',
        )
    parser.add_argument('--seed', type=int, default=0, help='of weights and batches')
    parser.add_argument('--device', default='auto', help='cpu, cuda, or auto for what there is')
    parser.add_argument('--precision', choices=('bf16', 'fp32'), default='bf16')
    parser.add_argument('--threads', type=int, default=0, help='CPU threads, 0 for all')
    parser.add_argument('--restart', action='store_true', help='forget an earlier run in --out')


def main(arguments: argparse.Namespace) -> int:
    """Train a policy."""
    from efficient_vla.training import train

    return train.main(arguments)
