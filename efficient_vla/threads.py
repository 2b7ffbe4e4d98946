# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How many cores a pass is worth: a small one is done before a second thread has joined in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SERIAL_WORK = 8e6
"""Multiply-adds of one matrix product below which one thread is as fast as two, measured on two
cores for 14 to 60 rows; beside a simulator that keeps the cores busy one thread is faster."""


@contextmanager
def fitting(rows: int, width: int, inner: int) -> Iterator[None]:
    """Run on one thread where the largest product, [rows, width] by [width, inner], is small."""
    before = torch.get_num_threads()
    if before == 1 or rows * width * inner >= SERIAL_WORK:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
