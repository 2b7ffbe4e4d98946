# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What of a chunk is made beside the control loop: its checks and its path."""

from collections.abc import Callable
from dataclasses import dataclass

from efficient_vla.control.kinematics.checks import Checked
from efficient_vla.control.pace import PathLimits
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.types import ActionChunk


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A chunk that was checked and, where it may be followed, laid out by ``settings``."""

    checked: Checked
    trajectory: Trajectory | None = None
    limits: PathLimits | None = None
    settings: ControllerSettings | None = None
    refused: str | None = None
    """Why the robot's contract refuses it by those settings."""
    first: bool = False
    """Whether that was asked of a first chunk."""


def lay(
    check: Callable[[], Checked],
    names: tuple[str, ...],
    lay_out: Callable[[ActionChunk], Trajectory],
    limits_of: Callable[[Trajectory], PathLimits],
    settings: ControllerSettings,
    refuse: Callable[[ActionChunk], str | None],
    first: bool,
) -> Laid:
    """Check a chunk, and lay it out where its columns are ``names``.

    ``refuse`` is the robot's contract, for a ``first`` chunk or another one.
    """
    checked = check()
    if checked.refused or checked.chunk.names != names:
        return Laid(checked)
    refused = refuse(checked.chunk)
    if refused:
        return Laid(checked, None, None, settings, refused, first)
    trajectory = lay_out(checked.chunk)
    return Laid(checked, trajectory, limits_of(trajectory), settings, None, first)
