# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The base of all nodes: the order of their life, and what they report about themselves."""

import functools
import traceback
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from efficient_vla.bringup.node_arguments import MissingPackageError
from efficient_vla.errors import CheckpointError
from efficient_vla.nodes.base.health import Health
from efficient_vla.nodes.base.parameters import NodeParameters
from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.base.scheduling import apply_niceness
from efficient_vla.nodes.base.waiting import LOOK_PERIOD_S, Waiting
from efficient_vla.settings import InvalidSettingError, without_effect
from efficient_vla.statistics import resident_mb
from efficient_vla.types import InvalidRecordError, Stamp

Settings = TypeVar('Settings')

DIAGNOSTICS_PERIOD_S = 1.0
CLOCK_TOLERANCE_S = 0.001
"""Clocks of two callbacks may differ by rounding; more back than this is a jump."""
CLOCK_LOG_S = 1.0
"""Two nodes that publish /clock make it jump with every message; it is logged no more often."""
PLAIN_ERRORS = (
    CheckpointError,
    InvalidSettingError,
    InvalidRecordError,
    MissingPackageError,
    OSError,
)
"""Errors whose message says everything; any other is logged with its traceback."""


class ManagedNode(LifecycleNode, Generic[Settings]):
    """A lifecycle node with settings as parameters and diagnostics at 1 Hz.

    A node fills in ``setup`` (load and validate; raise a clear error), ``start``, ``stop`` (the
    robot stays safe), ``teardown`` (free everything; also after a failed ``setup``), ``accept`` and
    ``changed`` (settings at run time), ``flush`` (forget what the clock made meaningless) and
    ``report``.
    """

    exit_code = 0
    """Not 0 where the process is to end with it: only a new one can help."""

    def __init__(self, name: str, kind: type[Settings], **options: Any) -> None:
        super().__init__(name, **options)
        self.health = Health(self.get_logger())
        self.waiting = Waiting(self, self.health)
        self.active = False
        self.configured = False
        self._latest = float('-inf')
        self._parameters_of_node = NodeParameters(self, kind, self.accept, self.changed)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', report_qos())
        self.every(DIAGNOSTICS_PERIOD_S, self.publish_diagnostics)
        self.every(LOOK_PERIOD_S, self.look)

    @property
    def settings(self) -> Settings:
        """The settings that hold now."""
        return self._parameters_of_node.settings

    def setup(self) -> None:
        """Load and validate; raise with the reason when that cannot work."""

    def start(self) -> None:
        """Begin to work."""

    def stop(self) -> None:
        """End work and leave the robot safe."""

    def teardown(self) -> None:
        """Free what ``setup`` made, all or part of it."""

    def accept(self, settings: Settings) -> None:
        """Take settings at run time that are valid as a set, or raise the reason not to.

        Raises ``InvalidSettingError`` or ``InvalidRecordError``; the earlier settings hold then.
        """

    def changed(self, earlier: Settings, settings: Settings) -> None:
        """Apply settings that were changed at run time; ``accept`` has taken them."""

    def flush(self, reason: str) -> None:
        """Forget whatever carries times of the past."""

    def report(self) -> dict[str, Any]:
        """Return values for the diagnostics."""
        return {}

    def set_niceness(self) -> None:
        """Take the niceness of the settings, for the whole process."""
        apply_niceness(getattr(self.settings, 'nice', 0), self.health)

    def every(self, period: float, callback: Callable[[], None]) -> Any:
        """Return a timer by the steady clock, which goes on while simulated time stands still."""
        return self.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def look(self) -> None:
        """Look for what does not announce itself, four times a second."""
        if self.waiting.look():
            self.publish_diagnostics()

    def now(self) -> Stamp:
        """Return the time of the node's clock [s], on any thread."""
        return Stamp(self.get_clock().now().nanoseconds)

    def seconds(self) -> float:
        """Return the time of the node's clock [s]; notices when it jumps back.

        Only for callbacks of the executor.
        """
        now = self.now()
        if now < self._latest - CLOCK_TOLERANCE_S:
            reason = f'clock jumped back by {self._latest - now:.3f} s'
            self._latest = now
            self.health.counts['clock_jumps'] += 1
            self.get_logger().warning(
                f'{reason}; histories are flushed', throttle_duration_sec=CLOCK_LOG_S
            )
            self.waiting.restart()
            self.flush(reason)
        self._latest = now
        return now

    def create_subscription(  # type: ignore[override]
        self,
        kind: type,
        topic: str,
        callback: Callable[..., None],
        qos_profile: Any,
        **options: Any,
    ) -> Any:
        """Subscribe as rclpy does; its EventsExecutor gives message and info as one tuple."""

        @functools.wraps(callback)
        def received(*given: Any) -> None:
            callback(*(given[0] if isinstance(given[0], tuple) else given))

        return super().create_subscription(kind, topic, received, qos_profile, **options)

    def autostart(self) -> bool:
        """Configure and activate; return whether both worked."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def end(self) -> None:
        """Leave any state safely, before the node is destroyed."""
        if self.active:
            self.trigger_deactivate()
        if self.configured:
            self.trigger_cleanup()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and validate; on an error the node stays unconfigured and says why."""

        def configure() -> None:
            if self._parameters_of_node.problem:
                raise InvalidSettingError(self._parameters_of_node.problem)
            for line in without_effect(self.settings):
                self.get_logger().warning(line)
            self.set_niceness()
            self.setup()

        self.health.clear_all()
        if not self._guarded('configure', configure):
            self._guarded('cleanup', self.teardown)
            return TransitionCallbackReturn.FAILURE
        self.configured = True
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to work."""
        result = super().on_activate(state)
        self.active = True
        if not self._guarded('activate', self.start):
            self.active = False
            self._guarded('deactivate', self.stop)
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave the robot safe."""
        # First stop, then silence the publishers: the safe command is the last one on the wire.
        self._guarded('deactivate', self.stop)
        self.active = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free memory."""
        self._guarded('cleanup', self.teardown)
        self.configured = False
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        if self.active:
            self.on_deactivate(state)
        if self.configured:
            self.on_cleanup(state)
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured, from where configure may be tried again."""
        self._guarded('cleanup', self.teardown)
        self.active = self.configured = False
        super().on_error(state)
        return TransitionCallbackReturn.SUCCESS

    def publish_diagnostics(self) -> None:
        """Say which rules fired."""
        values = self.report() if self.configured else {}
        life = 'active' if self.active else 'inactive' if self.configured else 'unconfigured'
        status = self.health.status(
            f'{self.get_fully_qualified_name()}: health',
            {'lifecycle': life, 'resident_mb': resident_mb(), **values},
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def failed(self, rule: str, error: Exception) -> None:
        """Report an error of a pass: its kind is logged once, and counted."""
        if isinstance(error, ImportError):
            error = MissingPackageError(error)
        if isinstance(error, PLAIN_ERRORS):
            self.health.error(rule, str(error))
        elif self.health.error(rule, f'{type(error).__name__}: {error}'):
            self.get_logger().error(''.join(traceback.format_exception(error)))

    def _guarded(self, rule: str, step: Callable[[], None]) -> bool:
        """Run one step of a transition; rclpy would swallow its error without a word."""
        try:
            step()
        except Exception as error:
            self.failed(rule, error)
            return False
        self.health.clear(rule)
        return True
