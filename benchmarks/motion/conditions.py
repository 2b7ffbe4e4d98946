# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which delays, accidents and ways of execution `efficient-vla bench motion` compares."""

from dataclasses import dataclass, replace

from benchmarks.job import Condition, Sizes
from benchmarks.motion.playback import Scenario

TROUBLE_DELAY = 0.2
BEST = 'offset_fade'
REAL_TIME = 'rtc'
TRAINED = 'rtc_trained'
"""Not among the seams: what training gave a head, recorded chunks cannot have."""
LATEST = 'latest_only'
SYNCHRONOUS = 'synchronous'
PATIENCE = 'controller.watchdog.chunk_timeout=1.5'
"""Synchronous execution drives the robot with observations that are a delay and a chunk old, and
LeRobot has no watchdog: everything that is compared gets this one."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A scenario with its name, and the seeds of its accidents."""

    name: str
    delay_ms: int
    scenarios: tuple[Scenario, ...]


def trials(delays_ms: tuple[int, ...], seeds: tuple[int, ...]) -> list[Trial]:
    """Return steady delays, chunks computed together or one by one, and accidents at 200 ms."""
    found = []
    for name, in_flight in (('overlapped', 64), ('one at a time', 1)):
        found += [
            Trial(name, delay, (Scenario(delay / 1e3, in_flight=in_flight),)) for delay in delays_ms
        ]
    accidents = {
        'jitter 100 ms': Scenario(TROUBLE_DELAY, jitter=0.1),
        'a fifth lost': Scenario(TROUBLE_DELAY, drop=0.2),
        'out of order': Scenario(TROUBLE_DELAY, jitter=0.25),
        'out of order, a fifth lost': Scenario(TROUBLE_DELAY, jitter=0.25, drop=0.2),
    }
    for name, accident in accidents.items():
        played = tuple(replace(accident, seed=seed) for seed in seeds)
        found.append(Trial(name, round(1e3 * TROUBLE_DELAY), played))
    return found


def executions(delays_ms: tuple[int, ...] = Sizes().episode_delays_ms) -> list[Condition]:
    """Return every way of execution at every delay of inference, without delay first."""
    ways = {
        BEST: (f'controller.blending.method={BEST}',),
        LATEST: (f'controller.blending.method={LATEST}',),
        SYNCHRONOUS: ('eval.execution=synchronous',),
        f'{BEST}, asked every 0.1 s': (
            f'controller.blending.method={BEST}',
            'eval.reasoner_period=0.1',
            'eval.in_flight=4',
        ),
        f'flow head, {BEST}': (f'controller.blending.method={BEST}', 'actor.head=flow'),
        'flow head, rtc': ('controller.blending.method=rtc', 'actor.head=flow'),
        'flow head, rtc_trained': ('controller.blending.method=rtc_trained', 'actor.head=flow'),
    }
    return [
        Condition(f'{name}, {delay} ms', (f'eval.delay={delay / 1e3}', *words), name)
        for name, words in ways.items()
        for delay in delays_ms
    ]
