# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the degradation ladder goes by, from what the nodes of the graph say anyway."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import psutil
from diagnostic_msgs.msg import DiagnosticArray

from efficient_vla import msg
from efficient_vla.bringup.catalogue import POLICY_NODES
from efficient_vla.control.state import HELD, State
from efficient_vla.nodes.base.conversions import stamp_to_seconds

FOLLOWING = (State.WAITING, State.TRACKING, State.DECELERATING, State.HOLDING, State.PAUSED)
"""States in which the robot is to move."""
CHUNK_S = 30.0
REPORT_S = 3.0
"""What was said longer ago than this is not known any more; nodes report every second."""
FAULTS = ('out_of_memory:', 'device_lost:')
"""Rules of stages whose GPU cannot compute."""


def memory_free() -> float:
    """Return the share of this machine's memory that is available."""
    memory = psutil.virtual_memory()
    return float(memory.available / memory.total)


class Measures:
    """The newest values; times are those of the node's clock [s]."""

    def __init__(self, namespace: str, memory: Callable[[], float] = memory_free) -> None:
        self.steps = 0
        """Passes of the head that the newest chunk took."""
        self.state = State.DISABLED
        """Of the controller."""
        self.held = False
        """Whether a ladder, and no person, paused it."""
        self._memory = memory
        space = namespace.rstrip('/')
        self._nodes = {f'{space}/{name}: health' for name in POLICY_NODES}
        self._chunk = (-math.inf, math.nan, math.nan)
        """When the newest chunk came, its age by its length, and that of its plan."""
        self._images = (-math.inf, math.nan)
        """When perception reported, and the age of the newest images that had come to it [s]."""
        self._said: dict[str, tuple[float, bool, float]] = {}
        """Stage -> when it reported, whether its GPU is at fault, and the time of an answer [s]."""

    def take_chunk(self, message: msg.ActionChunk, now: float) -> None:
        """Take in a chunk that came ``now``."""
        lasts = message.horizon * _seconds(message.dt)
        valid = _seconds(message.plan_valid_for)
        age = now - stamp_to_seconds(message.header.stamp)
        plan = now - stamp_to_seconds(message.plan_stamp)
        share = age / lasts if lasts > 0 else math.nan
        self._chunk = now, share, plan / valid if valid > 0 else math.nan
        self.steps = message.steps

    def take_status(self, message: msg.ControllerStatus) -> None:
        """Take in what the controller does."""
        known = {int(state): state for state in State}
        self.state = known.get(message.state, State.DISABLED)
        self.held = self.state == State.PAUSED and message.reason == HELD

    def take_diagnostics(self, message: DiagnosticArray, now: float) -> None:
        """Take in what a stage reports; other programs are left alone."""
        status = message.status[0] if len(message.status) == 1 else None
        if status is None or status.name not in self._nodes:
            return
        values = {item.key: item.value for item in status.values}
        served = '://' in values.get('policy', '')
        answer = _number(values, 'latency_p50_ms') / 1e3 if served else math.nan
        fault = any(rule in status.message for rule in FAULTS)
        self._said[status.name] = now, fault, answer
        if 'image_age_s' in values:
            self._images = now, _number(values, 'image_age_s')

    def values(self, now: float) -> dict[str, float]:
        """Return measure -> value; NaN where it is not known."""
        said = [one for one in self._said.values() if 0 <= now - one[0] <= REPORT_S]
        answers = [answer for _, _, answer in said if math.isfinite(answer)]
        found = {
            'memory_free': self._memory(),
            'gpu_faults': float(sum(fault for _, fault, _ in said)),
            'round_trip': max(answers, default=math.nan),
        }
        came, chunk_share, plan_share = self._chunk
        if self.state in FOLLOWING:
            reported, age = self._images
            silent = now - reported
            found['camera_age'] = age + (silent if silent > REPORT_S else 0.0)
            if 0 <= now - came <= CHUNK_S:
                found |= {'chunk_share': chunk_share, 'plan_share': plan_share}
        return found


def _number(values: Mapping[str, str], key: str) -> float:
    try:
        return float(values.get(key, 'nan'))
    except ValueError:
        return math.nan


def _seconds(duration: Any) -> float:
    return float(duration.sec + duration.nanosec * 1e-9)
