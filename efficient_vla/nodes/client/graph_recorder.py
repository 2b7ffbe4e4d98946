# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Records what flows in a running graph: images, the robot's states and its commands."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import Image, JointState

from efficient_vla.errors import EpisodeError
from efficient_vla.nodes.base import qos
from efficient_vla.nodes.base.conversions import image_to_array, joint_values, stamp_to_seconds
from efficient_vla.nodes.base.onlooker import Onlooker
from efficient_vla.records import SentEpisode
from efficient_vla.sim.interface import Simulation
from efficient_vla.types import InvalidRecordError

STATE_QUEUE = 200
"""Some seconds of states and commands, which are reliable; a recorder must not miss one."""


class GraphRecorder(Onlooker):
    """Subscribes to camera, ``robot_state`` and ``command``; messages arrive in its own thread."""

    def __init__(self, simulation: Simulation, namespace: str = '') -> None:
        """Record the columns of states and commands that this robot has."""
        super().__init__('graph_recorder', namespace)
        self._simulation = simulation
        self._lock = threading.Lock()
        self._flow: SentEpisode | None = None
        self._wrong = ''
        profile = qos.state_qos()
        profile.depth = STATE_QUEUE
        subscribe = self.node.create_subscription
        subscribe(Image, 'camera/image_raw', self._on_image, qos.image_qos())
        subscribe(JointState, 'robot_state', self._on_state, profile)
        subscribe(JointState, 'command', self._on_command, profile)

    def start_recording(self) -> None:
        """Forget what was heard and record from now on."""
        with self._lock:
            self._flow, self._wrong = SentEpisode(), ''

    def stop_recording(self) -> SentEpisode:
        """Return what was heard since ``start_recording``.

        Raises ``EpisodeError`` where a message was not what this robot sends.
        """
        with self._lock:
            flow, self._flow = self._flow, None
        if self._wrong:
            raise EpisodeError(self._wrong)
        return flow or SentEpisode()

    def _on_image(self, message: Any) -> None:
        self._keep('images', message, image_to_array)

    def _on_state(self, message: Any) -> None:
        names = self._simulation.state_names
        self._keep('states', message, lambda sent: joint_values(sent, names))

    def _on_command(self, message: Any) -> None:
        self._keep('commands', message, self._command)

    def _command(self, message: Any) -> np.ndarray:
        """Return set-points, then efforts: 0 before the first chunk asks for one."""
        given = set(message.name)
        efforts = [name for name in self._simulation.effort_names if name in given]
        values = joint_values(message, (*self._simulation.setpoint_names, *efforts))
        missing = len(self._simulation.command_names) - len(values)
        return np.append(values, np.zeros(missing))

    def _keep(self, kind: str, message: Any, read: Callable[[Any], np.ndarray]) -> None:
        with self._lock:
            if self._flow is None or self._wrong:
                return
            try:
                value = read(message)
            except InvalidRecordError as error:
                self._wrong = str(error)
                return
            getattr(self._flow, kind).append((stamp_to_seconds(message.header.stamp), value))
