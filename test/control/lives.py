# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One random life of a controller, its robot and its operator, written down set-point by set-point.

A seed is a life: the robot's kind, settings, chunks, operator and clocks all come from it.
"""

import math
import random
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
from control.robots import HOME, World

from efficient_vla.control.controller import Controller
from efficient_vla.settings import build
from efficient_vla.types import ActionChunk, ControlMode, InvalidRecordError

KINDS = ('true', 'late', 'slow', 'sagging', 'blocked', 'lying', 'own')
BLENDINGS = (
    'latest_only',
    'weighted_average',
    'temporal_ensemble',
    'offset_fade',
    'rtc',
    'rtc_trained',
)
EE = (ControlMode.EE_DELTA, ControlMode.EE_POSITION, ControlMode.EE_TWIST)
JOINT = (ControlMode.JOINT_POSITION, ControlMode.JOINT_DELTA)
LIMITS = (
    'max_velocity',
    'max_acceleration',
    'max_jerk',
    'stop_deceleration',
    'position_low',
    'position_high',
)
LIES = {
    'glitch': lambda rng: lambda p: p + (rng.random() < 0.1) * rng.choice([0.05, 5.0, -50.0]),
    'nan': lambda rng: lambda p: p * math.nan,
    'one infinite': lambda rng: lambda p: np.array([p[0], math.inf, p[2]]),
    'off': lambda rng: rng.choice([lambda p: p + 0.3, lambda p: p - 0.05]),
    'drifts': lambda rng: drifting(),
    'wraps': lambda rng: lambda p: p + 2 * math.pi * rng.choice([-1, 1]),
    'stuck at nothing': lambda rng: lambda p: p * 0.0,
}


def drifting():
    """Return a lie that grows by 1 mm each time."""
    steps = count()
    return lambda p: p + 1e-3 * next(steps)


@dataclass
class Log:
    """What was commanded: one entry a set-point, and what ended the motion after which of them."""

    times: list = field(default_factory=list)
    """By the steady clock [s]."""
    motions: list = field(default_factory=list)
    """[3, M]."""
    robots: list = field(default_factory=list)
    velocities: list = field(default_factory=list)
    segments: list = field(default_factory=list)
    """Set-points of one segment continue one another; another begins where the robot is taken."""
    tracking: list = field(default_factory=list)
    enabled: list = field(default_factory=list)
    limits: list = field(default_factory=list)
    ends: list = field(default_factory=list)
    """Index of the last set-point before each end of a motion."""


class Life(World):
    """A robot of some kind and what befalls it."""

    def __init__(self, seed):
        self.rng = rng = random.Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        lag, delay, sag = 0.0, 0.0, 0.0
        if self.kind == 'late':
            delay = rng.randint(1, 12) / 100
        if self.kind in ('slow', 'blocked'):
            lag = rng.uniform(0.03, 0.5)
        if self.kind == 'sagging':
            lag, sag = rng.choice([0.0, 0.05]), rng.uniform(0.0, 0.015)
        joint = rng.random() < 0.3
        names = ('a', 'b', 'c') if joint else ('x', 'y', 'z')
        values = self.draw_limits(rng) | self.draw_blending(rng)
        values |= {
            'rate': rng.choice([100.0, 100.0, 50.0, 200.0]),
            'ramp_time': rng.choice([0.0, 0.3]),
            'robot_delay': delay,
            'continuous': ('a',) if joint and rng.random() < 0.5 else (),
            'following_error': 1.0 if lag > 0 else rng.choice([0.1, 1.0]),
        }
        if self.kind == 'late':
            values |= {'rate': 100.0, 'following_error': 1.0}
        super().__init__(lag, delay, sag, HOME, names, **values)
        if self.kind == 'own':
            self.own = self.position
        self.values = values
        self.period = 1 / values['rate']
        self.covers = rng.choice([0.0, 0.0, 0.0, 0.05])
        self.controller = Controller(self.settings, self.names, self.covers)
        self.modes = JOINT if joint else EE
        self.log = Log()
        self.segment = self.silence = 0
        self.slew = 0.0
        self.on_the_way = []
        self.next_chunk = 0.0
        self.way = np.zeros(3)
        self.reanchored = 0
        self.quiet = False

    @staticmethod
    def draw_limits(rng):
        """Return random limits; a stop is at most as hard as an acceleration."""
        acceleration = rng.choice([2.0, 5.0, 20.0])
        wide = rng.random() < 0.3
        reach = [10.0 if wide else rng.uniform(0.05, 0.5) for _ in range(6)]
        return {
            'limits.max_velocity': [rng.choice([0.2, 0.8, 2.0]), 0.8, rng.choice([0.3, 0.8])],
            'limits.max_acceleration': [acceleration],
            'limits.stop_deceleration': [acceleration * rng.choice([0.5, 1.0])],
            'limits.max_jerk': [rng.choice([50.0, 300.0, 1500.0])],
            'limits.position_low': [h - r for h, r in zip(HOME, reach[:3], strict=True)],
            'limits.position_high': [h + r for h, r in zip(HOME, reach[3:], strict=True)],
        }

    @staticmethod
    def draw_blending(rng):
        """Return random settings that may change in mid motion."""
        return {
            'blending.method': rng.choice(BLENDINGS),
            'blending.fade_time': rng.choice([0.0, 0.15, 1.0]),
            'blending.average_time': rng.choice([0.0, 0.2]),
            'blending.ensemble_decay': rng.choice([-1.0, 0.01, 1.0]),
            'interpolation': rng.choice(['linear', 'cubic']),
            'horizon.method': rng.choice(['none', 'adaptive']),
            'time_scaling.low': rng.choice([0.05, 0.1, 1.0]),
        }

    @property
    def limits(self):
        """Velocity, acceleration, jerk, deceleration, low and high of each axis, as asked for."""
        rows = [self.values[f'limits.{name}'] for name in LIMITS]
        return list(zip(*(row * (3 // len(row)) for row in rows), strict=True))

    @property
    def tracking(self):
        return self.controller.state.name == 'TRACKING'

    def play(self, ticks):
        """Live for so many ticks, and return what was commanded."""
        self.run(0.25)
        self.enable()
        for _ in range(ticks):
            self.befall()
            self.live(self.draw_elapsed())
        return self.log

    def live(self, elapsed):
        """Tick once after ``elapsed`` [s], and note where that ended a motion."""
        before, length = self.tracking, len(self.log.times)
        self.offset += self.slew * elapsed
        if self.silence > 0:
            self.silence -= 1
        self.tick(elapsed)
        if before and not self.tracking:
            # By the watchdog within the tick, or by the following error after it.
            self.log.ends.append(length - (not self.log.tracking[-1]))

    def draw_elapsed(self):
        rng = self.rng
        chance = rng.random()
        if chance < 0.02:
            return rng.uniform(0.0, 0.2) + 1e-3
        if chance < 0.04:
            return self.period * rng.uniform(0.1, 1.0)
        if chance < 0.10:
            return self.period * rng.uniform(1.0, 2.5)
        return self.period

    def move(self, elapsed):
        controller = self.controller
        log = self.log
        if self.known:
            log.times.append(self.steady)
            log.motions.append(controller.motion)
            log.segments.append(self.segment)
            log.tracking.append(self.tracking)
            log.enabled.append(controller.enabled)
            log.limits.append(self.limits)
            if controller.enabled or not controller.at_rest:
                # What the robot is sent is what the controller says.
                assert (self.wire[-1] == controller.motion[0]).all()
        super().move(elapsed)
        if self.known:
            log.robots.append(self.position)
            log.velocities.append(self.velocity)

    def report(self):
        if self.silence == 0:
            super().report()

    def anchor(self):
        held, doubt = self.held, super().anchor()
        if doubt is None:
            self.segment += 1
            self.reanchored += held
        return doubt

    def end(self, how):
        """End the motion as an operator, a client or a node does."""
        now, controller = self.now, self.controller
        if how == 'pause':
            if controller.pause(now):
                return
        elif how == 'flush':
            controller.flush(now, 'cancelled')
        else:
            getattr(controller, how)(now)
        if self.log.times:
            self.log.ends.append(len(self.log.times) - 1)

    def befall(self):
        """Let happen what may before a tick."""
        rng = self.rng
        self.steady += rng.choice([0.0, 0.3]) * self.period * rng.random()
        if rng.random() < 0.02:
            self.offset += rng.choice([1e-3, 0.03, 0.5, 5.0, 3600.0, 1e6]) * rng.choice([-1, 1])
        if rng.random() < 0.01:
            self.slew = rng.choice([0.0, 5e-4, -5e-4, 0.05, -0.05])
        if rng.random() < 0.005 and self.kind == 'blocked':
            self.blocked = not self.blocked
        if rng.random() < 0.02 and self.kind == 'lying':
            self.lie = rng.choice([LIES[rng.choice(list(LIES))](rng), lambda position: position])
            self.silence = rng.choice([0, 0, 5, 40])
        if self.known:
            self.operate()
        if self.steady >= self.next_chunk:
            self.next_chunk = self.steady + rng.choice([0.02, 0.1, 0.1, 0.1, 0.3])
            self.observe()
        for item in [item for item in self.on_the_way if item[0] <= self.steady]:
            self.on_the_way.remove(item)
            self.deliver(item[1])

    def operate(self):
        rng = self.rng
        controller = self.controller
        if rng.random() < 0.008:
            self.end(rng.choice(['stop', 'disable', 'pause', 'flush']))
        if not controller.enabled and rng.random() < 0.15:
            rng.choice(
                [self.enable, lambda: controller.reset_stop(self.now)]
                + [lambda: controller.resume(self.now)]
            )()
        if rng.random() < 0.005:
            self.change(self.draw_blending(rng))
        if rng.random() < 0.02 and not controller.enabled and controller.at_rest:
            self.change(self.draw_limits(rng))
        if rng.random() < 0.003 and self.kind == 'lying':
            place = np.array(HOME) + rng.choice([0.0, 0.04, 20.0, math.nan])
            try:
                controller.reset(place, self.now)
                self.segment += 1
            except ValueError:
                assert math.isnan(place[0])

    def change(self, values):
        self.values = self.values | values
        self.settings = build(type(self.settings), {**self.values, 'names': self.names})
        self.controller.check(self.settings)
        self.controller.configure(self.settings)

    def observe(self):
        """Let a policy observe: its chunk comes later, twice, or never."""
        rng = self.rng
        if rng.random() < 0.3:
            self.way = np.array([rng.uniform(-1, 1) for _ in range(3)])
            self.way *= rng.choice([0.0, 0.2, 0.8, 2.5])
        rows, dt = rng.choice([1, 8, 40, 40, 40]), rng.choice([0.0125, 0.0125, 0.05])
        chunk = self.make_chunk(rows, dt)
        if rng.random() < 0.15:
            chunk = self.spoil(chunk)
        if rng.random() < 0.1:
            return
        delay = rng.choice([0.0, 0.05, 0.1]) + 0.3 * rng.random() ** 3
        self.on_the_way.append((self.steady + delay, chunk))
        if rng.random() < 0.1:
            self.on_the_way.append((self.steady + delay + 0.05 * rng.random(), chunk))

    def make_chunk(self, rows, dt):
        """Return the fields of a chunk that was observed now, as a message says them."""
        rng = self.rng
        self.sequence += 1
        mode = rng.choice(self.modes)
        path = np.cumsum(np.tile(self.way * dt, (rows, 1)), axis=0)
        path += np.array([rng.gauss(0, 0.002) for _ in range(3)])
        if mode in (ControlMode.EE_POSITION, ControlMode.JOINT_POSITION):
            path += self.controller.motion[0] if self.known else HOME
        else:
            path = np.diff(path, axis=0, prepend=path[:1] * 0)
        if mode == ControlMode.EE_TWIST:
            path /= dt
        return {
            'actions': path,
            'dt': dt,
            'names': self.names,
            'control_mode': mode,
            'stamp': self.steady + self.offset,
            'sequence': self.sequence,
            'plan_stamp': self.steady + self.offset,
            'plan_valid_for': rng.choice([math.inf, math.inf, 0.3]),
        }

    def spoil(self, chunk):
        """Return the chunk of a hostile or broken policy."""
        rng = self.rng
        rows, stamp = chunk['actions'].copy(), chunk['stamp']
        spoilt = rows.copy()
        spoilt[rng.randrange(len(rows))] = rng.choice([math.nan, math.inf, 3e38, -1e3, 7.0])
        return chunk | rng.choice(
            [
                {'actions': spoilt},
                {'actions': rows * rng.choice([57.3, 1e3, 1e30, -20.0])},
                {'actions': rows + rng.choice([2 * math.pi, -0.3, 0.3, 100.0])},
                {'actions': np.tile(rows, (600, 1))},
                {'actions': rows[:0]},
                {'actions': np.tile(rows[:1], (512, 1))},
                {'names': ('x', 'y', 'gripper')},
                {'control_mode': rng.choice(list(ControlMode))},
                {'dt': rng.choice([0.0, -1.0, 1e-300, 1e-9, 6e-4, 50.0, 2e9, 1e300, math.nan])},
                {'stamp': stamp + rng.choice([-60.0, -0.4, 0.04, 0.2, 60.0, math.nan, math.inf])},
                {'sequence': rng.choice([0, 1, self.sequence - 1, 2**32 - 1])},
                {'plan_stamp': stamp + rng.choice([-10.0, 10.0, math.nan])},
            ]
        )

    def deliver(self, fields):
        now = self.now
        with np.errstate(over='ignore', invalid='ignore'):
            fields = fields | {'actions': fields['actions'].astype(np.float32)}
        try:
            chunk = ActionChunk(**fields)
        except InvalidRecordError:
            return
        stamps = (self.clock.read(chunk.stamp, now), self.clock.read(chunk.plan_stamp, now))
        self.controller.accept(replace(chunk, stamp=stamps[0], plan_stamp=stamps[1]), now)
