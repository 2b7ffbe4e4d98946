# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The model of the arm that the settings describe; without one the library is not loaded."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from efficient_vla.control.kinematics.checks import Model
from efficient_vla.control.kinematics.settings import (
    THE_SAME,
    CollisionSettings,
    KinematicsSettings,
)
from efficient_vla.control.robot_limits.urdf import text_of
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.settings import InvalidSettingError

if TYPE_CHECKING:
    from efficient_vla.control.kinematics.kinematics import Kinematics


@dataclass(frozen=True, slots=True)
class DescribedArm:
    """What the model of an arm is made of, see ``Kinematics``."""

    text: str
    names: tuple[str, ...]
    kinematics: KinematicsSettings
    collision: CollisionSettings
    packages: tuple[str, ...]
    called: Mapping[str, str]

    def model(self) -> 'Kinematics':
        """Return the model; raises ``InvalidSettingError`` where the description does not fit."""
        from efficient_vla.control.kinematics.kinematics import Kinematics

        return Kinematics(
            self.text, self.names, self.kinematics, self.collision, self.packages, self.called
        )


def described_arm(
    settings: ControllerSettings,
    names: tuple[str, ...],
    robot_description: str = '',
    called: Mapping[str, str] | None = None,
) -> DescribedArm | None:
    """Return what the settings say of the arm, ``None`` without a description.

    ``called`` is what the description calls some of the columns ``names``. Raises
    ``InvalidSettingError`` where there is no text.
    """
    given = settings.kinematics.description
    if not given:
        return None
    text = text_of('kinematics.description', robot_description if given == THE_SAME else given)
    if not text:
        raise InvalidSettingError(
            f'kinematics.description is {given}, and none is there; expected a URDF in '
            f'{THE_SAME} or on robot_description_topic. Set one of them, or name its file.'
        )
    shares = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    packages = [*settings.collision.packages, *(f'{prefix}/share' for prefix in shares if prefix)]
    return DescribedArm(
        text, names, settings.kinematics, settings.collision, tuple(packages), called or {}
    )


def load_model(settings: ControllerSettings, names: tuple[str, ...]) -> Model | None:
    """Return the model of the arm, ``None`` without a description.

    Raises ``InvalidSettingError`` where it does not fit the columns ``names``.
    """
    arm = described_arm(settings, names)
    return arm.model() if arm else None
