# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The arm of a description: its joints, where its tool is, and how the tool moves with them."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np
import pinocchio as pin

from efficient_vla.control.kinematics import description
from efficient_vla.control.robot_limits.urdf import root_of
from efficient_vla.settings import InvalidSettingError

SHOWN = 8
"""So many names are told at most."""


class ArmModel:
    """The chain from ``base`` to ``tool``; joints are in the order of ``names``.

    ``names`` are the columns of a robot's command: those that are joints of the chain are the
    arm's, others are not its business. All other joints of the description stand in their middle.
    """

    def __init__(
        self,
        text: str,
        names: Sequence[str],
        base: str = '',
        tool: str = '',
        table: Sequence[float] = (),
        boxes: Sequence[float] = (),
        packages: Sequence[str] = (),
    ) -> None:
        """Read the URDF ``text``; raises ``InvalidSettingError`` where it does not fit."""
        root = root_of(text)
        base, tool = base or _root_link(root), tool or _last_link(root, names)
        description.furnish(root, base, table, boxes)
        text, self.absent_meshes = description.prepare(root, packages)
        try:
            whole = pin.buildModelFromXML(text)
            shapes = pin.buildGeomFromUrdfString(whole, text, pin.GeometryType.COLLISION)
        except (ValueError, RuntimeError) as error:
            raise InvalidSettingError(
                f'the description cannot be used: {str(error).rstrip(".")}. Lines before this one, '
                'of urdfdom, name link or joint.'
            ) from None
        for link in (base, tool):
            if not whole.existFrame(link, pin.FrameType.BODY):
                raise InvalidSettingError(
                    f'the description has no link {link!r}; expected one of '
                    f'{", ".join(f.name for f in whole.frames if f.type == pin.FrameType.BODY)}.'
                )
        chain = whole.supports[whole.frames[whole.getFrameId(tool, pin.FrameType.BODY)].parentJoint]
        moved = {whole.names[joint] for joint in chain}
        self.joints = tuple(name for name in names if name in moved)
        if not self.joints:
            raise InvalidSettingError(
                f'none of {", ".join(names)} moves the link {tool!r} of the description; its '
                f'joints are {", ".join(list(whole.names)[1:])}. Correct names.'
            )
        self.standing = tuple(n for n in whole.names[1:] if n in names and n not in moved)
        """Joints of the command that the model does not move."""
        others = [j for j in range(1, whole.njoints) if whole.names[j] not in self.joints]
        still = pin.neutral(whole)
        if len(still) != whole.nv:
            raise InvalidSettingError(
                'the description has a planar or floating joint; expected revolute and prismatic.'
            )
        still = np.clip(still, whole.lowerPositionLimit, whole.upperPositionLimit)
        self.model, self.shapes = pin.buildReducedModel(whole, shapes, others, still)
        order = [self.model.idx_qs[self.model.getJointId(name)] for name in self.joints]
        self._order = np.array(order)  # column of each joint in the model
        self.low = self.model.lowerPositionLimit[self._order]
        self.high = self.model.upperPositionLimit[self._order]
        self._data = self.model.createData()
        self._tool = self.model.getFrameId(tool, pin.FrameType.BODY)
        frame = self.model.frames[self.model.getFrameId(base, pin.FrameType.BODY)]
        if frame.parentJoint:
            raise InvalidSettingError(
                f'the link {base!r} moves with the arm; expected the base that it stands on.'
            )
        self._base = frame.placement

    def sorted(self, joints: np.ndarray) -> np.ndarray:
        """Return ``joints`` [M] in the order of the model."""
        ordered = np.empty(len(joints))
        ordered[self._order] = joints
        return ordered

    def place(self, joints: np.ndarray) -> pin.SE3:
        """Return where the tool is in the base's frame at ``joints`` [M]."""
        pin.forwardKinematics(self.model, self._data, self.sorted(joints))
        return self._base.actInv(pin.updateFramePlacement(self.model, self._data, self._tool))

    def moves(self, joints: np.ndarray) -> tuple[pin.SE3, np.ndarray]:
        """Return ``place`` and the Jacobian in the tool's own frame, linear first [6, M]."""
        pin.computeJointJacobians(self.model, self._data, self.sorted(joints))
        placed = pin.updateFramePlacement(self.model, self._data, self._tool)
        jacobian = pin.getFrameJacobian(self.model, self._data, self._tool, pin.LOCAL)
        return self._base.actInv(placed), jacobian[:, self._order]


def _root_link(root: Element) -> str:
    children = {child.get('link') for child in root.findall('joint/child')}
    roots = [str(link.get('name')) for link in root.findall('link')]
    roots = [name for name in roots if name not in children]
    if len(roots) != 1:
        raise InvalidSettingError(
            f'the description has the root links {", ".join(roots) or "none"}; expected one.'
        )
    return roots[0]


def _last_link(root: Element, names: Sequence[str]) -> str:
    """Return the link at the end of the chain of ``names``, the only one behind all of them."""
    joints = root.findall('joint')
    links = {link: joint for joint in joints for link in [_link(joint, 'child')]}
    parents = {_link(joint, 'parent') for joint in joints}
    ends = []
    for leaf in [link for link in links if link not in parents]:
        chain, link = set(), leaf
        while link in links and links[link].get('name') not in chain:
            chain.add(links[link].get('name'))
            link = _link(links[link], 'parent')
        ends.append((len(chain & set(names)), leaf))
    most = max((count for count, _ in ends), default=0)
    last = [leaf for count, leaf in ends if count == most]
    if not most or len(last) != 1:
        raise InvalidSettingError(
            f'the chain of {", ".join(names)} ends in {", ".join(last[:SHOWN]) or "no link"}; '
            'expected one '
            'link. Set kinematics.tool.'
        )
    return last[0]


def _link(joint: Element, kind: str) -> str:
    element = joint.find(kind)
    return '' if element is None else element.get('link', '')
