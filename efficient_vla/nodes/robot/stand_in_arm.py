# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An arm that is known by its joints alone, behind the stand-in of a trajectory controller."""

import io
from typing import Any

import numpy as np
from PIL import Image as Picture
from sensor_msgs.msg import CompressedImage

from efficient_vla.nodes.base.conversions import array_to_image, seconds_to_stamp
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.liveliness import offer_liveliness
from efficient_vla.nodes.base.pictures import image_type
from efficient_vla.nodes.base.qos import image_qos
from efficient_vla.nodes.robot.drivers.stand_in import DriverStandIn
from efficient_vla.sim.drivers.description import Driver
from efficient_vla.sim.drivers.settings import StandInSettings

SIDE = 96
"""Of the square picture [px]."""
TURNS = 4.0
"""How much faster than a joint its bar goes, so that the least motion is seen."""


class StandInArmNode(ManagedNode[StandInSettings]):
    """Joints that are where their driver wants them, and a picture that shows where."""

    def __init__(self, **options: Any) -> None:
        super().__init__('arm_stand_in', StandInSettings, **options)
        offer_liveliness(self)
        self._driver: DriverStandIn | None = None
        self._place: np.ndarray = np.zeros(0)
        self._timers: list[Any] = []
        self._cameras = {
            topic: self.create_lifecycle_publisher(self._kind(topic), topic, image_qos())
            for topic in self.settings.camera_topics
        }

    def setup(self) -> None:
        """Put the joints where they start, and a driver before them."""
        settings = self.settings
        self._place = np.zeros(len(settings.names)) + settings.home
        driver = Driver(joints=settings.names, controller=settings.controller)
        self._driver = DriverStandIn(self, driver, 1 / settings.rate)

    def start(self) -> None:
        """Let time run."""
        self._timers = [
            self.create_timer(1 / self.settings.rate, self._step),
            self.create_timer(1 / self.settings.camera_rate, self._show),
        ]

    def stop(self) -> None:
        """Let time stand."""
        while self._timers:
            self.destroy_timer(self._timers.pop())

    def teardown(self) -> None:
        """Take the driver back."""
        if self._driver is not None:
            self._driver.close()
        self._driver = None

    def report(self) -> dict[str, Any]:
        """Return where the joints are."""
        return dict(zip(self.settings.names, self._place.tolist(), strict=True))

    def _kind(self, topic: str) -> type:
        return image_type(self.resolve_topic_name(topic), '', ())

    def _step(self) -> None:
        if self._driver is not None:
            self._place = self._driver.update(self.seconds(), self._place)

    def _show(self) -> None:
        stamp, pixels = self.seconds(), picture(self._place)
        for topic, publisher in self._cameras.items():
            message: Any = array_to_image(pixels, stamp, 'camera')
            if self._kind(topic) is CompressedImage:
                message = compressed(pixels, stamp)
            publisher.publish(message)


def picture(place: np.ndarray) -> np.ndarray:
    """Return a bar a joint, uint8 rgb, [SIDE, SIDE, 3], whose length is the joint's place."""
    pixels = np.full((SIDE, SIDE, 3), 60, np.uint8)
    high = max(SIDE // max(len(place), 1), 1)
    for number, share in enumerate(np.sin(TURNS * place) / 2 + 0.5):
        pixels[number * high : (number + 1) * high - 1, : 1 + round(share * (SIDE - 1))] = 200
    return pixels


def compressed(pixels: np.ndarray, stamp: float) -> CompressedImage:
    """Return a png message of uint8 rgb, [rows, columns, 3]."""
    data = io.BytesIO()
    Picture.fromarray(pixels).save(data, 'PNG')
    message = CompressedImage(format='rgb8; png compressed bgr8', data=data.getvalue())
    message.header.stamp = seconds_to_stamp(stamp)
    return message
