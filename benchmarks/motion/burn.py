# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep one core busy as the reasoner does: ``python -m benchmarks.motion.burn NICE``."""

import os
import sys

import torch

SIDE = 384
"""Matrices of the size of a small language model's layers."""


def main(words: list[str]) -> int:
    """Multiply matrices on one thread until a signal; says when it has begun."""
    os.setpriority(os.PRIO_PROCESS, 0, int(words[0]))
    torch.set_num_threads(1)
    left = torch.rand(SIDE, SIDE)
    right = torch.rand(SIDE, SIDE)
    sys.stdout.write('ready\n')
    sys.stdout.flush()
    with torch.inference_mode():
        while True:
            left = torch.tanh(left @ right)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
