# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the simulated robot."""

from dataclasses import dataclass

from efficient_vla.settings import NodeSettings, group, setting, share

MODES = ('realtime', 'lockstep')
INTERFACES = ('command', 'driver')
RENDERINGS = ('default', 'fast')


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """The simulated camera."""

    rate: float = setting(10.0, 'Images a second of simulated time.', unit='Hz', low=0.1, high=80.0)
    size: int = setting(
        480, 'Width and height of the image.', unit='px', low=16, high=2048, read_only=True
    )
    render: str = setting(
        'default',
        "default is the simulator's own rendering, which published numbers of Meta-World use; fast "
        'has no shadows, reflections or multisampling and takes a tenth of the time.',
        choices=RENDERINGS,
        read_only=True,
    )


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """What the robot does with commands."""

    timeout: float = setting(
        0.2,
        'The robot holds its set-point when no command came for this long (simulated time).',
        unit='s',
        low=0.02,
        high=10.0,
    )
    max_jump: float = setting(
        0.1,
        'The first command of an episode is refused when it is further than this from the present '
        'set-point on any axis: it comes from a controller that still follows an earlier episode.',
        unit='m or rad',
        low=0.01,
        high=2.0,
    )


@dataclass(frozen=True, slots=True)
class LockstepSettings:
    """How long simulated time may wait for the graph in lockstep."""

    timeout: float = setting(
        30.0,
        'Wall time after which a missing command or chunk is reported as a fault; simulated '
        'time keeps standing still.',
        unit='s',
        low=0.1,
        high=3600.0,
    )


@dataclass(frozen=True, slots=True)
class RobotSettings(NodeSettings):
    """Parameters of the simulated robot."""

    task: str = setting(
        '',
        'Task whose scene is loaded at configuration, empty for the first of the robot; '
        'reset_episode changes it.',
        read_only=True,
    )
    seed: int = setting(0, 'Seed of the first episode.', low=0, high=2**31 - 1, read_only=True)
    max_steps: int = setting(
        500,
        'Steps after which an episode ends and nothing moves any more; published results of '
        'Meta-World use 500, of 12.5 ms.',
        low=1,
        high=10**9,
        read_only=True,
    )
    interface: str = setting(
        'command',
        'command: set-points come on command and are followed as they are; driver: the topics and '
        'actions of the ROS 2 driver of the arm, with what it does to trajectories.',
        choices=INTERFACES,
        read_only=True,
    )
    speed_slider: float = share(1.0, 'Speed slider of an arm that has one, with interface driver.')
    calibration: str = setting(
        '',
        'Calibration file of LeRobot for the servos of an SO-101, with interface driver; empty: '
        'one of ours.',
        read_only=True,
    )
    mode: str = setting(
        'realtime',
        'realtime runs the physics on the wall clock; lockstep lets simulated time '
        'wait for a command at each step and for a chunk of each image, so that results do not '
        'depend on the speed of the machine.',
        choices=MODES,
        read_only=True,
    )
    real_time_factor: float = setting(
        1.0, 'Simulated seconds in one second of wall time (realtime mode).', low=0.05, high=20.0
    )
    publish_clock: bool = setting(
        False,
        'Stamp in simulated time and publish /clock; the other nodes then need '
        'use_sim_time. Lockstep does so always.',
        read_only=True,
    )
    camera: CameraSettings = group(CameraSettings)
    command: CommandSettings = group(CommandSettings)
    lockstep: LockstepSettings = group(LockstepSettings)

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if self.real_time_factor != 1.0 and not self.simulated_time:
            return (
                f'real_time_factor is {self.real_time_factor} while publish_clock is false; '
                'expected 1.0, since the other nodes would measure ages in wall time. '
                'Set publish_clock to true and use_sim_time for the other nodes.'
            )
        return None

    @property
    def simulated_time(self) -> bool:
        """Whether stamps are simulated time."""
        return self.publish_clock or self.mode == 'lockstep'
