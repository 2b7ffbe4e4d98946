# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What MoveIt's ``joint_limits.yaml`` says of the joints.

A limit counts where its ``has_..._limits`` is true. Angles may be tagged ``!degrees``. The two
scaling factors are MoveIt's for motions that say no other, and hold here too.
"""

import math
from typing import Any

import yaml

from efficient_vla.settings import InvalidSettingError

LARGEST = 1024 * 1024
"""Longer files than this are refused [characters]."""
KINDS = {'velocity': 'max_velocity', 'acceleration': 'max_acceleration', 'jerk': 'max_jerk'}
SCALED = ('velocity', 'acceleration')
WRAPPERS = ('/**', 'ros__parameters', 'robot_description_planning')
"""What stands above the limits where the file is one of parameters."""


class _Reader(yaml.SafeLoader):
    """Reads the tags that descriptions of robots use for angles."""


def _angle(turn: float) -> Any:
    def construct(loader: yaml.SafeLoader, node: yaml.Node) -> float:
        try:
            return float(node.value) * turn
        except (TypeError, ValueError):
            raise yaml.MarkedYAMLError(
                problem=f'{node.tag} without a number', problem_mark=node.start_mark
            ) from None

    return construct


_Reader.add_constructor('!degrees', _angle(math.pi / 180))
_Reader.add_constructor('!radians', _angle(1.0))


def read_joint_limits(text: str) -> dict[str, dict[str, float]]:
    """Return joint -> what is limited -> limit; positions are ``low`` and ``high``.

    Raises ``InvalidSettingError`` naming joint and key.
    """
    if len(text) > LARGEST:
        raise InvalidSettingError(
            f'joint_limits has {len(text)} characters; expected at most {LARGEST}.'
        )
    try:
        root = yaml.load(text, _Reader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        words = ' '.join(str(error).split())
        raise InvalidSettingError(f'joint_limits is not YAML: {words}.') from None
    while isinstance(root, dict) and 'joint_limits' not in root:
        inner = [root[name] for name in WRAPPERS if name in root]
        root = inner[0] if inner else None
    joints = root.get('joint_limits') if isinstance(root, dict) else None
    if not isinstance(joints, dict) or not all(isinstance(own, dict) for own in joints.values()):
        raise InvalidSettingError(
            'joint_limits has no joints; expected joint_limits and below it the name of each joint '
            "with has_velocity_limits, max_velocity and so on, as MoveIt's joint_limits.yaml has."
        )
    factors = {
        kind: _number(root, 'the file', f'default_{kind}_scaling_factor', 1.0) for kind in SCALED
    }
    if not all(0 < factor <= 1 for factor in factors.values()):
        raise InvalidSettingError(
            f'joint_limits has scaling factors {factors}; expected each above 0 and at most 1.'
        )
    return {str(name): _limits(str(name), own, factors) for name, own in joints.items()}


def _limits(joint: str, own: dict[str, Any], factors: dict[str, float]) -> dict[str, float]:
    found = {}
    for kind, key in KINDS.items():
        if _has(joint, own, kind):
            value = _number(own, joint, key)
            if value <= 0:
                raise InvalidSettingError(
                    f'joint {joint!r} of joint_limits has {key} {value:g} while has_{kind}_limits '
                    'is true; expected a positive one. Correct it.'
                )
            found[kind] = value * factors.get(kind, 1.0)
    if _has(joint, own, 'position'):
        found['low'], found['high'] = (
            _number(own, joint, key) for key in ('min_position', 'max_position')
        )
        if found['low'] >= found['high']:
            raise InvalidSettingError(
                f'joint {joint!r} of joint_limits goes from {found["low"]:g} to '
                f'{found["high"]:g}; expected min_position below max_position. Correct it.'
            )
    return found


def _has(joint: str, own: dict[str, Any], kind: str) -> bool:
    value = own.get(f'has_{kind}_limits', False)
    if not isinstance(value, bool):
        raise InvalidSettingError(
            f'joint {joint!r} of joint_limits has has_{kind}_limits {value!r}; expected true or '
            'false. Correct it.'
        )
    return value


def _number(own: dict[str, Any], joint: str, key: str, default: float | None = None) -> float:
    value = own.get(key, default)
    # YAML 1.1 reads 1e3 as a word.
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidSettingError(
            f'joint {joint!r} of joint_limits has {key} {value!r}; expected a finite number. '
            'Correct it.'
        )
    return number
