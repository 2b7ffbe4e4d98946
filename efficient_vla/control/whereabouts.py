# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the robot says it is, how far that can be trusted, and whether others moved it.

A robot may report its own set-point beside its measured position, and is then compared with that.
A measured position alone lags while the robot moves and sags while it stands: it is no set-point.
What it sags is learnt while it is held, axis by axis, and only what it moved beyond that while
nobody held it makes the controller start from elsewhere.
"""

import math
from collections import deque
from collections.abc import Callable

import numpy as np

from efficient_vla.control.angles import TURN, difference
from efficient_vla.control.limits import AxisLimits
from efficient_vla.control.rotations import Quaternion, turn
from efficient_vla.control.stopping import RobotMotion
from efficient_vla.types import InvalidRecordError

RESET_NOTICE_S = 1.0
"""After the robot reported a new episode, its set-point may jump for this long."""
HELD_TOLERANCE_M = 0.001
"""A robot that reports set-points stays this close to a set-point that has been held for it."""
SETTLED_S = 0.2
"""A measured position that leapt is believed when it has not leapt again for so long."""
LEAP_FACTOR = 2.0
LEAP_M = 0.02
"""A position leaps where it changes by more than this and what the robot does in the time at so
many times its limit of velocity."""
AT_REST_S = 0.5
"""So long after it and its set-point came to rest, an axis has come to where it sags to."""
STANDS_M_S = 0.02
"""A robot that is faster is still on its way: what it is off is no sag, nor was it moved."""
SAGS = 0.8
"""An axis that comes nearer to its set-point than this part of its sag was blocked before."""
SPAN_S = 0.03
"""Shortest time over which a velocity is measured."""
DRIFT_S = 1.0
"""Time over which the way of a robot that follows velocities is compared with that of its
set-point."""
MARGIN = 1.0
"""A position outside the box by more than the size of the box, and this, is none [m or rad]."""


class Whereabouts:
    """The newest state of the robot, and what it means beside the set-point.

    ``names`` are the axes; ``continuous`` [M] says which of them turn without an end, and
    ``turning`` are those of a rotation, told from the set-point of the time.
    """

    def __init__(
        self, names: tuple[str, ...], continuous: np.ndarray, turning: slice | None = None
    ) -> None:
        self.names = names
        self._turning = turning
        self._continuous = continuous
        self.reported: np.ndarray | None = None
        """Newest set-point of the robot, or position where it reports none, [M]."""
        self.measured: np.ndarray | None = None
        """Newest measured position, [M]."""
        self.time = -math.inf
        """When it was measured [s]."""
        self.exact = False
        """Whether the robot reports its set-point beside its position."""
        self.excused: np.ndarray = np.zeros(len(names), bool)
        """Axes [M] that may be anywhere: fingers stop at what they hold."""
        self.furthest = ''
        """Axis that ``error`` or ``drift`` last found furthest off."""
        self.leap = ''
        """Why the measured position was last not to be believed."""
        self.leapt = -math.inf
        """When a state came that leapt [s]."""
        self._heard = -math.inf
        self._refused = ('', -math.inf)
        self._noticed = -math.inf
        self._began = -math.inf
        self._samples: deque[tuple[float, np.ndarray]] = deque()
        self.velocity: np.ndarray = np.zeros(len(names))
        """Velocity of the measured position [M]."""
        self._sag: np.ndarray = np.zeros(len(names))
        self._stood: np.ndarray = np.full(len(names), -math.inf)
        self._arriving: np.ndarray = np.zeros(len(names), bool)

    def read(
        self,
        measured: np.ndarray,
        reported: np.ndarray | None,
        stamp: float,
        now: float,
        limits: list[AxisLimits],
        max_future: float,
    ) -> None:
        """Take a state [M] of ``stamp`` that came at ``now``.

        Raises ``InvalidRecordError`` for one that is nowhere near the box of ``limits``, or of more
        than ``max_future`` [s] after now; clocks that differ less say that it is of now.
        """
        if stamp > now + max_future:
            raise InvalidRecordError(
                f'robot_state is stamped {stamp - now:.3f} s in the future; expected at most '
                f'watchdog.max_future {max_future} s. Synchronise the clocks.'
            )
        for values in (measured,) if reported is None else (measured, reported):
            self._require_near(values, limits)
        self._heard = now
        stamp = min(stamp, now)
        if stamp < self.time:
            # Older than what is known.
            return
        self.exact = reported is not None
        reported = measured if reported is None else reported
        if self.measured is not None and self.reported is not None:
            self._check_leap(measured - self.measured, stamp, limits)
            if reported is not measured or self.reported is not self.measured:
                self._check_leap(reported - self.reported, stamp, limits)
        elif not self.exact:
            self._believe_later('robot_state has only just begun')
        self.measured, self.reported, self.time = measured, reported, stamp
        self._remember(stamp, measured)

    def refuse(self, reason: str, now: float) -> None:
        """Take note that a state came at ``now`` [s] that cannot be taken."""
        self._refused = (reason, now)

    def silent(self, now: float, limit: float) -> str | None:
        """Return that nothing was heard for longer than ``limit`` [s], 0 for no limit, or None."""
        age = now - self.time
        if limit == 0 or age <= limit:
            return None
        if now - self._heard <= limit < 2 * (self._heard - self.time):
            return (
                f'robot_state is {age:.3f} s old by its stamp; expected at most state_timeout '
                f'{limit} s. Synchronise the clocks, or see why its driver repeats an old state.'
            )
        reason, since = self._refused
        if now - since <= limit:
            return f'no robot_state was taken for longer than state_timeout {limit} s: {reason}'
        return (
            f'robot_state has been silent for longer than state_timeout {limit} s. Is the robot '
            'running?'
        )

    def doubted(self, now: float) -> str | None:
        """Return why the position must not be started from, or ``None``."""
        if self.reported is None:
            why = self._refused[0] or 'is the robot running?'
            return f'the set-point of the robot is not known yet; {why}'
        if not self.exact and self.time < self._noticed:
            return 'an episode began, and the robot has not said since where it is. Try again.'
        if self.noticed(now) or not self.leapt_lately(now):
            return None
        return f'{self.leap}; it is believed after {SETTLED_S} s without a leap. Try again.'

    def leapt_lately(self, now: float) -> bool:
        """Return whether the robot's position or set-point leapt just now."""
        return now - self.leapt < SETTLED_S

    def notice(self, now: float) -> None:
        """Take note that the robot reported a new episode."""
        self._noticed = now

    def clock_jumped(self, now: float) -> None:
        """Let no time be later than ``now``, to which the clock of a simulator jumped back."""
        self._heard = min(self._heard, now)
        self._refused = (self._refused[0], min(self._refused[1], now))
        self._noticed = min(self._noticed, now)
        self.leapt = min(self.leapt, now)
        self._began = min(self._began, now)
        self.time = min(self.time, now)
        self._stood = np.minimum(self._stood, now)
        self._forget()

    def forget_notice(self) -> None:
        """Expect no jump any more."""
        self._noticed = -math.inf

    def noticed(self, now: float) -> bool:
        """Return whether an episode began just now, so that the robot's set-point may jump.

        A measured position tells nothing of that: it may lag or sag.
        """
        return self.exact and 0 <= now - self._noticed <= RESET_NOTICE_S

    @property
    def begins(self) -> bool:
        """Whether an episode began since the set-point was last taken from where the robot is."""
        return self._noticed > self._began

    def put_elsewhere(self, now: float) -> bool:
        """Return whether the measured position leapt as an episode began, and only just now."""
        began = 0 <= now - self._noticed <= RESET_NOTICE_S
        return not self.exact and began and abs(self.leapt - self._noticed) <= RESET_NOTICE_S

    def anchored(self, now: float) -> None:
        """Take note that the set-point is where the robot is: it sags from there anew."""
        if self.exact:
            self.leapt = -math.inf
        self._began = now
        self._sag = np.zeros(len(self.names))
        self._stood = np.full(len(self.names), now)
        self._arriving = np.zeros(len(self.names), bool)

    def settle(self, setpoint: np.ndarray, velocity: np.ndarray, furthest: float) -> None:
        """Learn what the robot sags from ``setpoint`` [M], where both have just come to rest.

        ``furthest`` is what no robot sags more than.
        """
        if self.measured is None:
            return
        if velocity.all():
            # The loop has little time; while all of it moves, what follows comes to this.
            self._arriving = np.ones(len(self.names), bool)
            self._stood = np.full(len(self.names), self.time)
            return
        off = difference(self.measured, setpoint, self._continuous)
        less = (off * self._sag > 0) & (np.abs(off) < SAGS * np.abs(self._sag))
        self._sag = np.where((velocity == 0) & less & self._nears(off), 0.0, self._sag)
        # Once it stood, it does not arrive again, whoever moves it back.
        self._arriving = (velocity != 0) | (self._arriving & self._nears(off - self._sag))
        self._stood = np.where(self._arriving, self.time, self._stood)
        resting = self.time - self._stood
        slow = np.abs(self.velocity) < STANDS_M_S
        settling = (resting >= SETTLED_S) & (resting <= AT_REST_S) & slow
        self._sag = np.where(settling & (np.abs(off) <= furthest), off, self._sag)

    def _nears(self, off: np.ndarray) -> np.ndarray:
        return self.velocity * np.sign(off) < -STANDS_M_S

    def motion(self, setpoint: np.ndarray, now: float, furthest: float) -> RobotMotion | None:
        """Return how the robot moves, near ``setpoint`` [M], or ``None`` where that is doubtful.

        Further than ``furthest`` from its set-point no robot is to be believed; 0: however far.
        """
        if self.measured is None or self.leapt_lately(now):
            return None
        off = difference(self.measured, setpoint, self._continuous) - self._sag
        if furthest and np.abs(off[~self.excused]).max(initial=0.0) > furthest + LEAP_M:
            return None
        return RobotMotion(setpoint + off, self.velocity, self.time)

    def moved(self, setpoint: np.ndarray, limit: tuple[float, ...], exactly: bool) -> bool:
        """Return whether the robot is elsewhere than at ``setpoint`` [M], by more than ``limit``.

        ``limit`` is one value or one for each axis. Unless the set-point says so ``exactly``, it
        counts from where the robot sags to, once it has come there.
        """
        if self.reported is None:
            return False
        off = np.abs(difference(self.reported, setpoint, self._continuous))
        if not (self.exact or exactly):
            off = np.abs(difference(self.reported, setpoint + self._sag, self._continuous))
            off[self.time - self._stood <= AT_REST_S] = 0.0
        return bool((off > limit).any())

    def apart(self, setpoints: np.ndarray) -> float:
        """Return how far the robot's own set-point is outside of ``setpoints`` [K, M]."""
        assert self.reported is not None
        off = difference(self.reported, setpoints, self._continuous)
        return self._furthest(np.maximum(np.maximum(off.min(axis=0), -off.max(axis=0)), 0.0))

    def slipped(self, setpoints: np.ndarray) -> bool:
        """Return whether the robot's own set-point is none of those that it was sent [K, M]."""
        return self.exact and self.apart(setpoints) > HELD_TOLERANCE_M

    def error(self, setpoint: np.ndarray) -> float:
        """Return how far the robot is from its set-point, on the worst axis or by its rotation.

        That is its own set-point where it reports one, and otherwise ``setpoint`` [M], the one that
        it should have reached when it measured.
        """
        if self.measured is None or self.reported is None:
            return 0.0
        wanted = self.reported if self.exact else setpoint
        return self._furthest(difference(self.measured, wanted, self._continuous))

    def drift(
        self, setpoint: Callable[[float], np.ndarray], turned: Callable[[float], Quaternion]
    ) -> float:
        """Return by how much the way of the robot differs from that of its ``setpoint`` lately.

        The set-point's axes are ``turned``: a robot that is off by a rotation of the base is so
        about other axes of the tool as that turns.
        """
        samples = [sample for sample in self._samples if sample[0] >= self._began]
        if not samples:
            return 0.0
        (begin, first), (end, last) = samples[0], samples[-1]
        before, after = first - setpoint(begin), last - setpoint(end)
        axes = self._turning
        if axes is not None:
            before[axes] = turn(turned(begin), before[axes].tolist())
            after[axes] = turn(turned(end), after[axes].tolist())
        return self._furthest(difference(after, before, self._continuous))

    def _furthest(self, off: np.ndarray) -> float:
        """Return the largest part of ``off`` [M]; a rotation counts by its angle."""
        off = np.where(self.excused, 0.0, np.abs(off))
        self.furthest = self.names[int(off.argmax())]
        angle = 0.0 if self._turning is None else float(np.linalg.norm(off[self._turning]))
        return max(float(off.max()), angle)

    def place(self, near: np.ndarray | None) -> np.ndarray:
        """Return where to start [M]; continuous joints by the turn that is nearest to ``near``."""
        assert self.reported is not None
        if near is None:
            return self.reported
        return near + difference(self.reported, near, self._continuous)

    def _require_near(self, values: np.ndarray, limits: list[AxisLimits]) -> None:
        for name, value, axis, endless in zip(
            self.names, values.tolist(), limits, self._continuous, strict=True
        ):
            margin = max(axis.high - axis.low, MARGIN)
            low, high = axis.low - margin, axis.high + margin
            if endless:
                low, high = -1e3 * TURN, 1e3 * TURN
            if not low <= value <= high:
                raise InvalidRecordError(
                    f'robot_state says that {name} is at {value:.6g}; expected {low:.6g} to '
                    f'{high:.6g}, which is wide around limits.position_low and position_high. '
                    'Check its driver and units, or the limits.'
                )

    def _remember(self, time: float, measured: np.ndarray) -> None:
        samples = self._samples
        # Of a fast driver the newest and some before are enough.
        if len(samples) > 1 and time - samples[-2][0] < SPAN_S / 3:
            samples.pop()
        samples.append((time, measured))
        while time - samples[0][0] > DRIFT_S:
            samples.popleft()
        self.velocity = self._slope()

    def _forget(self) -> None:
        self._samples.clear()
        self.velocity = np.zeros(len(self.names))

    def _slope(self) -> np.ndarray:
        time, newest = self._samples[-1]
        for earlier, position in reversed(self._samples):
            if time - earlier >= SPAN_S:
                return difference(newest, position, self._continuous) / (time - earlier)
        return np.zeros(len(self.names))

    def _check_leap(self, change: np.ndarray, stamp: float, limits: list[AxisLimits]) -> None:
        time = stamp - self.time
        steps = np.abs(difference(change, np.zeros_like(change), self._continuous))
        fastest = np.array([axis.velocity for axis in limits])
        leaps = steps > LEAP_M + LEAP_FACTOR * fastest * time
        if leaps.any():
            axis = int(leaps.argmax())
            self._believe_later(
                f'robot_state leapt by {steps[axis]:.3f} in {time:.3f} s on {self.names[axis]}',
            )

    def _believe_later(self, why: str) -> None:
        self.leapt, self.leap = self._heard, why
        self._forget()
