# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a driver may do while the arm moves, and whether the arm rests or goes on as it should."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic

import numpy as np
from std_srvs.srv import SetBool, Trigger

from benchmarks.drivers.faulty import BLOCKED, CLOCK, DEAF, LOST, REJECTS
from benchmarks.drivers.rig import STILL_S, WINDOW_S, FaultRig, Status

SLOW = 0.3
LOSS = 0.2
SET_S, DEAF_S = 2.0, 1.5
SPAN_S = 2.0
"""How long motion is looked at."""
LEAP = 0.05
"""Between two states that are heard, a joint goes no further than this beyond its way [rad]."""
SLIDER, PROGRAM = 'speed slider at 30 %', 'protective stop'
RESET = 'after `reset_stop`'


@dataclass(frozen=True, slots=True)
class FaultOutcome:
    """What came of a fault, measured."""

    fault: str
    result: str
    """What the arm did, in words."""
    seconds: float
    """Until the arm stood, or was back at its speed [s]."""
    way: float
    """How far it went until then [rad]."""
    goes_on: str
    """What it took to move again, '' where it never stopped."""
    said: str
    """Sentence in /diagnostics, '' for none."""


def told(rig: FaultRig, words: str) -> str:
    """Wait for what /diagnostics says with ``words`` in it; return that sentence."""
    rig.wait(lambda: words in rig.diagnosed, f'{words!r} in /diagnostics')
    return next(part for part in rig.diagnosed.split('; ') if words in part)


def refuse_leap(rig: FaultRig, since: float) -> None:
    """Raise ``AssertionError`` where a joint leapt since that time [s]."""
    samples = [sample for sample in rig.track if sample[0] >= since]
    for (begin, first), (end, last) in pairwise(samples):
        step = float(np.abs(last - first).max())
        most = LEAP + 2 * rig.speed * (end - begin)
        assert step <= most, f'{rig.robot}: leapt by {step:.3f} rad; expected at most {most:.3f}'


def stopped(rig: FaultRig, state: int, words: str) -> tuple[float, float, str]:
    """Wait until the arm stands; return after how long [s], how far it went [rad], what is said."""
    begin, place = monotonic(), rig.place
    rig.wait(lambda: rig.state == state, f'state {state}')
    rig.wait(rig.still, 'the arm stands')
    seconds = monotonic() - begin - STILL_S
    way = float(np.abs(rig.place - place).max())
    said = told(rig, words)
    rig.live_for(WINDOW_S)
    assert rig.still(), f'{rig.robot}: it does not stay where it is'
    return seconds, way, said


def travelled(rig: FaultRig) -> float:
    """Return how far the arm goes on in about ``SPAN_S``, longer than any chunk lasts [rad].

    Raises ``AssertionError`` where it goes less than it should.
    """
    due = monotonic()
    rig.live_for(SPAN_S)
    samples: list[tuple[float, np.ndarray]] = []
    for at, place in rig.track:
        if at >= due:
            # What it trembles is no way.
            samples, due = [*samples, (at, place)], at + WINDOW_S / 2
    seconds = samples[-1][0] - samples[0][0] if samples else 0.0
    assert seconds > SPAN_S - 2 * WINDOW_S, f'{rig.robot}: states of {seconds:.1f} s were heard'
    places = [place for _, place in samples]
    way = float(np.abs(np.diff(places, axis=0)).max(axis=1).sum())
    assert way > 0.9 * rig.speed * seconds, f'{rig.robot}: went {way:.3f} rad in {seconds:.1f} s'
    return way


def slide(rig: FaultRig) -> FaultOutcome:
    """Put the speed slider to 30 % and back."""
    begin, place = monotonic(), rig.place
    rig.set_slider(SLOW)
    wanted = SLOW * rig.speed
    rig.wait(lambda: abs(rig.pace() - wanted) < 0.3 * wanted, 'the arm goes as much slower')
    seconds, way = monotonic() - begin, float(np.abs(rig.place - place).max())
    rig.wait(lambda: abs(rig.status.time_scale - SLOW) < 0.05, 'the clock of motion as well')
    assert rig.state == Status.STATE_TRACKING
    rig.set_slider(1.0)
    rig.go()
    refuse_leap(rig, begin)
    return FaultOutcome(SLIDER, 'as much slower', seconds, way, 'by itself', '')


