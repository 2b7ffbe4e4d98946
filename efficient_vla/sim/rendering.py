# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a MuJoCo model looks like to a fixed camera, now or in a copied state."""

import atexit

import mujoco
import numpy as np

from efficient_vla.sim.settings import RENDERINGS

SNAPSHOT = mujoco.mjtState.mjSTATE_INTEGRATION
"""What a snapshot holds: all that the physics of the next step depend on."""


def snapshot(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """Copy the physics state, so that another thread may render it; takes microseconds."""
    state = np.empty(mujoco.mj_stateSize(model, SNAPSHOT))
    mujoco.mj_getState(model, data, state, SNAPSHOT)
    return state


class ModelCamera:
    """A camera of a model; all that renders comes from one thread."""

    def __init__(self, model: mujoco.MjModel, name: str, rendering: str, size: int) -> None:
        """Take images of ``size`` x ``size`` px; 'fast' has no shadows and no MSAA."""
        if rendering not in RENDERINGS:
            raise ValueError(f'unknown rendering {rendering!r}; expected one of {RENDERINGS}.')
        self.model, self.name, self.rendering, self.size = model, name, rendering, size
        self.renderer: mujoco.Renderer | None = None
        self._shown: mujoco.MjData | None = None

    def image(self, data: mujoco.MjData) -> np.ndarray:
        """Return the image of a physics state, uint8 [size, size, 3], rgb."""
        if self.renderer is None:
            self.renderer = _make_renderer(self.model, self.rendering, self.size)
            # The GL context must go before MuJoCo's own exit handler, registered just now, runs.
            atexit.register(self.renderer.close)
        self.renderer.update_scene(data, camera=self.name)
        return self.renderer.render()

    def image_of(self, state: np.ndarray) -> np.ndarray:
        """Return the image of what ``snapshot`` copied."""
        if self._shown is None:
            self._shown = mujoco.MjData(self.model)
        mujoco.mj_setState(self.model, self._shown, state, SNAPSHOT)
        mujoco.mj_forward(self.model, self._shown)
        return self.image(self._shown)

    def close(self) -> None:
        """Free the rendering context, in the thread that rendered."""
        if self.renderer is not None:
            atexit.unregister(self.renderer.close)
            self.renderer.close()
            self.renderer = None


def _make_renderer(model: mujoco.MjModel, rendering: str, size: int) -> mujoco.Renderer:
    samples = model.vis.quality.offsamples
    if rendering == 'fast':
        model.vis.quality.offsamples = 0
    try:
        renderer = mujoco.Renderer(model, height=size, width=size)
    finally:
        model.vis.quality.offsamples = samples
    if rendering == 'fast':
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
    return renderer
