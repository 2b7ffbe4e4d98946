# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes: exit codes, signals, and what they load."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Bool

from efficient_vla.bringup.supervisor import FINAL_CODES
from efficient_vla.nodes import __main__ as nodes
from efficient_vla.nodes.base.qos import image_qos, latched_qos
from efficient_vla.nodes.stages.stage import EXIT_HUNG

COMMAND = [sys.executable, '-m', 'efficient_vla.nodes']
TIMEOUT = 60


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def test_unknown_key_in_a_file_ends_with_its_name(ros_domain, tmp_path: Path):
    file = tmp_path / 'bad.yaml'
    file.write_text('/**:\n  monitor:\n    ros__parameters: {dimm: 0.5}\n')
    ended = run('monitor', '--ros-args', '--params-file', str(file))
    assert ended.returncode == 2
    assert "unknown parameter 'dimm'; did you mean dim?" in ended.stderr
    assert 'Traceback' not in ended.stderr


def test_missing_policy_ends_with_its_path(ros_domain):
    ended = run('perception', '--ros-args', '-p', 'policy:=/nowhere/policy')
    assert ended.returncode == 2
    assert '/nowhere/policy/policy.json is missing' in ended.stderr
    assert 'Traceback' not in ended.stderr


def test_controller_refuses_to_share_with_inference():
    ended = run('controller', 'reasoner')
    assert ended.returncode == 2
    assert 'cannot share a process' in ended.stderr


def test_controller_process_never_loads_torch():
    code = (
        'import sys; import efficient_vla.nodes.controller.node, efficient_vla.nodes.monitor.node; '
        'sys.exit(any(m.split(".")[0] in ("torch", "transformers") for m in sys.modules))'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('names', [('controller',), ('perception', 'reasoner', 'actor')])
def test_signal_ends_running_nodes_silently(ros_domain, policy, number, names):
    words = ['--ros-args', '--log-level', 'debug']
    if 'controller' not in names:
        words += ['-p', f'policy:={policy}']
    process = subprocess.Popen(
        [*COMMAND, *names, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until_it_runs(process.pid)
        process.send_signal(number)
        output, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode in (0, 130)
    assert 'Traceback' not in output


BREAKS = """
import sys
from efficient_vla.nodes import __main__ as nodes
from efficient_vla.nodes.controller.node import ControllerNode

stop = ControllerNode.stop

def braking(self):
    print('brakes', flush=True)
    stop(self)

def broken(self, message):
    raise RuntimeError('broken callback')

ControllerNode.stop, ControllerNode._success_received = braking, broken
sys.exit(nodes.main(['controller']))
"""


def test_error_of_a_callback_ends_the_process_once_the_robot_has_braked(graph):
    publisher = graph.peer.create_publisher(Bool, 'task_success', latched_qos())
    process = subprocess.Popen(
        [sys.executable, '-c', BREAKS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + TIMEOUT
        while process.poll() is None and time.monotonic() < end:
            # Whoever discovers the other late hears the next one.
            publisher.publish(Bool(data=True))
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
    finally:
        process.kill()
        output, errors = process.communicate()
    assert process.returncode == 1
    assert 'broken callback' in errors
    assert output.count('brakes') == 1


def wait_until_it_runs(pid: int) -> None:
    """Return as soon as the process has its own handler for SIGTERM."""
    while True:
        status = Path(f'/proc/{pid}/status').read_text()
        caught = next(line for line in status.splitlines() if line.startswith('SigCgt'))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        os.sched_yield()


def test_signals_that_follow_at_once_do_not_end_a_node_that_brakes(monkeypatch):
    ended = []
    now = [100.0]
    monkeypatch.setattr(os, '_exit', ended.append)
    monkeypatch.setattr(signal, 'signal', lambda *_: None)
    monkeypatch.setattr(nodes.time, 'monotonic', lambda: now[0])
    stop = nodes._Stop()
    stop.armed = True
    stop._handle(signal.SIGINT, None)
    now[0] += 0.02
    stop._handle(signal.SIGTERM, None)
    assert stop.requested
    assert ended == []
    now[0] += nodes.ENDING_S + 0.1
    stop._handle(signal.SIGINT, None)
    assert ended == [130], 'a node that hangs is ended'


HANGS = """
import sys, threading
from efficient_vla.nodes import __main__ as nodes
from efficient_vla.passthrough import PassthroughPerception

def hang(self, frame):
    threading.Event().wait()

PassthroughPerception.encode = hang
code = nodes.main(sys.argv[1:])
sys.stderr.flush()
nodes.os._exit(code)
"""


def test_pass_that_hangs_ends_its_process_with_a_code_of_its_own(graph, policy):
    images = graph.peer.create_publisher(Image, 'camera/image_raw', image_qos())
    words = ['perception', '--ros-args', '-p', f'policy:={policy}', '-p', 'pass_timeout:=0.3']
    process = subprocess.Popen(
        [sys.executable, '-c', HANGS, *words], stderr=subprocess.PIPE, text=True
    )
    try:
        graph.until(images.get_subscription_count)
        message = graph.image()
        message.header.stamp = graph.peer.get_clock().now().to_msg()
        graph.until(lambda: images.publish(message) or process.poll() is not None)
        _, errors = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode == EXIT_HUNG
    assert 'hang: a pass has not ended after pass_timeout 0.3 s' in errors
    assert EXIT_HUNG not in FINAL_CODES, 'the supervisor starts it again'


STUCK = """
import ctypes
from efficient_vla.nodes import __main__ as nodes

nodes.insist(0.2)
nodes._Stop().armed = True
lock, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
libc.pthread_mutex_lock(lock)
print('stuck', flush=True)
libc.pthread_mutex_lock(lock)
"""


def test_a_process_whose_main_thread_is_stuck_ends_when_it_is_asked_to():
    process = subprocess.Popen([sys.executable, '-c', STUCK], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == 'stuck\n'
        process.terminate()
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
