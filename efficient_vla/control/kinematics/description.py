# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The text of a robot's description, URDF, as the library may read it.

Meshes are read from given folders only. Obstacles become links, so that one library knows all
shapes.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from efficient_vla.settings import InvalidSettingError

OBSTACLE = 'obstacle:'
"""Begin of the names of links that are no part of the robot."""
TABLE = f'{OBSTACLE}table'
TABLE_SIDES = (6.0, 6.0, 0.5)
"""The table ends beyond the reach of an arm, and its top alone matters [m]."""
MANY_TURNS = 1e3
"""Range of a joint without an end, to either side [rad]."""


def prepare(root: Element, packages: Sequence[str]) -> tuple[str, list[str]]:
    """Return the text for the library, and the meshes that are left out since they are not found.

    Joints without an end get a long range: their angle is one number, as everywhere else here.
    Raises ``InvalidSettingError`` for a joint that turns about nothing.
    """
    absent = []
    for joint in root.findall('joint'):
        _require_axis(joint)
        if joint.get('type') == 'continuous':
            joint.set('type', 'revolute')
            for limit in joint.findall('limit') or [SubElement(joint, 'limit', effort='0')]:
                limit.set('lower', str(-MANY_TURNS))
                limit.set('upper', str(MANY_TURNS))
                limit.set('velocity', limit.get('velocity', '0'))
    for link in root.findall('link'):
        for visual in link.findall('visual'):
            link.remove(visual)
        for collision in link.findall('collision'):
            mesh = collision.find('geometry/mesh')
            if mesh is None:
                continue
            path = _found(mesh.get('filename', ''), packages)
            if path is None:
                link.remove(collision)
                absent.append(f'{mesh.get("filename")} of {link.get("name")}')
            else:
                mesh.set('filename', str(path))
    return ElementTree.tostring(root, encoding='unicode'), absent


def furnish(root: Element, base: str, table: Sequence[float], boxes: Sequence[float]) -> None:
    """Add the table and the ``boxes`` as links that are fixed to ``base``, see the settings."""
    for height in table:
        _add_box(root, base, TABLE, (0.0, 0.0, height - TABLE_SIDES[2] / 2), TABLE_SIDES)
    for start in range(0, len(boxes), 6):
        middle, sides = boxes[start : start + 3], boxes[start + 3 : start + 6]
        _add_box(root, base, f'{OBSTACLE}box {start // 6 + 1}', middle, sides)


def _require_axis(joint: Element) -> None:
    """Raise ``InvalidSettingError`` for a joint that turns about nothing."""
    axis = joint.find('axis')
    values = '' if axis is None else axis.get('xyz', '')
    if values and not any(value.strip('+-0.eE') for value in values.split()):
        raise InvalidSettingError(
            f'joint {joint.get("name")!r} of the description has the axis {values!r}; expected one '
            'of a length above 0. Correct the URDF.'
        )


def _add_box(
    root: Element, base: str, name: str, middle: Sequence[float], sides: Sequence[float]
) -> None:
    collision = SubElement(SubElement(root, 'link', name=name), 'collision')
    SubElement(SubElement(collision, 'geometry'), 'box', size=' '.join(map(str, sides)))
    joint = SubElement(root, 'joint', name=f'{name} joint', type='fixed')
    SubElement(joint, 'parent', link=base)
    SubElement(joint, 'child', link=name)
    SubElement(joint, 'origin', xyz=' '.join(map(str, middle)), rpy='0 0 0')


def _found(filename: str, packages: Sequence[str]) -> Path | None:
    """Return the file of a mesh inside of one of the folders ``packages``, or ``None``."""
    name = filename.removeprefix('package://').removeprefix('file://')
    for folder in map(Path, packages):
        path = (folder / name).resolve()
        if path.is_file() and path.is_relative_to(folder.resolve()):
            return path
    return None
