# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The control loop gets its cores and its priority; the threads of the middleware keep theirs."""

import gc
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from nodes.arm import Arm, Status

from efficient_vla.nodes.base.scheduling import SWITCH_S, UNDISTURBED_S, refuse_cores, use_cores
from efficient_vla.nodes.controller.messages import received
from efficient_vla.nodes.controller.telling import LONGEST_UNTOLD_S
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


def test_threads_that_share_the_lock_of_python_run_a_little_less_urgently():
    code = """
import os, threading, types
from efficient_vla.nodes.base.scheduling import use_real_time
gate = threading.Event()
other = threading.Thread(target=gate.wait)
other.start()
use_real_time(20, types.SimpleNamespace(info=print))
print(*(os.sched_getparam(number).sched_priority for number in (0, other.native_id)))
gate.set()
"""
    said = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    ).stdout.strip()
    if said.startswith('no real-time priority'):
        pytest.skip(said.splitlines()[0])
    assert said == '20 19'


def test_a_tick_without_time_leaves_what_it_has_to_tell_to_one_of_the_next(graph, monkeypatch):
    arm = Arm(graph)
    arm.moving()
    told = []
    telling = arm.node._telling
    real = SimpleNamespace(ros_time_is_active=False)
    monkeypatch.setattr(arm.node, 'get_clock', lambda: real)
    monkeypatch.setattr(telling, 'publish', told.append)
    monkeypatch.setattr(telling, '_publish_pass', lambda: told.append('pass'))
    telling._status_due, telling._fresh = 0.0, object()
    late = 0.6 / arm.node.settings.rate
    begin = time.monotonic() - late
    telling.tell(begin, 1.0)
    assert told == []
    telling.tell(begin + LONGEST_UNTOLD_S, 2.0)
    assert told == [2.0]
    telling._status_due, telling._untold = math.inf, -math.inf
    telling._reported = telling._notable()
    telling.tell(time.monotonic(), 3.0)
    assert told == [2.0, 'pass']


def test_no_thread_of_the_process_interrupts_a_tick(graph, monkeypatch):
    arm = Arm(graph)
    intervals = []
    monkeypatch.setattr(arm.node, '_pass', lambda: intervals.append(sys.getswitchinterval()))
    before = sys.getswitchinterval()
    arm.node._tick()
    arm.node._collects = True
    try:
        arm.node._tick()
        intervals.append(sys.getswitchinterval())
    finally:
        sys.setswitchinterval(before)
    assert intervals == pytest.approx([before, UNDISTURBED_S, SWITCH_S])


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
                arm.node._chunk_received(received(arm.make_chunk()))
            arm.node._tick()
        assert arm.state == Status.STATE_TRACKING
        assert gc.collect() < 200
    finally:
        gc.enable()
