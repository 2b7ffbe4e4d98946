# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the controller."""

from dataclasses import dataclass

from efficient_vla.control.catalogue import BLENDINGS
from efficient_vla.control.kinematics.settings import CollisionSettings, KinematicsSettings
from efficient_vla.settings import described, group, setting

BLENDING_METHODS = tuple(BLENDINGS)
HORIZON_METHODS = ('none', 'adaptive')
INTERPOLATIONS = ('linear', 'cubic')


@dataclass(frozen=True, slots=True)
class BlendingSettings:
    """How a new chunk takes over from the motion under way."""

    method: str = setting(
        'offset_fade',
        f'How chunks are joined. {described(BLENDINGS)}',
        choices=BLENDING_METHODS,
    )
    fade_time: float = setting(
        0.15,
        'Time in which offset_fade takes the offset at a seam to zero.',
        unit='s',
        low=0.0,
        high=2.0,
    )
    average_time: float = setting(
        0.0,
        'Time in which the weight of the newest chunk rises to 1 in weighted_average; 0: as long '
        'as the chunk before it lasts.',
        unit='s',
        low=0.0,
        high=10.0,
    )
    ensemble_decay: float = setting(
        0.01,
        'm of the weights exp(-m * i) of temporal_ensemble, i = 0 for the oldest chunk; above 0 '
        'favours old chunks, below 0 new ones.',
        low=-10.0,
        high=10.0,
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits of the set-point: one value for all axes, or one for each axis.

    Axes are the robot's command names without the gripper; units are [m] or, for joints, [rad]. A
    quaternion is the three axes rx, ry and rz, about those of the tool [rad], which have no box.
    """

    max_velocity: tuple[float, ...] = setting(
        (0.8,),
        'Largest speed of an axis; where a chunk asks for more, all axes slow down on its path.',
        unit='m/s',
        low=1e-3,
        high=50.0,
        locked=True,
    )
    max_acceleration: tuple[float, ...] = setting(
        (20.0,), 'Largest acceleration of an axis.', unit='m/s^2', low=1e-2, high=1e4, locked=True
    )
    max_jerk: tuple[float, ...] = setting(
        (1500.0,), 'Largest jerk of an axis.', unit='m/s^3', low=1e-1, high=1e7, locked=True
    )
    stop_deceleration: tuple[float, ...] = setting(
        (20.0,),
        'Deceleration of an axis that stops or holds; at most limits.max_acceleration.',
        unit='m/s^2',
        low=1e-2,
        high=1e4,
        locked=True,
    )
    position_low: tuple[float, ...] = setting(
        (-10.0,),
        'Lower corner of the box that the set-point never leaves.',
        unit='m',
        low=-1e4,
        high=1e4,
        locked=True,
    )
    position_high: tuple[float, ...] = setting(
        (10.0,),
        'Upper corner of the box that the set-point never leaves.',
        unit='m',
        low=-1e4,
        high=1e4,
        locked=True,
    )


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """Limits of the hand of a robot that is commanded by x, y, z and its rotation."""

    max_velocity: float = setting(
        0.0,
        'Largest velocity of the hand in whatever direction; limits.max_velocity is of each axis, '
        'and the diagonal may be 1.7 times as fast. 0: that alone holds.',
        unit='m/s',
        low=0.0,
        high=50.0,
        locked=True,
    )
    max_angular_velocity: float = setting(
        0.0,
        'Largest angular velocity of the hand about whatever axis; limits.max_velocity of rx, ry '
        'and rz is about each axis of the tool. 0: that alone holds.',
        unit='rad/s',
        low=0.0,
        high=100.0,
        locked=True,
    )


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """When chunks may no longer drive the robot."""

    chunk_timeout: float = setting(
        0.5,
        'A chunk drives the robot until its observation is this old.',
        unit='s',
        low=0.02,
        high=60.0,
        locked=True,
    )
    max_future: float = setting(
        0.05,
        'A chunk stamped further than this in the future is rejected; clocks differ by less.',
        unit='s',
        low=0.0,
        high=1.0,
        locked=True,
    )


@dataclass(frozen=True, slots=True)
class HorizonSettings:
    """How long of a chunk may be executed before it runs out."""

    method: str = setting(
        'none',
        'none executes a chunk to its end; adaptive executes less of it where successive chunks '
        'disagree and more where they agree.',
        choices=HORIZON_METHODS,
    )
    low: float = setting(
        0.15,
        'The adaptive horizon is at least this long, and at least two delays.',
        unit='s',
        low=0.01,
        high=60.0,
    )
    high: float = setting(
        2.0,
        'The adaptive horizon is at most this long.',
        unit='s',
        low=0.01,
        high=60.0,
    )
    disagreement: float = setting(
        0.25,
        'Chunks disagree where the distance between them is more than this fraction of the way '
        'that they go; they agree below half of it.',
        low=0.01,
        high=10.0,
    )


@dataclass(frozen=True, slots=True)
class TimeScalingSettings:
    """Slower execution of chunks that would run out before the next one comes."""

    low: float = setting(
        0.1,
        'Slowest share of its speed at which a chunk is executed where it would run out before '
        'the next one is expected; 1: never slower, the robot stops in between.',
        low=0.05,
        high=1.0,
    )


@dataclass(frozen=True, slots=True)
class ContractSettings:
    """What the first chunk after enabling has to look like."""

    first_angle: float = setting(
        0.35,
        'The first row of joint positions after enabling is refused further than this from where '
        'the robot stands.',
        unit='rad',
        low=0.01,
        high=1e3,
        locked=True,
    )
    first_length: float = setting(
        0.05,
        'The first row of end-effector positions after enabling is refused further than this from '
        'where the robot stands.',
        unit='m',
        low=0.001,
        high=1e3,
        locked=True,
    )


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Parameters of the controller."""

    rate: float = setting(
        100.0, 'Set-points a second.', unit='Hz', low=10.0, high=1000.0, read_only=True
    )
    robot_delay: float = setting(
        0.0,
        'Time from a set-point leaving the controller to the robot being there, as the camera '
        'sees it; a new chunk is anchored to the set-point of that much earlier.',
        unit='s',
        low=0.0,
        high=1.0,
        locked=True,
    )
    stop_tolerance: float = setting(
        0.01,
        'Where motion ends, by whatever cause, the set-point brakes; an axis on which that would '
        'leave it further than this from where the robot can stop goes back to there. Set '
        'robot_delay for a robot that follows well but late.',
        unit='m',
        low=1e-4,
        high=10.0,
        locked=True,
    )
    continuous: tuple[str, ...] = setting(
        (),
        'Joints without an end: their angles are the same after a full turn, and a row of a chunk '
        'is reached the shorter way round. The box of limits still holds, from the first angle on.',
        read_only=True,
    )
    ramp_time: float = setting(
        0.3,
        'Time of motion after enabling or resuming in which the velocity limit rises from a tenth '
        'to its full value; 0: none.',
        unit='s',
        low=0.0,
        high=10.0,
        locked=True,
    )
    interpolation: str = setting(
        'cubic',
        'The way between the rows of a chunk: linear goes straight, cubic takes the natural cubic '
        'spline, whose acceleration has no step.',
        choices=INTERPOLATIONS,
    )
    blending: BlendingSettings = group(BlendingSettings)
    horizon: HorizonSettings = group(HorizonSettings)
    time_scaling: TimeScalingSettings = group(TimeScalingSettings)
    contract: ContractSettings = group(ContractSettings)
    limits: LimitSettings = group(LimitSettings)
    tool: ToolSettings = group(ToolSettings)
    watchdog: WatchdogSettings = group(WatchdogSettings)
    kinematics: KinematicsSettings = group(KinematicsSettings)
    collision: CollisionSettings = group(CollisionSettings)

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if self.watchdog.chunk_timeout < 2 / self.rate:
            return (
                f'watchdog.chunk_timeout is {self.watchdog.chunk_timeout} s; expected at least two '
                f'periods of rate {self.rate} Hz, which is {2 / self.rate:.3g} s.'
            )
        if self.horizon.low > self.horizon.high:
            return (
                f'horizon.low is {self.horizon.low} s and horizon.high is {self.horizon.high} s; '
                'expected low not above high.'
            )
        return self.collision.check() or _check_limits(self.limits)


def axes(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    """Return one value for each of ``count`` axes from one for all or one for each."""
    return values * count if len(values) == 1 else values


def braking_times(limits: LimitSettings) -> tuple[float, ...]:
    """Return the longest time to stand still [s], one for each axis or one for all."""
    columns = (limits.max_velocity, limits.max_acceleration, limits.max_jerk)
    rows = [*columns, limits.stop_deceleration]
    count = max(len(row) for row in rows)
    # The slowest to stop still accelerates, and reaches full speed once it no longer does.
    return tuple(
        min(acceleration / jerk, (2 * velocity / jerk) ** 0.5) + stop_time(velocity, stop, jerk)
        for velocity, acceleration, jerk, stop in zip(
            *(axes(row, count) for row in rows), strict=True
        )
    )


def stop_time(velocity: float, deceleration: float, jerk: float) -> float:
    """Return the time to stand still from ``velocity`` without acceleration [s]."""
    if velocity * jerk < deceleration**2:
        return 2 * (velocity / jerk) ** 0.5
    return float(velocity / deceleration + deceleration / jerk)


def _check_limits(limits: LimitSettings) -> str | None:
    values = {name: getattr(limits, name) for name in LimitSettings.__dataclass_fields__}
    counts = {len(value) for value in values.values()} - {1}
    if 0 in counts or len(counts) > 1:
        lengths = ', '.join(f'limits.{name} has {len(value)}' for name, value in values.items())
        return f'{lengths} values; expected one for all axes or one for each axis everywhere.'
    count = counts.pop() if counts else 1
    rows = zip(*(axes(value, count) for value in values.values()), strict=True)
    for axis, (_, acceleration, _, stop, low, high) in enumerate(rows):
        if low >= high:
            return (
                f'limits.position_low is {low} and limits.position_high is {high} on axis {axis}; '
                'expected low below high.'
            )
        if stop > acceleration:
            return (
                f'limits.stop_deceleration is {stop} on axis {axis}; expected at most '
                f'limits.max_acceleration, which is {acceleration}.'
            )
    return None
