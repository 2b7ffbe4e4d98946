# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the nodes: the settings of a stage and what its ROS shell adds.

No ROS here, so that the documentation and the command line can read the table without it. The
classes have no slots: Python cannot join two bases that both have some.
"""

from dataclasses import dataclass

from efficient_vla.action.settings import ActorSettings
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import setting


@dataclass(frozen=True)
class NodeSettings:
    """What every node has."""

    autostart: bool = setting(
        True,
        'Configure and activate at start. Turn it off where a lifecycle manager does that.',
        read_only=True,
    )
    nice: int = setting(
        0,
        'Niceness of the process, where not 0; the more, the more it yields to others. Below 0 '
        'needs a privilege.',
        low=-20,
        high=19,
        read_only=True,
    )


@dataclass(frozen=True)
class PolicyNodeSettings(NodeSettings):
    """What the three nodes that run a part of the policy have."""

    policy: str = setting(
        'evla-nano', 'Folder of the policy, or the name of a shipped one.', read_only=True
    )
    threads: int = setting(
        1,
        'Threads that one pass may use. More than the free cores disturbs the controller.',
        low=1,
        high=256,
        read_only=True,
    )
    max_future: float = setting(
        0.25,
        'Input stamped later than this after the present is refused: a clock is wrong.',
        unit='s',
        low=0.0,
        high=10.0,
    )


@dataclass(frozen=True)
class CameraNodeSettings(PolicyNodeSettings):
    """What the nodes that see images have."""

    camera_skew: float = setting(
        0.1,
        'Images of several cameras make one frame while their capture times differ by no more.',
        unit='s',
        low=0.0,
        high=10.0,
    )


@dataclass(frozen=True)
class PerceptionNodeSettings(PerceptionSettings, CameraNodeSettings):
    """Parameters of the perception node."""


@dataclass(frozen=True)
class ReasonerNodeSettings(ReasonerSettings, PolicyNodeSettings):
    """Parameters of the reasoner node."""

    max_rate: float = setting(
        10.0, 'Plans are made no more often than this.', unit='Hz', low=0.1, high=1000.0
    )


@dataclass(frozen=True)
class ActorNodeSettings(ActorSettings, CameraNodeSettings):
    """Parameters of the actor node."""

    rate: float = setting(
        10.0,
        'Chunks made in the architecture dual; single makes one for each plan.',
        unit='Hz',
        low=0.1,
        high=1000.0,
    )
    max_image_age: float = setting(
        0.5, 'An image older than this makes no chunk.', unit='s', low=0.01, high=10.0
    )
    state_skew: float = setting(
        0.1,
        'The robot state nearest to an image may differ from it in time by no more than this.',
        unit='s',
        low=0.001,
        high=10.0,
    )


@dataclass(frozen=True)
class ControllerNodeSettings(ControllerSettings, NodeSettings):
    """Parameters of the controller node."""

    names: tuple[str, ...] = setting(
        ('x', 'y', 'z', 'gripper'),
        'Columns of the command, in the order of the chunks; gripper is an effort, all others are '
        'axes.',
        read_only=True,
    )
    reset_distance: float = setting(
        0.02,
        'A robot whose set-point is further than this from the last command, while disabled or '
        'after it reported a new episode, was moved by others: the controller starts from there.',
        unit='m',
        low=0.001,
        high=1.0,
    )
    priority: int = setting(
        10,
        'Real-time priority (SCHED_FIFO) of the control loop where the system allows one; 0: none.',
        low=0,
        high=99,
        read_only=True,
    )


@dataclass(frozen=True)
class MonitorNodeSettings(NodeSettings):
    """Parameters of the monitor node."""

    cameras: tuple[str, ...] = setting(
        (),
        "Names of the policy's cameras, in its order, where it has several; empty: one camera on "
        'camera/image_raw.',
        read_only=True,
    )
    frame_id: str = setting(
        'world', 'Frame of the predicted path where the chunk names none.', read_only=True
    )
    path_width: float = setting(
        0.006, 'Width of the predicted path.', unit='m', low=0.0005, high=0.1
    )
    dim: float = setting(
        0.3, 'Brightness that is left to dropped tokens in the overlay.', low=0.0, high=1.0
    )
