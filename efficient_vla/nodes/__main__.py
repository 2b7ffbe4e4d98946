# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Run one or several nodes in this process: ``python -m efficient_vla.nodes NAME [NAME ...]``.

Ends with 0 after a signal or when its launch is gone, with 2 where a node cannot be configured or
a package is missing (starting it again will not help), with 3 where a stage hangs, and with 1 after
any other error.
"""

import argparse
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any

POLL_S = 0.1
"""Signals are noticed this often while nothing happens."""
ENDING_S = 2.0
"""A node may take so long to end; the controller brakes for 0.5 s at most."""
LAST_WORDS_S = 0.1
"""Events are handled for so long after the nodes ended, so that results and commands get out."""


def main(words: list[str] | None = None) -> int:
    """Run the nodes named in ``words`` until a signal; return the exit code."""
    # Nothing runs yet, so a signal while libraries load may end the process on the spot. Later
    # it only sets a flag: rclpy's own handler would end the context before the robot is safe.
    stop = _Stop()
    from efficient_vla.bringup.catalogue import POLICY_NODES
    from efficient_vla.bringup.node_arguments import Launcher, MissingPackageError, checked_files
    from efficient_vla.bringup.parameter_files import ParameterFileError

    launcher = Launcher(os.environ)
    words = sys.argv[1:] if words is None else words
    own_end = words.index('--ros-args') if '--ros-args' in words else len(words)
    parser = _parser()
    arguments = parser.parse_args(words[:own_end])
    thinking = [name for name in arguments.nodes if name in POLICY_NODES]
    if 'controller' in arguments.nodes and thinking:
        parser.error(
            f'controller cannot share a process with {", ".join(sorted(thinking))}: inference '
            'would delay its timer. Start it in a process of its own.'
        )
    try:
        import rclpy
        from rclpy.signals import SignalHandlerOptions

        ros, notes = checked_files(words[own_end:], arguments.nodes)
        rclpy.init(args=ros, signal_handler_options=SignalHandlerOptions.NO)
    except ParameterFileError as error:
        return _refuse(str(error))
    except ImportError as error:
        return _refuse(str(MissingPackageError(error)))
    except RuntimeError as error:
        return _refuse(f'ROS refuses its arguments: {error}')
    for note in notes:
        sys.stderr.write(f'{note}\n')
    try:
        return _run(arguments, stop, launcher)
    except ImportError as error:
        return _refuse(str(MissingPackageError(error)))
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        if rclpy.ok():
            rclpy.shutdown()


class _Stop:
    """Turn signals into the end of the process, or, once armed, into a flag.

    The robot brakes then, whatever signals follow at once, as they do where a launcher and the
    terminal both send one; a later one ends a node that hangs.
    """

    def __init__(self) -> None:
        self.requested = False
        self._since = 0.0
        self.armed = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if not self.armed or (self.requested and now > self._since + ENDING_S):
            os._exit(130 if number == signal.SIGINT else 0)
        if not self.requested:
            self.requested, self._since = True, now


def _refuse(sentence: str) -> int:
    sys.stderr.write(f'{sentence}\n')
    return 2


def _run(arguments: argparse.Namespace, stop: _Stop, launcher: Any) -> int:
    from efficient_vla.bringup.catalogue import NODES

    nodes: list[Any] = []
    try:
        for name in arguments.nodes:
            kind = NODES[name]
            node = getattr(importlib.import_module(kind.module), kind.name)
            nodes.append(node(*kind.arguments))
        executor = _executor(nodes)
        for node in nodes:
            executor.add_node(node)
        try:
            code = _live(executor, nodes, stop, launcher)
        finally:
            # Also after an error of a callback: the robot brakes before this process ends.
            for node in nodes:
                node.end()
        last = time.monotonic() + LAST_WORDS_S
        while (left := last - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)
        executor.shutdown()
    finally:
        for node in nodes:
            node.destroy_node()
    return code


def _live(executor: Any, nodes: list[Any], stop: _Stop, launcher: Any) -> int:
    """Start the nodes and spin until a signal, a failed start or the end of the launch."""
    code = 0
    started = [node for node in nodes if getattr(node.settings, 'autostart', False)]
    # All are loaded before any starts, so that no robot waits for a node that loads.
    configured = [_succeeded(node.trigger_configure()) for node in started]
    if not all(configured):
        code = 2
    stop.armed = True
    if not code:
        activated = [_succeeded(node.trigger_activate()) for node in started]
        code = 0 if all(activated) else 1
    if not code:
        for node in nodes:
            tune = getattr(node, 'tune_process', None)
            if tune is not None:
                tune()
    while not stop.requested and not code and not launcher.gone():
        executor.spin_once(timeout_sec=POLL_S)
        code = max(getattr(node, 'exit_code', 0) for node in nodes)
    return code


def _executor(nodes: list[Any]) -> Any:
    """Return the lighter EventsExecutor, where this rclpy has it and time is not simulated."""
    from rclpy.executors import SingleThreadedExecutor

    # The EventsExecutor now and then misses a timer in simulated time, which in lockstep stands
    # still from then on.
    if not any(node.get_clock().ros_time_is_active for node in nodes):
        try:
            from rclpy.experimental.events_executor import EventsExecutor

            return EventsExecutor()
        except ImportError:
            nodes[0].get_logger().info('this rclpy has no EventsExecutor; using the usual one')
    return SingleThreadedExecutor()


def _succeeded(result: Any) -> bool:
    return getattr(result, 'name', '') == 'SUCCESS'


def _parser() -> argparse.ArgumentParser:
    from efficient_vla.bringup.catalogue import NODES

    parser = argparse.ArgumentParser(
        prog='python -m efficient_vla.nodes',
        description='Run one or several nodes in this process.',
        epilog='Example: python -m efficient_vla.nodes perception reasoner --ros-args '
        '-p perception:policy:=models/evla-nano -p reasoner:policy:=models/evla-nano',
    )
    parser.add_argument(
        'nodes',
        nargs='+',
        choices=sorted(NODES),
        metavar='NAME',
        help=('one of ' + ', '.join(NODES)),
    )
    return parser


def insist(patience: float = 8.0) -> threading.Thread:
    """Return a thread that ends this process, stuck or not, so long [s] after the first signal."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)

    def wait() -> None:
        os.read(reader, 1)
        time.sleep(patience)
        os._exit(0)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


if __name__ == '__main__':
    own = {threading.main_thread(), insist()}
    code = main()
    if set(threading.enumerate()) - own:
        # A pass that hangs on its thread would crash while the interpreter takes itself apart.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
