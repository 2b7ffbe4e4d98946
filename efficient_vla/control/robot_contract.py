# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the rows of a chunk are held against, for one robot: names, kinds, units, its first row."""

import math
from dataclasses import replace

import numpy as np

from efficient_vla.columns import motion_columns
from efficient_vla.control import turns
from efficient_vla.control.admission import refuse_contents
from efficient_vla.control.attitude import Attitude
from efficient_vla.control.contract import refuse_unit
from efficient_vla.control.first_motion import refuse_start
from efficient_vla.control.settings import ControllerSettings, LimitSettings, axes
from efficient_vla.control.turning import in_base, lay_out
from efficient_vla.types import ActionChunk


class RobotContract:
    """The contract of a robot that is commanded by ``names`` and turned as ``attitude`` says."""

    def __init__(
        self,
        names: tuple[str, ...],
        attitude: Attitude,
        continuous: np.ndarray,
        settings: ControllerSettings,
    ) -> None:
        """``continuous`` [M] says which axes turn without an end."""
        self._names = names
        self._attitude = attitude
        columns = motion_columns(names)
        self._count = len(columns)
        axes_that_turn = range(self._count)[attitude.axes] if attitude.axes else ()
        self._plain = np.setdiff1d(np.arange(self._count), axes_that_turn)
        self._columns = columns[self._plain]
        self._continuous = continuous[self._plain]
        self.configure(settings)

    def configure(self, settings: ControllerSettings) -> None:
        """Take other limits."""
        limits = {
            name: axes(getattr(settings.limits, name), self._count)
            for name in LimitSettings.__dataclass_fields__
        }
        plain = {name: tuple(values[k] for k in self._plain) for name, values in limits.items()}
        self._settings = replace(settings, limits=LimitSettings(**plain))
        turning = self._attitude.axes
        self._fastest = math.hypot(*limits['max_velocity'][turning]) if turning else 0.0
        self._fastest = min(self._fastest, settings.tool.max_angular_velocity or math.inf)

    def refuse(self, chunk: ActionChunk, held: np.ndarray, first: bool) -> str | None:
        """Return why the rows cannot be meant for the robot, or ``None``.

        ``held`` [M] is the present set-point; ``first`` whether no chunk was followed yet.
        """
        place, settings, attitude = held[self._plain], self._settings, self._attitude
        limits, endless = settings.limits, self._continuous
        refused = refuse_contents(chunk, self._names)
        if first and not refused:
            refused = refuse_start(chunk, self._columns, place, settings, endless)
        if not refused:
            based = chunk
            if chunk.frame == 'tool':
                knots, _ = lay_out(chunk, attitude.columns, attitude.turned, steps=True)
                based = in_base(chunk, knots)
            refused = refuse_unit(based, self._columns, place, limits, endless)
        if refused or attitude.axes is None:
            return refused
        columns, fastest = attitude.columns, self._fastest
        refused = turns.refuse_mixed(chunk)
        if first and not refused:
            allowed = settings.contract.first_angle
            refused = turns.refuse_first_turn(chunk, columns, attitude.turned, fastest, allowed)
        return refused or turns.refuse_turning(chunk, columns, fastest)
