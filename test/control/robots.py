# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Robots that follow slowly, late, not at all, sag or lie, in front of a controller and its watch.

Time is that of a steady clock; ``set_clock`` sets the one that stamps.
"""

from collections import deque

import numpy as np

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.control.controller import Controller
from efficient_vla.control.motion_clock import MotionClock
from efficient_vla.control.whereabouts import Whereabouts
from efficient_vla.nodes.controller.robot_state import (
    judge,
    keeps_setpoint,
    moved_by_others,
    observe,
)
from efficient_vla.settings import build
from efficient_vla.types import ActionChunk, ControlMode, InvalidRecordError

AXES = ('x', 'y', 'z')
HOME = (0.0, 0.6, 0.2)
PERIOD = 0.01


class World:
    """One controller, its robot, and the two clocks; what node.py does without its messages.

    ``lag`` [s] of first order, ``delay`` [s], ``sag`` [m] along z, ``blocked``; ``lie`` turns the
    true position into the reported one.
    """

    def __init__(self, lag=0.0, delay=0.0, sag=0.0, home=HOME, names=AXES, mode=None, **values):
        values = {'ramp_time': 0.0, **values}
        values = {key.replace('__', '.'): value for key, value in values.items()}
        self.settings = build(ControllerNodeSettings, {**values, 'names': names})
        self.steady, self.offset = 50.0, 1.7e9
        self.clock = MotionClock(lambda: self.steady + self.offset, steady=lambda: self.steady)
        self.controller = Controller(self.settings, tuple(names))
        self.watch = Whereabouts(tuple(names), self.controller.continuous)
        self.mode = mode or ControlMode.EE_DELTA
        self.names = tuple(names)
        self.lag, self.sag, self.blocked = lag, sag, False
        self.lie = lambda position: position
        self.position = np.array(home, float)
        self.own = None  # the robot's own set-point, where it reports one
        self.velocity = np.zeros(len(names))
        self.wire = deque([np.array(home, float)] * (1 + round(delay / PERIOD)))
        self.sequence = 0
        self.held = self.known = self.moves = False
        self.sent = []
        self.refused = None

    @property
    def now(self):
        return self.clock.now()

    def report(self, stamp=None):
        """Take the robot's state, as the node does; ``stamp`` is what its driver says."""
        now = self.now
        stamp = self.clock.read(stamp or self.steady + self.offset, now)
        try:
            self.watch.read(
                np.array(self.lie(self.position), float),
                self.own,
                stamp,
                now,
                self.controller.limits,
                self.settings.watchdog.max_future,
            )
        except InvalidRecordError as error:
            self.refused = str(error)
            return
        if not self.known:
            self.anchor()
            return
        observe(self.controller, self.watch, self.settings, now)
        if moved_by_others(self.controller, self.watch, self.settings, now):
            self.anchor()
            self.watch.forget_notice()
            return
        blocked, _ = judge(self.controller, self.watch, self.settings, now)
        if blocked:
            self.controller.stop(now, blocked)

    def anchor(self):
        now = self.now
        doubt = self.watch.doubted(now)
        if doubt is None:
            near = self.controller.motion[0] if self.known else None
            place = self.watch.place(near)
            self.watch.anchored(now)
            self.controller.observe(None)
            self.controller.reset(place, now)
            self.known, self.held = True, False
        return doubt

    def enable(self):
        if self.controller.state.name == 'DISABLED' and self.controller.at_rest:
            kept = self.held and keeps_setpoint(self.controller, self.watch, self.settings)
            doubt = None if kept else self.anchor()
            if doubt:
                return doubt
        return self.controller.enable(self.now)

    def disable(self):
        self.controller.disable(self.now)

    def stop(self):
        self.controller.stop(self.now)

    def chunk(self, velocity, age=0.0, rows=40, dt=0.0125):
        """Send a chunk of one velocity, observed ``age`` [s] ago."""
        self.sequence += 1
        actions = np.tile(np.array(velocity, np.float32) * dt, (rows, 1))
        stamp = self.steady + self.offset - age
        now = self.now
        chunk = ActionChunk(
            actions, dt, self.names, self.mode, self.clock.read(stamp, now), self.sequence
        )
        return self.controller.accept(chunk, now)

    def tick(self, elapsed=PERIOD):
        """Let ``elapsed`` [s] pass, tick, move the robot and report."""
        self.steady += elapsed
        now = self.now
        if self.known:
            controller = self.controller
            halted = not controller.enabled and controller.at_rest and not self.moves
            command = controller.tick(now)
            if halted:
                self.wire.append(self.wire[-1])
            else:
                self.wire.append(command.position)
                self.moves = bool(command.velocity.any())
                self.held = True
            self.sent.append(self.wire[-1])
        self.move(elapsed)
        self.report()

    def move(self, elapsed):
        target = (self.wire.popleft() if len(self.wire) > 1 else self.wire[0]).copy()
        if self.own is not None:
            self.own = target.copy()
        target[-1] -= self.sag if self.sent else 0.0
        share = 1 - np.exp(-elapsed / self.lag) if self.lag else 1.0
        before = self.position
        if not self.blocked:
            self.position = before + share * (target - before)
        self.velocity = (self.position - before) / elapsed

    def run(self, seconds, each=None):
        for _ in range(round(seconds / PERIOD)):
            if each is not None:
                each()
            self.tick()

    def ready(self):
        """Report until the robot is believed, and enable."""
        self.run(0.3)
        assert self.enable() is None
        return self

    def push(self, step, ticks):
        """Let a hand move the robot by ``step`` [M] a tick; it follows no set-point any more."""
        self.move = lambda elapsed: None
        for _ in range(ticks):
            self.position = self.position + step
            self.tick()

    def drive(self, velocity, seconds):
        """Follow chunks for so long."""
        for _ in range(round(seconds / 0.1)):
            self.refused = self.chunk(velocity)
            self.run(0.1)
