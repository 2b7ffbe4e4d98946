# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A node that looks at a graph from outside."""

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


def onlooker(name: str, namespace: str) -> Node:
    """Return a node without services of its own; end it by shutting down its ``context``.

    Signals belong to whoever uses it, for example the supervisor.
    """
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    return rclpy.create_node(
        name,
        context=context,
        namespace=namespace,
        enable_rosout=False,
        start_parameter_services=False,
    )
