# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the monitor draws a robot of joints by: it follows from the controller's description."""

from collections.abc import Mapping
from typing import Any

from efficient_vla.control.kinematics.settings import THE_SAME
from efficient_vla.control.robot_limits.urdf import root_of, text_of


def parameters(controller: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of the monitor; none for a robot without a description at this time.

    Raises ``InvalidSettingError`` for one that is none.
    """
    limits = controller.get('robot_description', '')
    given = controller.get('kinematics.description', '') or limits
    text = text_of('kinematics.description', limits if given == THE_SAME else given)
    if not text:
        return {}
    found = {
        'description': limits if given == THE_SAME else given,
        'names': list(controller.get('names', ())),
        'joint_names': list(controller.get('driver.joint_names', ())),
        'base': controller.get('kinematics.base', '') or root_link(text),
        'tool': controller.get('kinematics.tool', ''),
    }
    return {f'arm.{name}': value for name, value in found.items()}


def root_link(text: str) -> str:
    """Return the link of the URDF ``text`` that no joint moves; empty where it is not the only one.

    Raises ``InvalidSettingError`` for a text that is none.
    """
    root = root_of(text)
    moved = {child.get('link') for child in root.findall('joint/child')}
    still = [link.get('name', '') for link in root.findall('link') if link.get('name') not in moved]
    return still[0] if len(still) == 1 else ''
