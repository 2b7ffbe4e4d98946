# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The services by which a person enables, pauses and stops the robot, and the ladder holds it."""

from collections.abc import Callable
from typing import Any

from std_srvs.srv import SetBool, Trigger

from efficient_vla.control.controller import Controller
from efficient_vla.control.state import HELD, State
from efficient_vla.nodes.controller.latch import StopLatch


class OperatorServices:
    """``set_enabled``, ``pause``, ``hold``, ``stop`` and ``reset_stop`` of a controller node.

    ``hold`` is a pause of the degradation ladder; it neither replaces nor ends one of a person.
    ``core`` returns its control core, ``None`` before configure; ``ordered`` sends what an order
    changed at once, without waiting for the next tick.
    """

    def __init__(
        self,
        node: Any,
        core: Callable[[], Controller | None],
        latch: StopLatch,
        ordered: Callable[[float], None],
    ) -> None:
        self._node = node
        self._core = core
        self._latch = latch
        self._ordered = ordered
        self.ends_disabled = False
        """Whether a pause ends disabled: that was asked for meanwhile."""
        self.armed = False
        """Whether a person enabled the controller since the last task began."""
        node.create_service(SetBool, '~/set_enabled', self._set_enabled)
        node.create_service(SetBool, '~/pause', self._pause)
        node.create_service(SetBool, '~/hold', self._hold)
        node.create_service(Trigger, '~/stop', self._stop)
        node.create_service(Trigger, '~/reset_stop', self._reset_stop)

    def _order(self, order: Callable[[float], None]) -> None:
        now = self._node.seconds()
        order(now)
        self._ordered(now)

    def _set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        core = self._core()
        reason = None
        if request.data:
            reason = self._node.enable(self._node.seconds())
        elif core is not None:
            self._order(core.disable)
        response.success = reason is None
        self.armed = request.data and response.success
        self.ends_disabled &= not response.success
        stopped = 'stopped until reset_stop' if self._latch.reason else 'disabled'
        response.message = reason or ('enabled' if request.data else stopped)
        return response

    def _stop(self, request: Trigger.Request, response: Trigger.Response) -> Any:
        core = self._core()
        if core is None:
            # Whoever configures the controller later finds it stopped.
            self._latch.set('stop requested')
        else:
            self._order(core.stop)
        response.success = True
        response.message = 'stopped until reset_stop'
        return response

    def _reset_stop(self, request: Trigger.Request, response: Trigger.Response) -> Any:
        core = self._core()
        if not self._latch.reason and (core is None or core.state != State.STOPPED):
            response.message = 'the controller is not stopped'
        elif not self._node.at_rest:
            response.message = 'the robot still brakes; reset the stop when it stands still'
        else:
            self._latch.clear()
            if core is not None:
                self._order(core.reset_stop)
            response.success = True
            response.message = 'stop was reset; the controller is disabled until it is enabled'
        return response

    def _hold(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        core = self._core()
        paused = core is not None and core.state == State.PAUSED
        if paused and core is not None and core.reason != HELD:
            response.success = not request.data
            response.message = 'somebody else paused the controller'
        elif not paused and not request.data:
            response.success, response.message = True, 'not held'
        else:
            return self._pause(request, response, HELD)
        return response

    def _pause(
        self, request: SetBool.Request, response: SetBool.Response, why: str = 'paused'
    ) -> Any:
        core = self._core()
        if core is None:
            response.message = 'the controller is not configured'
            return response
        now = self._node.seconds()
        paused = core.state == State.PAUSED
        reason = core.pause(now, why) if request.data else core.resume(now)
        if not paused:
            self.ends_disabled = False
        elif not request.data and self.ends_disabled:
            core.disable(now)
        self._ordered(now)
        response.success = reason is None
        response.message = reason or ('paused' if request.data else 'resumed')
        return response
