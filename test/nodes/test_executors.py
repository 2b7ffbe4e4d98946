# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Message and info reach a callback on either executor, and a reset is awaited on either."""

import threading
import time

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from std_msgs.msg import String

from efficient_vla import srv
from efficient_vla.nodes.__main__ import _executor
from efficient_vla.nodes.stages.perception import PerceptionNode

EXECUTORS = (SingleThreadedExecutor, EventsExecutor)
PATIENCE_S = 20.0


@pytest.fixture(params=EXECUTORS, ids=lambda kind: kind.__name__)
def run(request, ros_domain):
    rclpy.init(args=[])
    executor = request.param()
    nodes = []

    def until(found, *added):
        for node in added:
            nodes.append(node)
            executor.add_node(node)
        limit = time.monotonic() + PATIENCE_S
        while not found() and time.monotonic() < limit:
            executor.spin_once(timeout_sec=0.05)
        assert found()

    yield until
    executor.shutdown()
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def test_a_callback_gets_message_and_info(run):
    node, heard = PerceptionNode(), []
    node.create_subscription(String, 'both', lambda message, info: heard.append((message, info)), 1)
    node.create_subscription(String, 'both', lambda message: heard.append((message, None)), 1)
    peer = Node('peer', start_parameter_services=False)
    publisher = peer.create_publisher(String, 'both', 1)
    publisher.publish(String(data='here'))
    run(lambda: len(heard) == 2, node, peer)
    assert {message.data for message, _ in heard} == {'here'}
    [info] = [info for _, info in heard if info is not None]
    [endpoint] = peer.get_publishers_info_by_topic('both')
    gid = info['publisher_gid']['data']
    assert bytes(endpoint.endpoint_gid)[: len(gid)] == gid
    assert abs(info['source_timestamp'] * 1e-9 - time.time()) < PATIENCE_S


def test_a_service_that_awaits_the_worker_answers(run, policy):
    node = PerceptionNode(parameter_overrides=[rclpy.Parameter('policy', value=str(policy))])
    assert node.trigger_configure().name == 'SUCCESS'
    peer = Node('peer', start_parameter_services=False)
    client = peer.create_client(srv.ResetCaches, 'perception/reset_caches')
    run(client.service_is_ready, node, peer)
    epoch, held = node.epoch, threading.Event()
    node._worker.call(lambda: held.wait(PATIENCE_S))
    answer = client.call_async(srv.ResetCaches.Request(reason='test'))
    run(lambda: not node._worker.idle)
    assert not answer.done()
    held.set()
    run(answer.done)
    assert answer.result().success
    assert answer.result().epoch > epoch
    node.trigger_cleanup()


def test_nodes_in_simulated_time_have_the_usual_executor(ros_domain):
    rclpy.init(args=[])
    for simulated, kind in ((True, 'SingleThreadedExecutor'), (False, 'EventsExecutor')):
        node = PerceptionNode(
            parameter_overrides=[rclpy.Parameter('use_sim_time', value=simulated)]
        )
        executor = _executor([node])
        assert type(executor).__name__ == kind
        executor.shutdown()
        node.destroy_node()
    rclpy.shutdown()
