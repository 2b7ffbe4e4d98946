# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What may happen to the slow side, and what the fast one did meanwhile and afterwards."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.slow_node.rig import SlowNodeRig

BEFORE_S = 4.0
Act = Callable[[SlowNodeRig], object]


@dataclass(frozen=True, slots=True)
class SlowFault:
    """One of them: how it begins and ends, and how long it lasts."""

    begin: Act
    end: Act
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class SlowOutcome:
    """What came of a fault."""

    slow: str
    fault: str
    plan_validity: float
    """[s]"""
    lasted: float
    """[s]"""
    chunks_before: float
    """A second."""
    chunks_during: float
    oldest_plan: float
    """Behind a chunk, when it came [s]."""
    held: float
    """Share of the time in which the controller did not follow chunks."""
    longest: float
    """In one piece [s]."""
    named: float
    """Share of the plans that were made of the subtask that the server names."""
    back_after: float
    """From the end of the fault, or from when the process works again, until the arm follows a
    chunk of a plan about a frame since then [s]."""


def _return(rig: SlowNodeRig) -> None:
    """Start the server again; the supervisor starts a reasoner."""
    if rig.slow == 'server':
        rig.start_server()


def _kill(rig: SlowNodeRig) -> None:
    if rig.slow == 'server':
        rig.kill_server()
    else:
        rig.kill_reasoner()


def _network(loss: float = 0.0, delay: float = 0.0) -> Act:
    def impair(rig: SlowNodeRig) -> None:
        assert rig.network is not None, 'both sides are on one host; expected two, by a network'
        rig.network.impair(loss, delay)

    return impair


FAULTS = {
    'killed': SlowFault(_kill, _return),
    'hung 10 s': SlowFault(
        lambda rig: rig.send(signal.SIGSTOP), lambda rig: rig.send(signal.SIGCONT)
    ),
    'loss 20 %': SlowFault(_network(loss=0.2), _network()),
    'delay 200 ms': SlowFault(_network(delay=0.2), _network()),
    'cable out': SlowFault(_network(loss=1.0), _network()),
}


def suffer(
    rig: SlowNodeRig, name: str, plan_validity: float, seconds: float | None = None
) -> SlowOutcome:
    """Let the slow side of a healthy rig have a fault and lose it; return what came of it.

    The fault lasts ``seconds``, by default as long as it says.
    """
    fault = FAULTS[name]
    rig.wait(rig.healthy, 'the arm follows plans')
    before = time.time()
    rig.live_for(BEFORE_S)
    begin = time.time()
    fault.begin(rig)
    if name == 'killed' and rig.slow == 'reasoner':
        # It is started again at once; until then it loads.
        rig.wait(lambda: rig.returned, 'the reasoner works again')
        end = rig.returned
    else:
        rig.live_for(fault.seconds if seconds is None else seconds)
        end = time.time()
        fault.end(rig)
    rig.wait(lambda: rig.followed(end), 'the arm follows plans again')
    back = time.time()
    chunks = [chunk for chunk in rig.chunks if begin <= chunk[0] < end]
    subtasks = [subtask for came, _, subtask in rig.plans if begin <= came < end]
    pauses = held(rig.states, begin, end)
    return SlowOutcome(
        rig.slow,
        name,
        plan_validity,
        round(end - begin, 2),
        rate([came for came, _ in rig.chunks], before, begin),
        rate([came for came, _ in chunks], begin, end),
        round(max((came - plan for came, plan in chunks), default=0.0), 2),
        round(sum(pauses) / (end - begin), 3),
        round(max(pauses, default=0.0), 2),
        round(sum(map(bool, subtasks)) / max(len(subtasks), 1), 2),
        round(back - end, 2),
    )


def rate(times: list[float], begin: float, end: float) -> float:
    """Return how many of ``times`` lie in a span, a second."""
    return round(sum(begin <= each < end for each in times) / (end - begin), 2)


def held(states: list[tuple[float, str]], begin: float, end: float) -> list[float]:
    """Return how long each pause in ``states`` lasted between two times [s]."""
    since, pauses = None, []
    for when, state in [*states, (end, 'tracking')]:
        at = min(max(when, begin), end)
        if state != 'tracking':
            since = at if since is None else since
        elif since is not None:
            pauses.append(at - since)
            since = None
    return [pause for pause in pauses if pause > 0]
