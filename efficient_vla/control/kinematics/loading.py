# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The model of the arm that the settings describe; without one the library is not loaded."""

import os
from collections.abc import Mapping

from efficient_vla.control.kinematics.checks import Model
from efficient_vla.control.kinematics.settings import THE_SAME
from efficient_vla.control.robot_limits.urdf import text_of
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.settings import InvalidSettingError


def load_model(
    settings: ControllerSettings,
    names: tuple[str, ...],
    robot_description: str = '',
    called: Mapping[str, str] | None = None,
) -> tuple[Model | None, str]:
    """Return the model of the arm, ``None`` without a description, and what is to be known of it.

    ``called`` is what the description calls some of the columns ``names``. Raises
    ``InvalidSettingError`` where it does not fit them.
    """
    given = settings.kinematics.description
    if not given:
        return None, ''
    text = text_of('kinematics.description', robot_description if given == THE_SAME else given)
    if not text:
        raise InvalidSettingError(
            f'kinematics.description is {given}, and none is there; expected a URDF in '
            f'{THE_SAME} or on robot_description_topic. Set one of them, or name its file.'
        )
    from efficient_vla.control.kinematics.kinematics import Kinematics

    shares = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    packages = [*settings.collision.packages, *(f'{prefix}/share' for prefix in shares if prefix)]
    model = Kinematics(text, names, settings.kinematics, settings.collision, packages, called)
    return model, model.about()
