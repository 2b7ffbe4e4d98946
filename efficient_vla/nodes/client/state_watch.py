# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Follow the lifecycle states of nodes from outside, by asking each node once a second."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from lifecycle_msgs.srv import GetState

from efficient_vla.nodes.base.onlooker import Onlooker

PERIOD_S = 0.5
ANSWER_TIMEOUT_S = 2.0
UNKNOWN = '-'


class StateWatch(Onlooker):
    """Lifecycle states by node name; a node that does not answer is ``-``."""

    def __init__(self, nodes: tuple[str, ...], namespace: str = '') -> None:
        super().__init__('state_watch', namespace)
        self._states = dict.fromkeys(nodes, UNKNOWN)
        self._changed = threading.Condition()
        self._pending: dict[str, Any] = {}
        self._clients = {
            name: self.node.create_client(GetState, f'{name}/get_state') for name in nodes
        }
        self.node.create_timer(PERIOD_S, self._ask)
        self.start()

    def states(self) -> dict[str, str]:
        """Return node -> state label such as 'active'."""
        return dict(self._states)

    def wait(self, condition: Callable[[dict[str, str]], bool], timeout: float) -> bool:
        """Return whether the states fulfilled ``condition`` within ``timeout`` [s]."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.states()), timeout)

    def _ask(self) -> None:
        for name, client in self._clients.items():
            ready = client.service_is_ready()
            # A request that a dying node took is never answered. Neither is one whose answer went
            # out before the node had discovered this client, so it is asked again.
            if name in self._pending:
                pending, asked = self._pending[name]
                if ready and time.monotonic() - asked < ANSWER_TIMEOUT_S:
                    continue
                del self._pending[name]
                client.remove_pending_request(pending)
            if not ready:
                self._set(name, UNKNOWN)
                continue
            future = client.call_async(GetState.Request())
            self._pending[name] = (future, time.monotonic())
            future.add_done_callback(partial(self._answer, name))

    def _answer(self, name: str, future: Any) -> None:
        self._pending.pop(name, None)
        answer = future.result()
        if answer is not None:
            self._set(name, answer.current_state.label)

    def _set(self, name: str, state: str) -> None:
        with self._changed:
            self._states[name] = state
            self._changed.notify_all()
