# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the cameras look: CameraInfo and tf2 instead of a projection that is written down."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import CameraInfo

from efficient_vla.nodes.base.conversions import stamp_to_seconds
from efficient_vla.nodes.base.frames import Transforms, projection
from efficient_vla.nodes.base.qos import image_qos
from efficient_vla.types import InvalidRecordError

if TYPE_CHECKING:
    from efficient_vla.nodes.stages.reasoner import ReasonerNode

RULE = 'camera_info'
SAME = 1e-4
"""A projection that differs by less is the one before [share of the image]."""


class CameraCalibration:
    """Follow the topics in ``camera_infos``; tell each projection that is new.

    A camera that nothing is known of yet has zeros. One that moves is told anew as it moves, by
    ``projection`` [12 a camera], before ``told`` is called.
    """

    def __init__(self, node: 'ReasonerNode', told: Callable[[], None]) -> None:
        self._node = node
        self._told = told
        self._frames = Transforms(node)
        self._matrices = np.zeros((len(node.settings.camera_infos), 12))
        self.projection: tuple[float, ...] | None = None
        for number, topic in enumerate(node.settings.camera_infos):
            self._follow(number, topic)

    def close(self) -> None:
        """Listen to no transforms any more."""
        self._frames.close()

    def _follow(self, number: int, topic: str) -> None:
        def received(message: CameraInfo) -> None:
            expected.heard(stamp_to_seconds(message.header.stamp))
            self._take(number, message)

        expected = self._node.follow(
            CameraInfo, topic, image_qos(), received, lambda: self._node.tasked, False
        )

    def _take(self, number: int, info: CameraInfo) -> None:
        settings, stamp = self._node.settings, stamp_to_seconds(info.header.stamp)
        try:
            camera = self._frames.pose(
                settings.base_frame, info.header.frame_id, stamp, settings.joint_age
            )
            matrix = projection(info, camera).ravel()
        except InvalidRecordError as error:
            self._node.health.warn(RULE, str(error))
            return
        self._node.health.clear(RULE)
        if np.abs(matrix - self._matrices[number]).max() > SAME:
            self._matrices[number] = matrix
            self.projection = tuple(self._matrices.ravel().tolist())
            self._told()
