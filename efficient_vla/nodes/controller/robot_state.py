# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A joint state of the robot as what the control core knows of where it is."""

from sensor_msgs.msg import JointState

from efficient_vla.control.limits import AxisLimits
from efficient_vla.control.whereabouts import Whereabouts
from efficient_vla.nodes.base.conversions import joint_values


def read_state(
    watch: Whereabouts, message: JointState, stamp: float, now: float, limits: list[AxisLimits]
) -> None:
    """Take a state of ``stamp`` that came at ``now`` [s].

    A robot reports ``setpoint_NAME`` beside its measured position, or its position alone. Raises
    ``InvalidRecordError`` for a bad one, ``AbsentNamesError`` for one of other joints.
    """
    named = [f'setpoint_{name}' for name in watch.names]
    measured = joint_values(message, watch.names)
    reported = joint_values(message, named) if named[0] in message.name else None
    watch.read(measured, reported, stamp, now, limits)
