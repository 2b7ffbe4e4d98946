# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How a new chunk takes over: one file a method, listed in ``catalogue.py``."""

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

import numpy as np

from efficient_vla.control.catalogue import BLENDINGS
from efficient_vla.control.moment import Moment
from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory


class Blending(Protocol):
    """Joins trajectories into one reference; a motion is position, velocity and acceleration."""

    def add(self, trajectory: Trajectory, moment: Moment, motion: np.ndarray) -> None:
        """Take ``trajectory`` over from the set-point's ``motion`` [3, M] at ``moment``."""

    def at(self, moment: Moment) -> np.ndarray:
        """Return the reference's motion at ``moment`` [3, M]."""


def _method(kind: str) -> Callable[[BlendingSettings], Blending]:
    file, _, name = kind.partition(':')
    found: Callable[[BlendingSettings], Blending] = getattr(
        import_module(f'{__name__}.{file}'), name
    )
    return found


METHODS = {name: _method(entry.kind) for name, entry in BLENDINGS.items()}
