# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The model of the arm that the settings describe; without one the library is not loaded."""

import os
from pathlib import Path

from efficient_vla.control.kinematics.checks import Model
from efficient_vla.control.kinematics.description import LARGEST
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.places import share_folder
from efficient_vla.settings import InvalidSettingError


def load_model(settings: ControllerSettings, names: tuple[str, ...]) -> tuple[Model | None, str]:
    """Return the model of the arm, ``None`` without a description, and what is to be known of it.

    Raises ``InvalidSettingError`` where the description does not fit the columns ``names``.
    """
    given = settings.kinematics.description
    if not given:
        return None, ''
    path = Path(given).expanduser()
    if not path.is_absolute():
        path = share_folder('config') / path
    try:
        if path.stat().st_size > LARGEST:
            raise InvalidSettingError(f'{path} is larger than {LARGEST} bytes; expected a URDF.')
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettingError(
            f'kinematics.description is {given!r}, which cannot be read: {error}. Name a URDF.'
        ) from None
    from efficient_vla.control.kinematics.kinematics import Kinematics

    shares = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    packages = [*settings.collision.packages, *(f'{prefix}/share' for prefix in shares if prefix)]
    model = Kinematics(text, names, settings.kinematics, settings.collision, packages)
    return model, model.about()
