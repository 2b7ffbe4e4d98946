# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Time from a camera frame to the command that it caused, and what part of it is transport."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from efficient_vla.records import StageRecord

PATHS = {
    'dual': ('camera', 'actor', 'controller'),
    'single': ('camera', 'perception', 'reasoner', 'actor', 'controller'),
}
"""Stages that a frame passes on its way to a command. In dual the actor takes a fresh frame at
once, beside the reasoner; in single every frame goes through the reasoner."""


def camera_to_command(stages: Mapping[str, StageRecord], architecture: str) -> dict[str, Any]:
    """Return latency of the path that closes the loop, split into compute, transport and waiting.

    All values are means in ms, since means add up and percentiles do not. Waiting is the time in
    which a frame or a chunk lay ready until its stage was free or its tick came.
    """
    path = [stage for stage in PATHS[architecture] if stage in stages and stages[stage].latency_ms]
    if not path:
        return {}
    compute = {stage: _mean(stages[stage].latency_ms) for stage in path}
    transport = {stage: _mean(stages[stage].transport_ms) for stage in path}
    total = _mean(stages[path[-1]].age_ms)
    waiting = total - sum(compute.values()) - sum(transport.values())
    return {
        'path': path,
        'total_ms': total,
        'compute_ms': compute,
        'transport_ms': transport,
        'waiting_ms': max(0.0, waiting),
        'transport_share': sum(transport.values()) / total if total > 0 else 0.0,
        'transport_share_by_stage': {
            stage: value / total if total > 0 else 0.0 for stage, value in transport.items()
        },
    }


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else 0.0
