# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Cameras that send one and the same image while the robot moves."""

import numpy as np

FROZEN_S = 1.0
"""A camera that shows the same for so long while the robot moves is frozen: no two exposures of a
sensor are alike in every byte."""
MOVED = 0.02
"""A robot has moved when a joint or axis has gone so far [rad or m]."""


class FrozenCameras:
    """Compare images byte by byte, and how far the robot went since they last changed."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[np.ndarray, float]] = {}
        self._places: dict[str, dict[tuple[str, ...], np.ndarray]] = {}
        """Where each driver's joints were when the image of a camera last changed."""
        self._now: dict[tuple[str, ...], np.ndarray] = {}

    def move(self, names: tuple[str, ...], position: np.ndarray) -> None:
        """Take in where the robot is; drivers that share the topic are told by their names."""
        if len(position) == len(names) and np.isfinite(position).all():
            self._now[names] = position

    def see(self, images: dict[str, np.ndarray], stamp: float) -> str:
        """Return which camera is frozen at ``stamp`` [s], or an empty string."""
        frozen = []
        for camera, image in images.items():
            last, since = self._last.get(camera, (None, stamp))
            if last is None or since > stamp or not np.array_equal(last, image):
                self._last[camera] = image, stamp
                self._places[camera] = dict(self._now)
            elif stamp - since >= FROZEN_S and self._moved_since(camera):
                frozen.append(camera)
        if not frozen:
            return ''
        return (
            f'{", ".join(frozen)} has sent the same image for {FROZEN_S} s or longer while the '
            'robot moved. Restart the camera, or switch off what repeats its last image.'
        )

    def _moved_since(self, camera: str) -> bool:
        places = self._places[camera]
        return any(
            np.abs(position - places.setdefault(names, position)).max(initial=0.0) > MOVED
            for names, position in self._now.items()
        )
