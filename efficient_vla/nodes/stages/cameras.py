# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera subscriptions: images of all cameras of a policy, joined to one set."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from efficient_vla.bringup.settings import camera_topic
from efficient_vla.nodes.base.conversions import refuse_future, stamp_to_seconds
from efficient_vla.nodes.base.history import overtaken
from efficient_vla.nodes.base.pictures import image_type, pixels_of
from efficient_vla.nodes.base.qos import camera_qos
from efficient_vla.nodes.base.source import SOURCE_S, OneSource
from efficient_vla.nodes.stages.matching import Matcher, misnamed
from efficient_vla.types import InvalidRecordError

if TYPE_CHECKING:
    from efficient_vla.nodes.stages.stage import StageNode

RULE = 'image'


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images of all cameras from about one moment."""

    images: dict[str, np.ndarray]
    stamp: float
    """Capture time of the oldest image [s]."""
    transport_ms: float
    """Time from publication to callback of the image that completed the set."""


class Cameras:
    """Subscribe to the cameras of a policy and hand over each complete set of images.

    ``camera_topics`` names the topic of each, by default ``NAME/image_raw``, and
    ``camera/image_raw`` of a policy with one camera.
    ``needed`` says whether a camera that stays away is missed.
    """

    def __init__(
        self,
        node: 'StageNode[Any, Any, Any]',
        names: tuple[str, ...],
        received: Callable[[ImageSet], None],
        needed: Callable[[], bool],
    ) -> None:
        self.names = names
        self._node = node
        self._received = received
        self._waiting = Matcher(names)
        self._newest: dict[str, float] = {}
        for name in names:
            self._subscribe(name, needed)

    def clear(self) -> None:
        """Forget all images."""
        self._waiting.clear()
        self._newest.clear()

    def _subscribe(self, name: str, needed: Callable[[], bool]) -> None:
        settings = self._node.settings
        topic = camera_topic(settings.camera_topics, self.names, name)
        kind = image_type(self._node.resolve_topic_name(topic), name, settings.compressed_cameras)
        source = OneSource(self._node, topic, 'images')

        def callback(message: Any, info: Any) -> None:
            if self._node.active and source.admit(info, self._node.seconds(), SOURCE_S):
                expected.heard(stamp_to_seconds(message.header.stamp))
                self._take(name, message, transport_ms(info))

        expected = self._node.follow(kind, topic, camera_qos(), callback, needed)

    def _take(self, name: str, message: Any, transport: float) -> None:
        now = self._node.seconds()
        try:
            pixels = pixels_of(message)
            stamp = stamp_to_seconds(message.header.stamp)
            refuse_future('image', stamp, now, self._node.settings.max_future)
            self._refuse_misnamed(name, message.header.frame_id)
        except InvalidRecordError as error:
            self._node.health.error(RULE, f'{name}: {error}')
            return
        if name in self._newest and overtaken(stamp, self._newest[name]):
            return
        self._newest[name] = stamp
        self._waiting.add(name, stamp, pixels)
        slop = self._node.settings.camera_skew
        found, late = self._waiting.match(slop)
        if late:
            self._node.health.error(
                RULE,
                f'of the cameras {", ".join(self.names)}, {late}; expected at most camera_skew '
                f'{slop} s. Synchronise the cameras.',
            )
        if found is None:
            return
        self._node.health.clear(RULE)
        images = {camera: image for camera, (_, image) in found.items()}
        oldest = min(found.values(), key=lambda item: item[0])[0]
        self._received(ImageSet(images, oldest, transport))

    def _refuse_misnamed(self, name: str, frame: str) -> None:
        other = misnamed(frame, name, self.names)
        if other:
            raise InvalidRecordError(
                f'images have frame_id {frame!r}, which names the camera {other}; expected those '
                f'of {name}. Their topics are likely swapped: correct camera_topics, or the '
                'frame_id that the driver of the camera stamps.'
            )


def transport_ms(info: Any) -> float:
    """Return the time from publication to callback [ms] from rclpy's message info."""
    return max(time.time_ns() - info['source_timestamp'], 0) / 1e6
