# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunks, controllers and manual time for the controller's tests."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from efficient_vla.control.controller import Controller
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.state import State
from efficient_vla.settings import build
from efficient_vla.types import ActionChunk, ControlMode

NAMES = ('x', 'y', 'z', 'gripper')
START = (0.1, 0.6, 0.2, -1.0)
UNLIMITED = {
    'limits.max_velocity': (1e3,),
    'limits.max_acceleration': (1e6,),
    'limits.stop_deceleration': (1e6,),
    'limits.max_jerk': (1e10,),
}
"""Limits that no test motion reaches, and that no robot has: settings refuse them."""


def _chunk(
    rows: Any,
    stamp: float = 0.0,
    sequence: int = 1,
    dt: float = 0.0125,
    mode: ControlMode = ControlMode.EE_DELTA,
    names: tuple[str, ...] = NAMES,
    **fields: Any,
) -> ActionChunk:
    actions = np.asarray(rows, np.float32)
    return ActionChunk(actions, dt, names, mode, stamp, sequence, **fields)


def _straight(
    velocity: tuple[float, ...],
    stamp: float = 0.0,
    sequence: int = 1,
    rows: int = 40,
    gripper: float = -1.0,
    **fields: Any,
) -> ActionChunk:
    row = [*(np.array(velocity) * fields.get('dt', 0.0125)), gripper]
    return _chunk(np.tile(row, (rows, 1)), stamp, sequence, **fields)


def _controller(
    values: dict[str, Any] | None = None,
    names: tuple[str, ...] = NAMES,
    start: tuple[float, ...] = START,
    stamp: float = 0.0,
    covers: float = 0.0,
) -> Controller:
    # Tests of motion measure it at full speed; the ramp has its own.
    values = {'ramp_time': 0.0, **(values or {})}
    absurd = {key: values.pop(key) for key, value in UNLIMITED.items() if values.get(key) == value}
    settings = build(ControllerSettings, values)
    limits = replace(settings.limits, **{key.split('.')[1]: value for key, value in absurd.items()})
    settings = replace(settings, limits=limits)
    controller = Controller(settings, names, covers)
    controller.reset(np.array(start), stamp)
    assert controller.enable(stamp) is None
    return controller


def _run(controller: Controller, begin: float, end: float, period: float = 0.01) -> np.ndarray:
    """Tick after ``begin`` up to ``end``; return the set-points [T, A]."""
    ticks = round((end - begin) / period)
    return np.array([controller.tick(begin + k * period).position for k in range(1, ticks + 1)])


def _until_still(controller: Controller, now: float, period: float = 0.01) -> float:
    """Tick until the controller no longer moves; return the time that took."""
    begin = now
    for _ in range(1000):
        now += period
        if not controller.tick(now).velocity.any() and controller.state != State.DECELERATING:
            return now - begin
    raise AssertionError('the controller did not come to rest within 1000 ticks')


@pytest.fixture
def make_chunk() -> Callable[..., ActionChunk]:
    """Make a chunk from rows."""
    return _chunk


@pytest.fixture
def straight() -> Callable[..., ActionChunk]:
    """Make a chunk of constant velocity [m/s]."""
    return _straight


@pytest.fixture
def make_controller() -> Callable[..., Controller]:
    """Make an enabled controller at ``START``."""
    return _controller


@pytest.fixture
def run() -> Callable[..., np.ndarray]:
    """Tick over a span of time."""
    return _run


@pytest.fixture
def until_still() -> Callable[..., float]:
    """Tick until the robot stands."""
    return _until_still


@pytest.fixture
def unlimited() -> dict[str, tuple[float, ...]]:
    """Return limits that no test motion reaches."""
    return UNLIMITED
