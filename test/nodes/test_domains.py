# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""No test meets a node of another one."""

import rclpy
from fixtures.domains import free_domain, inhabited


def test_domain_in_which_a_node_of_an_earlier_test_lives_is_not_lent(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    with free_domain() as first:
        context.init(domain_id=first)
        left = rclpy.create_node('left_behind', context=context)
        assert first in inhabited()
    with free_domain() as second:
        assert second != first
    left.destroy_node()
    context.shutdown()


def test_two_domains_that_are_lent_at_once_differ():
    with free_domain() as first, free_domain() as second:
        assert first != second
