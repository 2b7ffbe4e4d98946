# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A node that looks at a graph from outside."""

import threading
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy._rclpy_pybind11 import InvalidHandle
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from efficient_vla.bringup.enclaves import enclave
from efficient_vla.errors import UsageError

CLOSE_TIMEOUT_S = 2.0


class Onlooker:
    """A node without services of its own; its messages arrive on a thread from ``start`` on.

    Without a ``context`` it has one of its own, in the security enclave ``role``. Signals belong to
    whoever uses it, for example the supervisor.
    """

    def __init__(
        self, name: str, namespace: str, context: Context | None = None, role: str = 'observer'
    ) -> None:
        self._owner = context is None
        self.context = Context() if context is None else context
        if self._owner:
            rclpy.init(
                args=['--ros-args', '--enclave', enclave(namespace, role)],
                context=self.context,
                signal_handler_options=SignalHandlerOptions.NO,
            )
        try:
            self.node = rclpy.create_node(
                name,
                context=self.context,
                namespace=namespace,
                enable_rosout=False,
                start_parameter_services=False,
                parameter_overrides=[Parameter('start_type_description_service', value=False)],
                # `ros2 launch` renames by `-r __node:=controller`, which would rename this one too.
                use_global_arguments=False,
            )
        except RuntimeError as error:
            # Of a middleware that is built without security, for example.
            raise UsageError(f'ROS refuses the node {name}: {error}') from error
        self._closed = False
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def ask(self, function: Callable[[], Any]) -> Any:
        """Return a future of what ``function`` returns on the thread that listens.

        An action client of rclpy is not to be asked on another: an answer that comes at once finds
        its request half noted.
        """
        return self._executor.create_task(function)

    def close(self) -> None:
        """Leave the graph."""
        self._closed = True
        self._executor.shutdown()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S)
        self.node.destroy_node()
        if self._owner:
            rclpy.try_shutdown(context=self.context)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
        except InvalidHandle:
            # The executor was shut down while it looked at what it waits for.
            if not self._closed:
                raise
