# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Until when a chunk may drive the robot."""

from efficient_vla.types import ActionChunk

EXPIRY_TOLERANCE = 1e-5
"""A tick at the very end of a chunk still executes it [s]."""


def deadline(chunk: ActionChunk, chunk_timeout: float, plan_validity: float) -> tuple[float, str]:
    """Return the time after which ``chunk`` must not move the robot [s], and why."""
    return min(
        (
            chunk.stamp + chunk_timeout,
            f'no observation newer than watchdog.chunk_timeout {chunk_timeout} s',
        ),
        (
            chunk.plan_stamp + plan_validity,
            f'plan {chunk.plan_sequence} is older than its validity of {plan_validity} s',
        ),
    )
