# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of an arm without a simulation: joints that follow their driver exactly."""

from dataclasses import dataclass

from efficient_vla.settings import NodeSettings, setting


@dataclass(frozen=True, slots=True)
class StandInSettings(NodeSettings):
    """Parameters of the node arm_stand_in."""

    names: tuple[str, ...] = setting(
        ('joint',), 'Joints of the arm; `up --simulate` takes those of its profile.', read_only=True
    )
    home: tuple[float, ...] = setting(
        (0.0,),
        'Where the joints are at first, one value or one for each.',
        unit='rad or m',
        low=-1e3,
        high=1e3,
        read_only=True,
    )
    controller: str = setting(
        'joint_trajectory_controller', 'Name of its trajectory controller.', read_only=True
    )
    camera_topics: tuple[str, ...] = setting(
        ('camera/image_raw',),
        'Topics on which a picture of the joints is sent, grey bars that move with them.',
        read_only=True,
    )
    camera_rate: float = setting(
        10.0, 'Pictures a second.', unit='Hz', low=0.1, high=60.0, read_only=True
    )
    rate: float = setting(
        100.0, 'Periods of the driver a second.', unit='Hz', low=1.0, high=1000.0, read_only=True
    )

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if not self.names or len(self.home) not in (1, len(self.names)):
            return (
                f'names has {len(self.names)} joints and home {len(self.home)} values; expected '
                'a joint or more, and one value or one for each.'
            )
        return None
