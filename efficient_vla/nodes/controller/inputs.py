# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the controller hears and what it waits for."""

import math
from collections.abc import Callable

from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from efficient_vla import msg
from efficient_vla.bringup.catalogue import NODES
from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.control.controller import Controller
from efficient_vla.control.state import State
from efficient_vla.nodes.base.bounded import Callback, Inlet
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.qos import chunk_qos, latched_qos, newest_qos, state_qos
from efficient_vla.nodes.base.waiting import PATIENCE_S, Expectation
from efficient_vla.nodes.controller.messages import received

MAX_CHUNK_BYTES = 128 * 1024
"""More than the longest chunk of a robot with 60 columns."""
MAX_STATE_BYTES = 64 * 1024
FEEDERS = tuple(name for name in NODES if name not in ('controller', 'monitor'))
"""Nodes without which no good chunk can come."""


def make_inlet(
    node: ManagedNode[ControllerNodeSettings],
    state: Callback,
    chunk: Callback,
    success: Callable[[Bool], None],
) -> Inlet:
    """Return the topics that the controller hears, not started yet."""
    inlet = Inlet(node)
    inlet.subscribe(JointState, 'robot_state', state, state_qos(), MAX_STATE_BYTES)
    inlet.subscribe(
        msg.ActionChunk,
        'action_chunk',
        chunk,
        chunk_qos(),
        MAX_CHUNK_BYTES,
        waits=True,
        prepare=received,
    )
    inlet.subscribe(
        Bool, 'task_success', lambda message, _: success(message), latched_qos(), MAX_STATE_BYTES
    )
    return inlet


def expect_state(node: ManagedNode[ControllerNodeSettings]) -> Expectation:
    """Wait for the robot's state, as often as ``state_timeout`` says."""
    limit = node.settings.state_timeout
    return node.waiting.expect(
        'robot_state',
        JointState,
        state_qos(),
        needed=lambda: node.active,
        patience=max(limit, PATIENCE_S) if limit else math.inf,
    )


def expect_chunks(
    node: ManagedNode[ControllerNodeSettings], controller: Callable[[], Controller | None]
) -> Expectation:
    """Wait for chunks while the robot is to move and has nothing to follow."""

    def idle() -> bool:
        core = controller()
        return core is not None and core.state in (State.WAITING, State.HOLDING)

    return node.waiting.expect('action_chunk', msg.ActionChunk, newest_qos(), needed=idle)
