# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a URDF says of the joints: range, velocity, and which turn without an end.

It comes from a file or from a topic: its size is bounded, and it may not declare entities.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from efficient_vla.places import share_folder
from efficient_vla.settings import InvalidSettingError

LARGEST = 4 * 1024 * 1024
"""Longer descriptions than this are refused [characters]."""
ENDLESS = 1e4
"""Range of a joint without an end, to either side [rad]."""
MOVING = ('revolute', 'continuous', 'prismatic')
MOST_TURNS = 10
"""A joint with an end further away than that is in degrees."""


@dataclass(frozen=True, slots=True)
class DescribedJoint:
    """One joint of a URDF; units are [m] of prismatic and [rad] of all others."""

    kind: str
    low: float
    high: float
    velocity: float | None
    """``None`` where the URDF says none, or 0, which it cannot mean."""
    mimics: str = ''
    """The joint that this one follows."""


def read_urdf(text: str) -> dict[str, DescribedJoint]:
    """Return name -> joint of all joints of the URDF ``text`` that move.

    Raises ``InvalidSettingError`` naming joint and attribute.
    """
    found = {}
    for joint in root_of(text).findall('joint'):
        name, kind = joint.get('name', ''), joint.get('type', '')
        if kind not in MOVING:
            continue
        if name in found:
            raise InvalidSettingError(
                f'robot_description has two joints {name!r}; expected each name once. Correct the '
                'URDF, such as by a prefix for each arm.'
            )
        limit = joint.find('limit')
        if limit is None and kind != 'continuous':
            raise InvalidSettingError(
                f'joint {name!r} of robot_description has no <limit>; expected lower, upper and '
                f'velocity of a {kind} joint. Complete the URDF.'
            )
        low, high = -ENDLESS, ENDLESS
        if limit is not None and kind != 'continuous':
            ends = [_number(limit, name, end) for end in ('lower', 'upper')]
            if ends[0] is not None and ends[0] == ends[1]:
                continue  # Locked: it moves no more than a fixed one.
            # URDF: lower and upper are 0 where they are left out.
            low, high = (end or 0.0 for end in ends)
        soft = joint.find('safety_controller')
        if soft is not None and kind != 'continuous':
            ends = [_number(soft, name, f'soft_{end}_limit') for end in ('lower', 'upper')]
            # Left out, both are 0: no range at all.
            if ends[0] is not None and ends[1] is not None and ends[0] < ends[1]:
                low, high = max(low, ends[0]), min(high, ends[1])
        if low >= high:
            raise InvalidSettingError(
                f'joint {name!r} of robot_description goes from {low} to {high}; expected lower '
                'below upper. Correct the URDF.'
            )
        if kind == 'revolute' and max(abs(low), abs(high)) > MOST_TURNS * 2 * math.pi:
            raise InvalidSettingError(
                f'joint {name!r} of robot_description goes from {low:g} to {high:g}; expected '
                f'radians, at most {MOST_TURNS} turns. Correct the URDF, which is likely in '
                'degrees, or make the joint continuous.'
            )
        velocity = None if limit is None else _number(limit, name, 'velocity')
        if velocity is not None and velocity < 0:
            raise InvalidSettingError(
                f'joint {name!r} of robot_description has velocity {velocity}; expected a positive '
                'one. Correct the URDF.'
            )
        mimic = joint.find('mimic')
        follows = '' if mimic is None else mimic.get('joint', '?')
        found[name] = DescribedJoint(kind, low, high, velocity or None, follows)
    if not found:
        raise InvalidSettingError(
            f'robot_description has no joint that moves ({", ".join(MOVING)}); expected an arm. '
            'Name its URDF.'
        )
    return found


def root_of(text: str) -> ElementTree.Element:
    """Return the root of the URDF ``text``; raises ``InvalidSettingError`` where it is none."""
    refuse_longer('robot_description', len(text))
    if '<!DOCTYPE' in text or '<!ENTITY' in text:
        raise InvalidSettingError(
            'robot_description declares entities; expected plain URDF. Expand it first.'
        )
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, RecursionError, ValueError) as error:
        raise InvalidSettingError(f'robot_description is no XML: {error}.') from None
    if root.tag != 'robot' or any(map(_unexpanded, root.iter())):
        raise InvalidSettingError(
            f'robot_description is <{root.tag}> or has xacro inside; expected a <robot> of URDF. '
            'Write it with: xacro FILE.xacro > FILE.urdf'
        )
    return root


def _unexpanded(element: ElementTree.Element) -> bool:
    """Return whether an element still waits for xacro."""
    values = ' '.join(element.attrib.values())
    return 'xacro' in str(element.tag) or '${' in values or '$(' in values


def refuse_longer(what: str, size: int) -> None:
    """Raise ``InvalidSettingError`` where the description ``what`` has more than ``LARGEST``."""
    if size > LARGEST:
        raise InvalidSettingError(
            f'{what} has {size} bytes; expected at most {LARGEST}, of a description without meshes '
            'inside.'
        )


def text_of(name: str, given: Any) -> str:
    """Return the text that the parameter ``name`` is, or that is in the file that it names.

    Raises ``InvalidSettingError`` where it cannot be read.
    """
    if not given or not isinstance(given, str):
        return given or ''
    if given.lstrip().startswith('<'):
        refuse_longer(name, len(given))
        return given
    path = Path(given).expanduser()
    if not path.is_absolute():
        path = share_folder('config') / path
    try:
        refuse_longer(f'{name}: {path}', path.stat().st_size)
        return path.read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidSettingError):
            raise
        raise InvalidSettingError(
            f'{name} is {given[:200]!r}, which cannot be read: {error}. Name an absolute path, or '
            'one in the folder config of the package.'
        ) from None


def _number(element: ElementTree.Element, joint: str, attribute: str) -> float | None:
    """Return a number, ``None`` where it is left out."""
    text = element.get(attribute)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidSettingError(
            f'joint {joint!r} of robot_description has {attribute} {text!r}; expected a finite '
            'number. Correct the URDF.'
        )
    return value
