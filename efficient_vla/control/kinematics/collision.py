# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How near the parts of an arm come to one another, to the table and to boxes."""

from itertools import combinations

import numpy as np
import pinocchio as pin

from efficient_vla.control.kinematics import description
from efficient_vla.control.kinematics.arm import ArmModel

SLACK = 1e-3
"""A pair that begins inside the margin may come nearer by so much [m]."""


class Collisions:
    """The pairs of shapes of an arm that must stay apart.

    Pairs that always touch are left out: those of one link or of neighbours in the chain, and those
    that are nearer than ``margin`` [m] at ``home`` [M], which are ``excused``; of the pairs with an
    obstacle, only those of the first link are.
    """

    def __init__(self, arm: ArmModel, margin: float, home: np.ndarray) -> None:
        self._arm, self._margin = arm, margin
        self._shapes = arm.shapes.copy()
        for part in self._shapes.geometryObjects:
            mesh = part.geometry
            if hasattr(mesh, 'buildConvexHull'):
                mesh.buildConvexHull(True, 'Qt')
                part.geometry = mesh.convex
        self._data = arm.model.createData()
        parts = self._shapes.geometryObjects
        parents = arm.model.parents
        for first, second in combinations(range(len(parts)), 2):
            one, other = sorted((parts[first].parentJoint, parts[second].parentJoint))
            neighbours = parents[other] == one and not self._obstacle(first, second)
            if one != other and not neighbours:
                self._shapes.addCollisionPair(pin.CollisionPair(first, second))
        self._measured = self._shapes.createData()
        self.excused = self._excuse(home)

    @property
    def count(self) -> int:
        """How many pairs are checked."""
        return len(self._shapes.collisionPairs)

    def begin(self, joints: np.ndarray) -> None:
        """Let pairs that are inside the margin at ``joints`` [M] only move apart."""
        requests = self._measured.collisionRequests
        for request in requests:
            request.security_margin = self._margin
        if self.near(joints) is None:
            return
        for request, distance in zip(requests, self._distances(joints), strict=True):
            request.security_margin = min(self._margin, distance - SLACK)

    def near(self, joints: np.ndarray) -> tuple[str, str, float] | None:
        """Return the pair that is too near at ``joints`` [M] and its distance [m], or ``None``."""
        arm = self._arm
        what = arm.model, self._data, self._shapes, self._measured, arm.sorted(joints)
        if not pin.computeCollisions(*what, True):
            return None
        pin.computeCollisions(*what, False)
        hits = [result.isCollision() for result in self._measured.collisionResults]
        distances = np.where(hits, self._distances(joints), np.inf)
        worst = int(distances.argmin())
        return *self._names(worst), float(distances[worst])

    def _distances(self, joints: np.ndarray) -> list[float]:
        arm = self._arm
        pin.computeDistances(
            arm.model, self._data, self._shapes, self._measured, arm.sorted(joints)
        )
        return [result.min_distance for result in self._measured.distanceResults]

    def _excuse(self, home: np.ndarray) -> list[tuple[str, str]]:
        """Leave out the pairs that are too near at ``home`` [M] and return their names."""
        near = [
            k
            for k, (pair, distance) in enumerate(
                zip(self._shapes.collisionPairs, self._distances(home), strict=True)
            )
            if distance < self._margin
            and (not self._obstacle(pair.first, pair.second) or self._first_link(pair))
        ]
        names = [self._names(k) for k in near]
        for k in reversed(near):
            self._shapes.removeCollisionPair(self._shapes.collisionPairs[k])
        self._measured = self._shapes.createData()
        return names

    def _names(self, index: int) -> tuple[str, str]:
        pair = self._shapes.collisionPairs[index]
        first, second = (self._link(part) for part in (pair.first, pair.second))
        return (second, first) if first.startswith(description.OBSTACLE) else (first, second)

    def _link(self, part: int) -> str:
        shape = self._shapes.geometryObjects[part]
        return str(self._arm.model.frames[shape.parentFrame].name)

    def _obstacle(self, *parts: int) -> bool:
        return any(self._link(part).startswith(description.OBSTACLE) for part in parts)

    def _first_link(self, pair: pin.CollisionPair) -> bool:
        shapes = self._shapes.geometryObjects
        return max(shapes[pair.first].parentJoint, shapes[pair.second].parentJoint) == 1
