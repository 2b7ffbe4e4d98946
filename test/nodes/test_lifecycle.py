# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every node lives the same life and says what is wrong with it."""

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fixtures.policies import write_policy
from rcl_interfaces.msg import Log
from rclpy.lifecycle import TransitionCallbackReturn

from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.nodes.monitor.node import MonitorNode
from efficient_vla.nodes.stages.actor import ActorNode
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode

NODES = (PerceptionNode, ReasonerNode, ActorNode, ControllerNode, MonitorNode)


def test_nodes_go_round_the_whole_life_twice(graph):
    for kind in NODES:
        node = graph.add(kind, start=False)
        for _ in range(2):
            assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
            assert node.active
            assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
            assert not node.active
            assert not node.configured


def test_shutdown_works_from_active(graph):
    node = graph.add(PerceptionNode)
    node.trigger_shutdown()
    assert not node.active
    assert node.stage is None


def test_cleanup_frees_the_policy(graph):
    node = graph.add(ReasonerNode)
    assert node.stage is not None
    node.end()
    assert node.stage is None
    assert node._worker is None


def test_missing_checkpoint_is_named_and_can_be_mended(graph, tmp_path):
    folder = tmp_path / 'late'
    node = graph.add(PerceptionNode, start=False, policy=str(folder))
    assert not node.autostart()
    assert str(folder) in node.health.status('', {}).message
    write_policy(folder)
    assert node.autostart()
    assert node.health.status('', {}).level == DiagnosticStatus.OK


def test_truncated_checkpoint_is_named(graph, tmp_path):
    (tmp_path / 'policy.json').write_text('{"policy_type": "pass')
    node = graph.add(ActorNode, start=False, policy=str(tmp_path))
    assert not node.autostart()
    assert 'is not JSON' in node.health.status('', {}).message


def test_unexpected_error_in_configure_is_logged_and_not_swallowed(graph, monkeypatch):
    def broken(self):
        raise ZeroDivisionError('oops')

    monkeypatch.setattr(MonitorNode, 'setup', broken)
    node = graph.add(MonitorNode, start=False)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert 'ZeroDivisionError: oops' in node.health.status('', {}).message


def test_step_that_works_at_last_is_no_error_any_more(graph, monkeypatch):
    node = graph.add(MonitorNode, start=False)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    with monkeypatch.context() as broken:
        broken.setattr(node, 'start', lambda: 1 / 0)
        assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert 'ZeroDivisionError' in node.health.message('activate')
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert not node.health.message('activate')


def test_diagnostics_name_the_rule(graph):
    heard = graph.hear(DiagnosticArray, '/diagnostics', report_qos())
    node = graph.add(MonitorNode)
    node.health.warn('camera', 'image is upside down')
    graph.until(lambda: node._diagnostics.get_subscription_count())
    node.publish_diagnostics()
    graph.until(lambda: any('upside down' in m.status[0].message for m in heard))
    status = heard[-1].status[0]
    assert status.name == '/monitor: health'
    assert status.level == DiagnosticStatus.WARN
    assert status.message == 'camera: image is upside down'
    assert {v.key: v.value for v in status.values}['lifecycle'] == 'active'


def test_clock_that_jumps_with_every_message_does_not_flood_the_log(graph):
    logs = graph.hear(Log, '/rosout', report_qos())
    node = graph.add(MonitorNode)
    graph.until(lambda: node.count_subscribers('/rosout'))
    node.seconds()
    begin = time.monotonic()
    for _ in range(100):
        graph.set_time(graph.now - 0.02)
        node.seconds()
        graph.set_time(graph.now + 0.01)
        node.seconds()
    seconds = time.monotonic() - begin
    assert node.health.counts['clock_jumps'] == 100
    node.get_logger().warning('the last line')
    graph.until(lambda: any(line.msg == 'the last line' for line in logs))
    jumps = [line for line in logs if 'clock jumped back' in line.msg]
    assert 1 <= len(jumps) <= 1 + seconds


def test_clock_that_jumps_back_flushes_once(graph, monkeypatch):
    reasons = []
    node = graph.add(MonitorNode)
    monkeypatch.setattr(node, 'flush', reasons.append)
    node.seconds()
    graph.set_time(graph.now - 50)
    node.seconds()
    node.seconds()
    assert len(reasons) == 1
    assert 'jumped back by 50' in reasons[0]
