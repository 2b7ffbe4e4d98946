# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Limits from the URDF that ``robot_state_publisher`` offers."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter
from rclpy.wait_for_message import wait_for_message
from std_msgs.msg import String

from efficient_vla.bringup.robot_limits import completed, limited
from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.control.robot_limits.urdf import refuse_longer
from efficient_vla.nodes.base.parameters import start_up_values
from efficient_vla.nodes.base.qos import latched_qos
from efficient_vla.settings import InvalidSettingError, flatten

if TYPE_CHECKING:
    from efficient_vla.nodes.controller.node import ControllerNode

PATIENCE_S = 5.0


class DescriptionTopic:
    """The description on ``robot_description_topic``, read each time the node is configured."""

    def __init__(self, node: 'ControllerNode') -> None:
        self._node = node
        self._taken: dict[str, Any] = {}
        self.text = ''
        """The newest description that came; empty: none did."""

    def taken(self, settings: ControllerNodeSettings) -> ControllerNodeSettings:
        """Return ``settings`` with the limits of the robot, which become parameters, too.

        What the profile sets, or somebody set since, stays. Raises ``InvalidSettingError`` where
        no description comes, or it says too little.
        """
        topic = settings.robot_description_topic
        if not topic:
            return settings
        found, message = wait_for_message(
            String, self._node, topic, qos_profile=latched_qos(), time_to_wait=PATIENCE_S
        )
        if not found:
            raise InvalidSettingError(
                f'no description came on {topic} within {PATIENCE_S:g} s; expected a URDF of '
                'robot_state_publisher. Start it, then configure the controller again.'
            )
        refuse_longer(f'the description on {topic}', len(message.data))
        self.text = message.data
        values = flatten(settings)
        given = start_up_values(self._node)
        own = {
            name: value
            for name, value in values.items()
            if not limited(name) or name in given or self._taken.get(name, value) != value
        }
        whole = completed(own, message.data)
        self._taken = {name: value for name, value in whole.items() if name.startswith('limits.')}
        results = self._node.set_parameters(
            [Parameter(name, value=list(value)) for name, value in self._taken.items()]
        )
        reasons = [result.reason for result in results if not result.successful]
        if reasons:
            raise InvalidSettingError(reasons[0])
        return replace(self._node.settings, continuous=whole.get('continuous', ()))
