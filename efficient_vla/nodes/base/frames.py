# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where tool and cameras are, from tf2, for nodes whose parameters name their frames."""

from typing import Any

import numpy as np
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo

from efficient_vla.columns import POSITION
from efficient_vla.nodes.base.conversions import stamp_to_seconds
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import QUATERNION, InvalidRecordError

POSE = (*POSITION, *QUATERNION)
"""Columns of a state that are the tool's pose in the base frame [m], and a unit quaternion whose qw
is not negative."""


class Transforms:
    """The transforms that drivers publish, heard through ``node``."""

    def __init__(self, node: Any) -> None:
        """Listen; raises ``InvalidSettingError`` where tf2 is not installed."""
        try:
            # Wheels of ROS 2 lack it.
            from tf2_ros import Buffer, TransformListener
        except ImportError as error:
            raise InvalidSettingError(
                f'tool_frame or camera_infos is set and tf2_ros cannot be imported: {error}. '
                'Install it (apt-get install ros-$ROS_DISTRO-tf2-ros-py) or leave them empty.'
            ) from error
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)

    def close(self) -> None:
        """Listen no more."""
        self._listener.unregister()

    def pose(self, base: str, frame: str, stamp: float, max_age: float) -> np.ndarray:
        """Return the newest pose [7] of ``frame`` in ``base``, at most ``max_age`` off ``stamp``.

        Times are in seconds; a static one has no age. Raises ``InvalidRecordError``.
        """
        try:
            # The newest: at the time of a joint state that just came, none is there yet.
            found = self._buffer.lookup_transform(base, frame, Time())
        except Exception as error:  # of tf2, which raises kinds of its own
            raise InvalidRecordError(
                f'tf2 has no transform from {base} to {frame}: {error}. Start '
                'robot_state_publisher, or correct base_frame and tool_frame.'
            ) from error
        age = stamp - stamp_to_seconds(found.header.stamp)
        if stamp_to_seconds(found.header.stamp) and abs(age) > max_age:
            raise InvalidRecordError(
                f'the transform from {base} to {frame} is {age:.3f} s older than robot_state; '
                f'expected at most {max_age} s. Is robot_state_publisher running?'
            )
        place, turn = found.transform.translation, found.transform.rotation
        quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
        norm = np.linalg.norm(quaternion)
        pose = np.array([place.x, place.y, place.z, *quaternion])
        if not np.isfinite(pose).all() or abs(norm - 1) > 1e-3:
            raise InvalidRecordError(
                f'the transform from {base} to {frame} is {pose.tolist()}; expected finite numbers '
                'and a unit quaternion. Check its publisher.'
            )
        pose[3:] /= np.copysign(norm, quaternion[3])
        return pose


def projection(info: CameraInfo, camera: np.ndarray) -> np.ndarray:
    """Return [3, 4]: from (x, y, z, 1) [m] in a frame to (u w, v w, w), u and v from 0 to 1.

    ``camera`` [7] is the pose of the camera's optical frame there. Lens distortion is left out.
    Raises ``InvalidRecordError`` for a camera that is not calibrated.
    """
    matrix = np.array(info.p, np.float64).reshape(3, 4)[:, :3]
    if not matrix[0, 0]:
        matrix = np.array(info.k, np.float64).reshape(3, 3)
    if not (np.isfinite(matrix).all() and matrix[0, 0] > 0 and info.width and info.height):
        raise InvalidRecordError(
            f'camera_info of {info.header.frame_id!r} has focal length {matrix[0, 0]} and images '
            f'of {info.width}x{info.height}; expected those of a calibrated camera. Calibrate it.'
        )
    # The transposed matrix of the quaternion, from the base to the camera.
    x, y, z, w = camera[3:]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = (np.eye(3) + 2 * w * cross + 2 * cross @ cross).T
    view = np.column_stack([turn, -turn @ camera[:3]])
    scaled: np.ndarray = np.diag([1 / info.width, 1 / info.height, 1.0]) @ matrix @ view
    return scaled
