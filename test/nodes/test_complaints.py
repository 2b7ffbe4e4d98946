# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What users of such policies complain about, each as a fault that is made here on purpose.

What is tested further elsewhere: seams and delays in test/control, outputs in test_outputs.py,
bad chunks in test_controller_node.py, clocks of the single nodes in their own files.
"""

import functools
import math
import os
import subprocess
import sys
import threading
from array import array
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from fixtures.policies import write_policy
from nodes.arm import HOME, SPEED, Arm, Status
from nodes.test_perception_node import Setup as Perception
from nodes.test_reasoner_node import tokens as visual_tokens
from nodes.test_task_server import Operator
from nodes.test_whole_graph import IMAGE_PERIOD_S, STEP_S, Whole
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool

from efficient_vla import msg
from efficient_vla.action import ExecuteTask
from efficient_vla.nodes.base.conversions import stamp_to_seconds
from efficient_vla.nodes.base.qos import image_qos, latched_qos, newest_qos, report_qos
from efficient_vla.nodes.client.loop_probe import LIMITS, violations
from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.nodes.monitor.node import MonitorNode
from efficient_vla.nodes.stages.actor import PLAN_GRACE_S, ActorNode
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.settings import flatten, specs
from efficient_vla.types import ControlMode

Result = ExecuteTask.Result
PERIOD_S = 0.01
DT = 0.0125
DELAY_S = 0.2
OK, WARN, ERROR = b'\x00', b'\x01', b'\x02'


def broken_limits(arm):
    """Return how many commands break a limit of the controller."""
    limits = {name: np.array(getattr(arm.node.settings.limits, name)) for name in LIMITS}
    return violations(*motion(arm.commands), limits, 1 / arm.node.settings.rate)


def motion(commands):
    """Return stamps [N], positions and velocities [N, 3]."""
    stamps = np.array([stamp_to_seconds(c.header.stamp) for c in commands])
    positions = np.array([c.position[:3] for c in commands])
    return stamps, positions, np.array([c.velocity[:3] for c in commands])


def positions_along_y(stamp, x):
    """Return rows of absolute positions that move along y with time, and stand at ``x``."""
    times = stamp + DT * np.arange(1, 41)
    rows = np.tile(np.array([x, HOME[1], HOME[2], -1.0]), (40, 1))
    rows[:, 1] += 0.1 * np.sin(times - 100.0)
    return rows.astype(np.float32)


def test_seam_jumps(graph):
    """Chunks that disagree by 4 cm and come 0.2 s late join inside all limits."""
    arm = Arm(graph)
    arm.locate()
    assert arm.enable().success
    arm.run(DELAY_S + PERIOD_S)
    before = []
    for number in range(15):
        stamp = graph.now - DELAY_S
        rows = positions_along_y(stamp, 0.02 * (-1) ** number)
        row = round(DELAY_S / DT)
        if before:
            seam = np.abs(rows[row, :3] - before[-1][row + 8, :3]).max()
            assert seam / PERIOD_S > 3, 'as it comes, a seam is a step of several m/s'
        before.append(rows)
        arm.send_chunk(
            arm.make_chunk(actions=rows, control_mode=ControlMode.EE_POSITION, stamp=stamp)
        )
        arm.run(0.1)
        assert arm.state == Status.STATE_TRACKING
    assert len(arm.commands) >= 150
    assert broken_limits(arm) == 0
    assert arm.position[0] == pytest.approx(0.02, abs=0.01), 'the newest chunk is followed'


def test_warm_up_counted_as_delay(graph):
    """A first inference ten times as long as the next skips no row, nor is it a delay."""
    arm = Arm(graph)
    arm.locate()
    assert arm.enable().success
    arm.run(0.4)
    rows = np.zeros((40, 4), np.float32)
    rows[:20, 1] = SPEED * DT
    rows[20:, 0] = SPEED * DT
    arm.send_chunk(arm.make_chunk(actions=rows, stamp=graph.now - 0.4))
    assert math.isnan(arm.status[-1].delay_steps)
    arm.run(0.08)
    assert arm.position[1] > HOME[1] + 0.003, 'the first row is executed first'
    assert arm.position[0] == pytest.approx(HOME[0], abs=1e-9)
    arm.send_chunk(arm.make_chunk(stamp=graph.now - 0.04))
    assert arm.status[-1].delay_steps == pytest.approx(0.04 / DT, abs=1)


def test_stop_and_go(graph):
    """While inference takes less than half of a chunk, the robot neither waits nor repeats."""
    arm = Arm(graph)
    arm.locate()
    assert arm.enable().success
    for _ in range(12):
        observed = graph.now
        arm.run(DELAY_S)
        arm.send_chunk(arm.make_chunk(stamp=observed))
    assert arm.status[-1].underruns == 0
    _, positions, velocities = motion(arm.commands)
    # From the time at which it has caught up with the first chunk.
    steady = slice(round(3 * DELAY_S / PERIOD_S), None)
    assert velocities[steady, 1].min() > 0.9 * SPEED
    assert np.diff(positions[steady, 1]).min() > 0.9 * SPEED * PERIOD_S


def newest_stamp(node):
    """Return the capture time of the newest image that came [s]."""
    return max(node._cameras._newest.values(), default=0.0)


def test_stale_frames(graph, monkeypatch):
    """Images come at 30 Hz and a pass takes ten of them: it always begins with the newest one."""
    setup = Perception(graph)
    node, period = setup.node, 1 / 30
    gate, started, ages = threading.Semaphore(0), threading.Semaphore(0), []
    encode = node.stage.encode

    def slow(frame):
        ages.append(graph.now - frame.stamp)
        started.release()
        assert gate.acquire(timeout=20.0)
        return encode(frame)

    monkeypatch.setattr(node.stage, 'encode', slow)
    for number in range(40):
        graph.set_time(graph.now + period)
        stamp = graph.now
        setup.images.publish(graph.image(value=number * 5))
        graph.until(lambda s=stamp: newest_stamp(node) >= s - 1e-6)
        if number % 10 == 0:
            if number:
                gate.release()
            graph.until(lambda: started.acquire(blocking=False))
    assert len(ages) == 4
    assert max(ages) < period + 0.001
    # Also the pass on the image that waits; one that hung would outlive the test.
    gate.release(2)


def test_camera_that_stops(graph):
    """The robot stands still in less than the chunk timeout and its braking time."""
    whole = Whole(graph)
    whole.start()
    whole.run(0.5)
    last = whole.due - IMAGE_PERIOD_S
    whole.due = math.inf
    while not whole.arm.node.at_rest:
        whole.run(STEP_S)
    limit = whole.arm.node.settings.watchdog.chunk_timeout + 0.1
    assert graph.now - last <= limit + STEP_S
    assert whole.arm.state == Status.STATE_HOLDING


@pytest.mark.parametrize(('skew', 'taken'), [(0.125, True), (0.1251, False)])
def test_camera_skew(graph, tmp_path, skew, taken):
    """Two cameras make one frame exactly up to the tolerance."""
    folder = write_policy(tmp_path, cameras=('left', 'right'))
    node = graph.add(PerceptionNode, policy=str(folder), camera_skew=0.125)
    tokens = graph.hear(msg.VisualTokens, 'visual_tokens', newest_qos())
    left = graph.publisher(Image, 'left/image_raw', image_qos())
    right = graph.publisher(Image, 'right/image_raw', image_qos())
    graph.until(node._tokens.get_subscription_count)
    right.publish(graph.image(stamp=100.0 - skew))
    graph.until(lambda: 'right' in node._cameras._newest)
    left.publish(graph.image(stamp=100.0))
    graph.until(lambda: tokens or node.health.message('image'))
    assert bool(tokens) == taken
    assert ('differ by' in node.health.message('image')) != taken


@pytest.mark.parametrize('poison', ['nan', 'inf', 'wide'])
def test_poisoned_chunks(graph, poison):
    """A bad chunk never reaches the command, and the status says why it was refused."""
    arm = Arm(graph)
    arm.moving()
    count = arm.status[-1].chunk_sequence
    bad = arm.make_chunk()
    if poison == 'wide':
        bad.names = [*bad.names, 'elbow']
    else:
        bad.actions = array('f', [math.nan if poison == 'nan' else math.inf] * 160)
    arm.send_chunk(bad)
    arm.run(0.1)
    status = arm.status[-1]
    assert status.state == Status.STATE_TRACKING, 'the good chunk before goes on'
    assert status.chunk_sequence == count
    assert status.rejected_chunks == 1
    words = '160 values for 40 rows of 5' if poison == 'wide' else 'not finite'
    assert words in status.reason
    assert all(np.isfinite(c.position).all() for c in arm.commands)
    assert broken_limits(arm) == 0
    arm.send_chunk()
    assert not arm.status[-1].reason


def test_clock_jumps_back(graph):
    """A simulation that starts anew brakes the robot, times nothing out, and goes on."""
    whole = Whole(graph)
    whole.start()
    whole.run(0.5)
    assert whole.arm.state == Status.STATE_TRACKING
    graph.set_time(50.0)
    whole.due = graph.now
    seen = len(whole.arm.status)
    whole.run(1.0)
    assert whole.arm.state == Status.STATE_TRACKING
    status = whole.arm.status[-1]
    assert status.underruns == 0
    assert not [s for s in whole.arm.status[seen:] if 'timeout' in s.reason]
    assert 0 <= status.chunk_age_s < 0.5
    assert 0 <= status.plan_age_s < 2.0
    for node in (whole.perception, whole.reasoner, whole.actor, whole.arm.node):
        assert node.health.counts['clock_jumps'] == 1
    assert not whole.actor.health.message('plan')
    last, first = _around_the_jump(whole.arm.commands)
    assert np.abs(np.array(first.position) - last.position).max() < 0.8 * 3 * PERIOD_S


def _around_the_jump(commands):
    stamps = np.array([stamp_to_seconds(c.header.stamp) for c in commands])
    at = int(np.flatnonzero(np.diff(stamps) < 0)[0])
    return commands[at], commands[at + 1]


def step(graph, seconds):
    """Let the clock run without waiting for the workers."""
    for _ in range(round(seconds / PERIOD_S)):
        graph.set_time(graph.now + PERIOD_S)
        for _ in range(10):
            graph.executor.spin_once(timeout_sec=0.0)


@pytest.mark.parametrize('how', ['cancel', 'deactivate'])
def test_cancel_or_deactivate_while_inferring(graph, hold, how):
    """The goal ends once with its reason, and what the pass under way makes moves nothing."""
    operator = Operator(graph)
    reasoner = graph.add(ReasonerNode)
    actor = graph.add(ActorNode, architecture='single')
    chunks = graph.hear(msg.ActionChunk, 'action_chunk', newest_qos())
    tokens = graph.publisher(msg.VisualTokens, 'visual_tokens', newest_qos())
    plans = graph.hear(msg.Plan, 'plan', latched_qos())
    graph.until(reasoner._plan.get_subscription_count)
    held = hold(reasoner.stage, 'plan')
    handle = operator.begin()
    graph.until(lambda: reasoner._instruction and actor._instruction)
    chunks.clear()
    tokens.publish(visual_tokens(graph.now))
    graph.until(held.begun.is_set)
    if how == 'cancel':
        graph.until(handle.cancel_goal_async().done)
        expected = Result.REASON_CANCELED, GoalStatus.STATUS_CANCELED
        step(graph, 0.3)
    else:
        operator.arm.node.trigger_deactivate()
        expected = Result.REASON_FAULT, GoalStatus.STATUS_ABORTED
    graph.until(lambda: not reasoner._instruction)
    held.go.set()
    graph.settle()
    operator.end(handle, *expected)
    graph.settle()
    assert len(operator.results) == 1
    assert not plans, 'the plan under way was dropped'
    assert not chunks
    assert not any(operator.arm.commands[-1].velocity)
    count = len(operator.arm.commands)
    operator.arm.chunks.publish(operator.arm.make_chunk())
    operator.arm.run(0.1)
    assert len(operator.arm.commands) == count


def test_late_slow_node(graph):
    """With a plan past its validity the actor warns, then complains, and the robot holds."""
    whole = Whole(graph)
    whole.start()
    # Before that, a task that has just begun may lack its plan.
    whole.run(PLAN_GRACE_S)
    level = functools.partial(whole.actor.health.status, 'actor', {})
    assert level().level == OK
    whole.reasoner.trigger_deactivate()
    begin = graph.now
    levels, states = [], []
    while graph.now < begin + 1.4:
        whole.run(STEP_S)
        levels.append(level().level)
        states.append(whole.arm.state)
    first_warning, first_error = levels.index(WARN), levels.index(ERROR)
    assert first_warning < first_error
    assert OK not in levels[first_warning:]
    assert WARN not in levels[first_error:]
    assert set(states[:first_error]) == {Status.STATE_TRACKING}, 'a valid plan drives on'
    assert states[-1] == Status.STATE_HOLDING
    assert whole.arm.node.at_rest
    assert 'valid' in level().message


def test_instruction_changes_in_mid_run(graph):
    """Chunks of the old task are dropped at once, and no limit breaks on the way to the new one."""
    whole = Whole(graph)
    chunks = graph.hear(msg.ActionChunk, 'action_chunk', newest_qos())
    plans = graph.hear(msg.Plan, 'plan', latched_qos())
    graph.until(whole.actor._chunk.get_subscription_count)
    graph.until(whole.reasoner._plan.get_subscription_count)
    first = whole.start()
    whole.run(0.6)
    speed = whole.arm.speed()
    assert speed > 0.05
    goal = first.client.send_goal_async(ExecuteTask.Goal(instruction='close the window'))
    graph.until(goal.done)
    changed = len(whole.arm.status)
    graph.until(lambda: whole.arm.node._controller.report(graph.now).chunk_sequence == 0)
    whole.run(1.0)
    assert first.done()
    assert first.result().result.reason == Result.REASON_CANCELED
    assert whole.arm.state == Status.STATE_TRACKING
    told = {plan.sequence: plan.instruction for plan in plans}
    followed = {s.chunk_sequence for s in whole.arm.status[changed:]} - {0}
    used = {told[chunk.plan_sequence] for chunk in chunks if chunk.sequence in followed}
    assert used == {'close the window'}
    assert broken_limits(whole.arm) == 0
    assert len(whole.arm.commands) >= 1.5 / STEP_S


NODES = {
    'perception': PerceptionNode,
    'reasoner': ReasonerNode,
    'actor': ActorNode,
    'controller': ControllerNode,
    'monitor': MonitorNode,
}


def _bad_values(default, spec):
    """Return values that ``spec`` forbids."""
    if spec.choices:
        return ['no such choice']
    kind = type(default[0]) if isinstance(default, tuple) and default else type(default)
    bad = [spec.low - 1] if spec.low is not None else []
    bad += [spec.high + 1] if spec.high is not None else []
    return [[kind(value)] if isinstance(default, tuple) else kind(value) for value in bad]


@pytest.mark.parametrize('name', NODES)
def test_parameters_at_run_time(graph, name):
    """Each value out of range is refused with a reason, and with it all that came along."""
    node = graph.add(NODES[name])
    listed = [item for item in specs(type(node.settings)) if not item[2].read_only]
    before = flatten(node.settings)
    # A valid change that comes along with each.
    other, default, spec = next(
        item for item in listed if isinstance(item[1], float) and item[2].low < item[1]
    )
    along = Parameter(other, value=(spec.low + default) / 2)
    tried = 0
    for parameter, default, spec in listed:
        for bad in _bad_values(default, spec):
            tried += 1
            result = node.set_parameters_atomically([along, Parameter(parameter, value=bad)])
            assert not result.successful, f'{parameter}={bad} was taken'
            assert result.reason
            assert flatten(node.settings) == before
    assert tried >= 1


def test_parameters_that_do_not_fit_together_and_those_that_do(graph):
    """A set is refused as a whole; one that is taken is named in the statistics."""
    arm = Arm(graph)
    stats = graph.hear(msg.EfficiencyStats, 'efficiency', report_qos())
    graph.until(arm.node._efficiency.get_subscription_count)
    arm.moving()
    before = flatten(arm.node.settings)
    inconsistent = {'blending.method': 'latest_only', 'limits.stop_deceleration': [1000.0]}
    items = [Parameter(name, value=value) for name, value in inconsistent.items()]
    result = arm.node.set_parameters_atomically(items)
    assert not result.successful
    assert 'limits.stop_deceleration is 1000.0' in result.reason
    assert flatten(arm.node.settings) == before
    arm.send_chunk()
    arm.run(0.05)
    assert stats[-1].method == f'blending={before["blending.method"]}'
    assert arm.node.set_parameters_atomically(items[:1]).successful
    arm.send_chunk()
    arm.run(0.05)
    assert stats[-1].method == 'blending=latest_only'
    assert arm.state == Status.STATE_TRACKING


def test_restart_order(graph):
    """Who comes late hears instruction, plan and stop."""
    whole = Whole(graph)
    whole.start()
    whole.run(0.4)
    assert whole.arm.stop().success
    late = {
        'instruction': graph.hear(msg.Instruction, 'instruction', latched_qos()),
        'plan': graph.hear(msg.Plan, 'plan', latched_qos()),
    }
    statuses = []
    graph.peer.create_subscription(
        msg.ControllerStatus, 'controller_status', statuses.append, latched_qos()
    )
    graph.until(lambda: all(late.values()) and statuses)
    assert late['instruction'][0].text == 'open the drawer'
    assert late['plan'][0].instruction == 'open the drawer'
    assert statuses[0].state == Status.STATE_STOPPED
    assert 'stop requested' in statuses[0].reason
    graph.remove(whole.reasoner)
    again = graph.add(ReasonerNode)
    graph.until(lambda: again._instruction == 'open the drawer')


def test_two_robots(graph):
    """Under a namespace each, one moves and the other one hears nothing."""
    arms = {}
    for side in ('left', 'right'):
        for kind in NODES.values():
            graph.add(_under(kind, side))
        arms[side] = {
            'node': next(n for n in graph.nodes[-len(NODES) :] if isinstance(n, ControllerNode)),
            'commands': graph.hear(JointState, f'{side}/command', report_qos()),
            'states': graph.publisher(JointState, f'{side}/robot_state', report_qos()),
            'chunks': graph.publisher(msg.ActionChunk, f'{side}/action_chunk', newest_qos()),
        }
    shared = {'/diagnostics', '/rosout', '/parameter_events', '/clock'}
    for node in graph.nodes:
        own = node.get_namespace()
        names = node.get_publisher_names_and_types_by_node(node.get_name(), own)
        names += node.get_subscriber_names_and_types_by_node(node.get_name(), own)
        names += node.get_service_names_and_types_by_node(node.get_name(), own)
        outside = {topic for topic, _ in names if not topic.startswith(f'{own}/')}
        assert outside <= shared
        assert own in ('/left', '/right')
    for arm in arms.values():
        arm['states'].publish(graph.state(HOME))
        graph.until(lambda a=arm: a['node']._command is not None)
    for side in arms:
        assert graph.call(SetBool, f'{side}/controller/set_enabled', data=True).success
    sender = Arm.__new__(Arm)
    sender.graph, sender.sequence = graph, 0
    arms['left']['chunks'].publish(sender.make_chunk())
    left, right = arms['left']['node'], arms['right']['node']
    graph.until(lambda: left._controller.state == Status.STATE_TRACKING)
    graph.run(0.2)
    assert right._controller.state == Status.STATE_WAITING
    assert arms['left']['commands'][-1].position[1] > HOME[1] + 0.01
    assert list(arms['right']['commands'][-1].position[:3]) == list(HOME)


def _under(kind, namespace):
    @functools.wraps(kind, updated=())
    def make(**options):
        return kind(namespace=namespace, **options)

    return make


def test_no_torch_installed(tmp_path: Path):
    """Image and sentence go in, the robot moves, with the policy that needs no weights."""
    (tmp_path / 'torch.py').write_text('raise ImportError("there is no torch on this machine")\n')
    environ = {**os.environ, 'PYTHONPATH': f'{tmp_path}:{os.environ.get("PYTHONPATH", "")}'}
    test = f'{Path(__file__).parent / "test_whole_graph.py"}::test_image_in_command_out'
    options = ['-q', '-p', 'no:cacheprovider']
    done, tried = (
        subprocess.run(
            [sys.executable, *words], env=environ, capture_output=True, text=True, check=False
        )
        for words in (['-m', 'pytest', *options, test], ['-c', 'import torch'])
    )
    assert done.returncode == 0, done.stdout
    assert '1 passed' in done.stdout
    assert 'no torch on this machine' in tried.stderr