def protect(rig: FaultRig) -> FaultOutcome:
    """Let the robot make a protective stop, release it, and go on."""
    assert rig.call(Trigger, f'{rig.robot}/protective_stop').success
    seconds, way, said = stopped(rig, Status.STATE_STOPPED, 'program on the robot does not run')
    assert rig.call(Trigger, 'controller/reset_stop').success
    assert not rig.call(SetBool, 'controller/set_enabled', data=True).success
    for name in (
        'dashboard_client/unlock_protective_stop',
        'io_and_status_controller/resend_robot_program',
    ):
        assert rig.call(Trigger, name).success
    begin = monotonic()
    rig.enable()
    rig.go()
    refuse_leap(rig, begin)
    return FaultOutcome(PROGRAM, 'stops', seconds, way, f'once released, {RESET}', said)


def reject(rig: FaultRig) -> FaultOutcome:
    """Let the driver reject trajectories, and take them again."""
    rig.faults[REJECTS] = 1
    seconds, way, said = stopped(rig, Status.STATE_STOPPED, 'It rejected or gave up the trajectory')
    rig.faults[REJECTS] = 0
    begin = monotonic()
    rig.reset_stop()
    rig.go()
    refuse_leap(rig, begin)
    return FaultOutcome('trajectories rejected', 'stops', seconds, way, RESET, said)


def kill(rig: FaultRig) -> FaultOutcome:
    """Kill the driver's process; started again, the arm elsewhere, it hears of nothing at first."""
    begin = monotonic()
    rig.faults[DEAF] = DEAF_S
    rig.kill_driver()
    rig.wait(lambda: rig.state != Status.STATE_TRACKING, 'the controller brakes')
    seconds = monotonic() - begin
    said = told(rig, 'silent')
    killed = monotonic()
    rig.track.clear()
    rig.wait(lambda: len(rig.track), 'the driver is back')
    rig.go()
    rig.faults[DEAF] = 0
    assert rig.state == Status.STATE_TRACKING
    refuse_leap(rig, killed)
    return FaultOutcome('driver killed', 'holds', seconds, 0.0, 'by itself, started again', said)


def block(rig: FaultRig) -> FaultOutcome:
    """Block the first joint, and free it."""
    rig.wait(rig.returning, 'the first joint has way before it')
    rig.faults[BLOCKED] = 1
    others = rig.place.copy()
    seconds, way, said = stopped(rig, Status.STATE_STOPPED, 'from its set-point')
    way = float(np.abs(rig.place - others).max())
    # The others sag.
    rig.wait(
        lambda: abs(rig.reference[0] - rig.place[0]) < LEAP,
        'the set-point goes back to where the arm is',
        10.0,
    )
    rig.faults[BLOCKED] = 0
    begin, place = monotonic(), rig.place
    rig.live_for(2 * WINDOW_S)
    sprung = float(np.abs(rig.place - place).max())
    assert sprung < LEAP, f'{rig.robot}: freed, it sprang by {sprung:.3f} rad'
    rig.reset_stop()
    rig.go()
    refuse_leap(rig, begin)
    return FaultOutcome('joint blocked', 'stops', seconds, way, RESET, said)


def lose(rig: FaultRig) -> FaultOutcome:
    """Lose every fifth trajectory and state."""
    rig.faults[LOST] = LOSS
    begin = monotonic()
    way = travelled(rig)
    rig.faults[LOST] = 0
    refuse_leap(rig, begin)
    return FaultOutcome('20 % of messages lost', 'goes on', 0.0, way, '', '')


def set_clock(rig: FaultRig, by: float) -> FaultOutcome:
    """Set the clock of all processes."""
    begin = monotonic()
    rig.faults[CLOCK] += by
    way = travelled(rig)
    assert rig.state == Status.STATE_TRACKING
    refuse_leap(rig, begin)
    return FaultOutcome(f'clock set by {by:+.0f} s', 'goes on', 0.0, way, '', '')


FAULTS: dict[str, Callable[[FaultRig], FaultOutcome]] = {
    'slider': slide,
    'protective_stop': protect,
    'rejected': reject,
    'blocked': block,
    'lost': lose,
    'clock_ahead': lambda rig: set_clock(rig, SET_S),
    'clock_back': lambda rig: set_clock(rig, -SET_S),
    'killed': kill,
}
"""Name -> what is done to an arm that moves."""
OF_PROGRAM = ('slider', 'protective_stop')
"""Only drivers with a program have these."""


def faults_of(rig: FaultRig) -> tuple[str, ...]:
    """Return the faults that the driver of an arm may have."""
    return tuple(name for name in FAULTS if rig.driver.program or name not in OF_PROGRAM)
