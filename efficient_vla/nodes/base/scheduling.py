# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Priority and cores of threads, and the garbage collector."""

import gc
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from efficient_vla.nodes.base.health import Health
from efficient_vla.settings import InvalidSettingError

SWITCH_S = 2e-4
"""A thread of Python that computes gives way to the loop after so long."""
UNDISTURBED_S = 1e-3
"""The loop, amid a tick, gives way to another thread after so long: once the tick is over."""


def apply_niceness(nice: int, health: Health) -> None:
    """Set the niceness of this thread, and so of all threads that it makes later; 0: leave it."""
    if not nice or nice == os.getpriority(os.PRIO_PROCESS, 0):
        return
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:
        health.warn(
            'nice', f'the system does not allow a niceness of {nice}. Run it with CAP_SYS_NICE.'
        )


def spread_niceness() -> None:
    """Give all threads of this process the niceness of this one.

    Those of the middleware are older than the settings, and a stop request waits for them.
    """
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    for name in os.listdir('/proc/self/task'):
        # A thread may end meanwhile.
        with suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, int(name), nice)


def use_real_time(priority: int, logger: Any) -> None:
    """Run this thread under SCHED_FIFO where the system allows it; 0: leave it.

    The other threads of Python run a little less urgently: this one waits for whoever has the lock
    of Python, and no other process may keep that one from giving it back.
    """
    if not priority:
        return
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        behind = os.sched_param(max(priority - 1, 1))
        for thread in threading.enumerate():
            if thread.native_id and thread is not threading.current_thread():
                os.sched_setscheduler(thread.native_id, os.SCHED_FIFO, behind)
    except OSError as error:
        logger.info(
            f'no real-time priority ({error.strerror}); the loop runs with the normal one. '
            'Grant CAP_SYS_NICE or an rtprio limit for a steadier period.'
        )


def refuse_cores(cores: Sequence[int]) -> None:
    """Raise ``InvalidSettingError`` where this process may not run on one of ``cores``."""
    there = os.sched_getaffinity(0)
    missing = sorted(set(cores) - there)
    if missing:
        raise InvalidSettingError(
            f'cpu_affinity names core {", ".join(map(str, missing))}; expected cores that this '
            f'process may use: {", ".join(map(str, sorted(there)))}.'
        )


def use_cores(cores: Sequence[int]) -> None:
    """Keep this thread on ``cores``; empty: leave it."""
    if cores:
        os.sched_setaffinity(0, cores)


def tune_loop(cores: Sequence[int], priority: int, logger: Any) -> None:
    """Keep the collector and other processes away from the loop that runs on this thread."""
    # Whoever calls this collects at a time of its own choice.
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    spread_niceness()
    use_cores(cores)
    use_real_time(priority, logger)
