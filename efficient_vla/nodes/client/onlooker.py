# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A node that looks at a graph from outside."""

import threading

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

CLOSE_TIMEOUT_S = 5.0


class Onlooker:
    """A node without services of its own; its messages arrive on a thread from ``start`` on.

    Signals belong to whoever uses it, for example the supervisor.
    """

    def __init__(self, name: str, namespace: str) -> None:
        self.context = rclpy.Context()
        no_signals = SignalHandlerOptions.NO
        rclpy.init(args=[], context=self.context, signal_handler_options=no_signals)
        self.node = rclpy.create_node(
            name,
            context=self.context,
            namespace=namespace,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Leave the graph."""
        rclpy.try_shutdown(context=self.context)
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
