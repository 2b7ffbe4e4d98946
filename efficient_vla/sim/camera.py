# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Renders the simulated camera in a thread of its own, so that physics stays on time.

The thread keeps the GL context and renders copies of the physics state. A new copy replaces one
that still waits: a slow rendering lowers the camera's rate and never its freshness.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from efficient_vla.sim.interface import Scene
from efficient_vla.worker import LatestWorker

Deliver = Callable[[float, np.ndarray, float], None]
"""Takes capture stamp [s], image [rows, columns, 3] and rendering time [ms]."""


@dataclass(frozen=True, slots=True)
class _Job:
    sim: Scene
    snapshot: np.ndarray
    stamp: float
    scene: int


class CameraWorker:
    """A render thread with room for one waiting frame."""

    def __init__(self, deliver: Deliver, failed: Callable[[Exception], None]) -> None:
        """``deliver`` and ``failed`` are called in the render thread."""
        self._deliver = deliver
        self._scene = 0
        self._rendering = threading.Lock()
        self._shown: Scene | None = None
        self.worker = LatestWorker('camera', self._render, failed)

    def capture(self, sim: Scene, stamp: float) -> None:
        """Queue the present state of ``sim``; called by the physics thread."""
        self.worker.submit(_Job(sim, sim.snapshot(), stamp, self._scene))

    def prepare(self, sim: Scene, timeout: float) -> None:
        """Make the GL context of a new scene, which takes a second in which nothing else runs."""
        self.worker.call(lambda: self._show(sim))
        self.worker.wait_idle(timeout)

    @contextmanager
    def scene_change(self) -> Iterator[None]:
        """Keep the renderer away while the model changes; no image of the old scene follows."""
        with self._rendering:
            self.worker.discard()
            self._scene += 1
            yield

    def stop(self, timeout: float) -> None:
        """Free the GL context and end the thread; return after about ``timeout`` [s] at most."""
        self.worker.discard()
        self.worker.call(self._close)
        self.worker.wait_idle(timeout)
        self.worker.stop(timeout)

    def _render(self, job: _Job) -> None:
        with self._rendering:
            if job.scene != self._scene:
                return
            self._show(job.sim)
            start = time.perf_counter()
            image = job.sim.render_snapshot(job.snapshot)
            elapsed_ms = (time.perf_counter() - start) * 1e3
            self._deliver(job.stamp, image, elapsed_ms)

    def _show(self, sim: Scene) -> None:
        if self._shown is not sim:
            self._close()
            self._shown = sim
            sim.render_snapshot(sim.snapshot())

    def _close(self) -> None:
        # A context may only be freed by the thread that made it.
        if self._shown is not None:
            self._shown.close()
        self._shown = None
