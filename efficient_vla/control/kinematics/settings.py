# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the kinematics and of the collision check."""

from dataclasses import dataclass

from efficient_vla.settings import setting

ORIENTATIONS = ('keep', 'free')
THE_SAME = 'robot_description'
"""As ``kinematics.description``: the one that limits come from."""


@dataclass(frozen=True, slots=True)
class KinematicsSettings:
    """How chunks of end-effector rows drive a robot that is commanded by joints."""

    description: str = setting(
        '',
        'URDF of the arm, its file or text, or the word robot_description for that of this '
        'parameter or its topic: the controller then takes chunks in EE modes too and turns them '
        'into joints, and checks every chunk for collisions. A relative path starts at the folder '
        'config of the package. Empty: chunks in JOINT modes only, nothing is checked.',
        read_only=True,
    )
    base: str = setting(
        '',
        'Link in whose frame end-effector rows are, frame_id of chunks; empty: the root.',
        read_only=True,
    )
    tool: str = setting(
        '', 'Link that end-effector rows move; empty: the last of the chain.', read_only=True
    )
    orientation: str = setting(
        'keep',
        'What rows of x, y, z without a rotation do with that of the tool. keep: it stays as it '
        'is; free: it may turn, for arms of less than six joints.',
        choices=ORIENTATIONS,
        read_only=True,
    )
    posture: tuple[float, ...] = setting(
        (),
        'Angles of the joints, in the order of names, that an arm with more joints than the rows '
        'need drifts to; empty: those that it had when it was enabled. Parts that touch there, or '
        'in the middle of the ranges where it is empty, are no collision.',
        unit='rad',
        low=-100.0,
        high=100.0,
        item=float,
        read_only=True,
    )
    tolerance: float = setting(
        1e-3,
        'A row that the arm misses by more than this cannot be reached, and the chunk ends before '
        'it. A radian counts as 0.1 m.',
        unit='m',
        low=1e-5,
        high=0.1,
        read_only=True,
    )


@dataclass(frozen=True, slots=True)
class CollisionSettings:
    """What the arm of ``kinematics.description`` must not come near to."""

    margin: float = setting(
        0.01,
        'Rows of a chunk keep the parts of the arm this far from one another, from the table and '
        'from boxes, and set-points between them half of it; 0: nothing is checked.',
        unit='m',
        low=0.0,
        high=1.0,
        read_only=True,
    )
    table: tuple[float, ...] = setting(
        (),
        'Height of the table in the frame of kinematics.base; empty: none.',
        unit='m',
        low=-10.0,
        high=10.0,
        item=float,
        read_only=True,
    )
    boxes: tuple[float, ...] = setting(
        (),
        'Boxes that stand around, six values each: middle x, y, z and sides along x, y, z in the '
        'frame of kinematics.base.',
        unit='m',
        low=-10.0,
        high=10.0,
        item=float,
        read_only=True,
    )
    packages: tuple[str, ...] = setting(
        (),
        'Folders in which packages lie that the description takes its meshes from, beside those of '
        'ROS. A mesh that is not found is left out of the check, and the log says so.',
        read_only=True,
    )

    def check(self) -> str | None:
        """Return why the set cannot work, or ``None``."""
        if len(self.table) > 1:
            return f'collision.table has {len(self.table)} values; expected one height, or none.'
        if len(self.boxes) % 6:
            return (
                f'collision.boxes has {len(self.boxes)} values; expected six a box: its middle and '
                'its sides.'
            )
        if any(side <= 0 for k, side in enumerate(self.boxes) if k % 6 > 2):
            return f'collision.boxes is {list(self.boxes)}; expected sides above 0.'
        return None
