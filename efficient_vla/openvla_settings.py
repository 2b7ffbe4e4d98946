# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the folder of an OpenVLA does not say: crop, rows of a chunk, limits, gripper."""

from dataclasses import dataclass

from efficient_vla.settings import setting

UNKNOWN = 'unknown'
EFFORTS = {'opening': (-2.0, 1.0), 'closing': (2.0, -1.0), 'effort': (1.0, 0.0)}
"""What the numbers of a gripper are -> factor and shift to an effort."""


def bounds_setting() -> str:
    """Declare which statistics become -1 and 1."""
    return setting(
        'bounds_q99',
        'Statistics that OpenVLA scales by: bounds_q99 are the quantiles 0.01 and 0.99, which all '
        'but policies for ALOHA were trained with; bounds are least and greatest.',
        choices=('bounds_q99', 'bounds'),
        read_only=True,
    )


@dataclass(frozen=True, slots=True)
class OpenVlaImages:
    """How OpenVLA sees."""

    crop: float = setting(
        1.0,
        'Share of the area of each image, in its middle, that an OpenVLA sees: 0.9 for policies '
        'that were trained with random crops, such as those for LIBERO.',
        low=0.1,
        high=1.0,
        read_only=True,
    )


@dataclass(frozen=True, slots=True)
class OpenVlaPlans:
    """How OpenVLA plans."""

    chunk: int = setting(
        0,
        'Rows of a chunk of OpenVLA-OFT, all of one pass: 8 for LIBERO, 25 for ALOHA, 5 for '
        'Bridge. 0 for an OpenVLA that names one action, token after token.',
        unit='rows',
        low=0,
        high=100,
        read_only=True,
    )
    bounds: str = bounds_setting()


@dataclass(frozen=True, slots=True)
class OpenVlaActions:
    """What the actions of an OpenVLA mean."""

    gripper: str = setting(
        UNKNOWN,
        'What the gripper of an OpenVLA gives: opening is 0 closed and 1 open, as in Open '
        'X-Embodiment, closing the reverse, effort is -1 open and 1 closed.',
        choices=(UNKNOWN, *EFFORTS),
        read_only=True,
    )
    bounds: str = bounds_setting()
