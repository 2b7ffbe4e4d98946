# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The control loop gets its cores and its priority; the threads of the middleware keep theirs."""

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from nodes.arm import Arm, Status

from efficient_vla.nodes.base.scheduling import refuse_cores, use_cores
from efficient_vla.settings import InvalidSettingError

CORE = min(os.sched_getaffinity(0))
START_TIMEOUT_S = 60.0


def in_a_thread(function):
    """Run ``function`` on a thread of its own and return its result."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_cores_are_those_of_the_calling_thread_alone():
    before = os.sched_getaffinity(0)

    def pin():
        use_cores((CORE,))
        return os.sched_getaffinity(0)

    assert in_a_thread(pin) == {CORE}
    assert os.sched_getaffinity(0) == before


def test_no_cores_named_leaves_all():
    def leave():
        use_cores(())
        return os.sched_getaffinity(0)

    assert in_a_thread(leave) == os.sched_getaffinity(0)


def test_core_that_is_not_there_is_refused_with_those_that_are():
    refuse_cores((CORE,))
    with pytest.raises(InvalidSettingError, match=f'core 4000; expected .*{CORE}'):
        refuse_cores((CORE, 4000))


def test_core_that_the_thread_may_not_use_is_refused():
    def refused():
        use_cores((CORE,))
        try:
            refuse_cores((CORE + 1,))
        except InvalidSettingError as error:
            return str(error)
        return ''

    assert f'names core {CORE + 1}' in in_a_thread(refused)


def test_controller_process_takes_its_cores_and_its_niceness(ros_domain):
    words = ['-p', f'cpu_affinity:=[{CORE}]', '-p', 'priority:=0', '-p', 'nice:=3']
    process = subprocess.Popen(
        [sys.executable, '-m', 'efficient_vla.nodes', 'controller', '--ros-args', *words],
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + START_TIMEOUT_S
        while os.sched_getaffinity(process.pid) != {CORE}:
            assert process.poll() is None
            assert time.monotonic() < end, 'the loop never moved to its core'
            os.sched_yield()
        names = {
            int(p.name): (p / 'comm').read_text()
            for p in Path(f'/proc/{process.pid}/task').iterdir()
        }
        # The executor starts its own threads at the spin; they wake the loop and share its cores.
        middleware = [thread for thread, name in names.items() if name.startswith('dds.')]
        assert len(middleware) > 3
        for thread in middleware:
            assert os.sched_getaffinity(thread) == os.sched_getaffinity(0)
        assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in names} == {3}
    finally:
        process.terminate()
        process.wait()


def test_control_loop_makes_no_garbage_that_only_the_collector_frees(graph):
    """It is off while the robot moves, so that such garbage would pile up."""
    arm = Arm(graph, state_timeout=0.0)
    arm.moving()
    gc.collect()
    gc.disable()
    try:
        for number in range(2000):
            graph.set_time(graph.now + 0.01)
            if number % 10 == 0:
                arm.node._chunk_received(arm.make_chunk())
            arm.node._tick()
        assert arm.state == Status.STATE_TRACKING
        assert gc.collect() < 200
    finally:
        gc.enable()
