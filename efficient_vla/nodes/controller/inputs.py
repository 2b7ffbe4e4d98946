# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the controller waits for."""

import math
from collections.abc import Callable

from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.control.controller import Controller
from efficient_vla.control.state import State
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.qos import newest_qos, state_qos
from efficient_vla.nodes.base.waiting import PATIENCE_S, Expectation


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
