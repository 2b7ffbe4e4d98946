# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The camera calibration in the profile of the simulated robot is that of its camera."""

import mujoco
import numpy as np
import pytest
import yaml

from efficient_vla.bringup.settings import ReasonerNodeSettings
from efficient_vla.settings import build
from efficient_vla.sim.metaworld.scene import CAMERA, MetaWorldSim
from package_files import ROOT

SIZE = 240
POSES = ((0.0, 0.6, 0.2), (-0.3, 0.75, 0.35), (0.3, 0.8, 0.1), (0.2, 0.5, 0.3))
GRIPPER = ('rightpad', 'leftpad', 'rightclaw', 'leftclaw')
"""Bodies of the fingers."""
NEAR_PIXELS = 4


@pytest.fixture(scope='module')
def sim():
    sim = MetaWorldSim('drawer-open-v3', 'fast', size=SIZE)
    yield sim
    sim.close()


@pytest.fixture(scope='module')
def projection() -> np.ndarray:
    """Return the matrix of the profile, [3, 4], as the node takes it."""
    profile = yaml.safe_load((ROOT / 'config/robots/metaworld.yaml').read_text())
    given = profile['/**']['reasoner']['ros__parameters']['pruning']['protect']['projection']
    name = 'pruning.protect.projection'
    settings = build(ReasonerNodeSettings, {name: given, 'pruning.protect.end_effector': True})
    return np.reshape(settings.pruning.protect.projection, (3, 4))


def project(matrix: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return u, v from 0 to 1."""
    u, v, depth = matrix @ np.append(point, 1.0)
    assert depth > 0
    return np.array([u, v]) / depth


def move(sim: MetaWorldSim, target: tuple, gripper: float) -> None:
    sim.reset(0)
    for _ in range(80):
        sim.step(np.append(target, gripper))


def by_the_simulator(sim: MetaWorldSim, point: np.ndarray) -> np.ndarray:
    """Return u, v by the matrices that MuJoCo gives to OpenGL, in the image as it is published."""
    sim.render()
    eyes = sim.camera.renderer.scene.camera
    forward = np.mean([eye.forward for eye in eyes], 0)
    up = np.mean([eye.up for eye in eyes], 0)
    position = np.mean([eye.pos for eye in eyes], 0)
    offset = point - position
    along = offset @ forward
    # At the near plane the frustum is 2 * half_width wide, and as high, since images are square.
    half = (eyes[0].frustum_top - eyes[0].frustum_bottom) / 2 / eyes[0].frustum_near
    right = np.cross(forward, up)
    u, v = 0.5 + offset @ right / along / half / 2, 0.5 - offset @ up / along / half / 2
    return np.array([1 - u, 1 - v])


def test_projection_is_that_of_the_simulators_camera(sim, projection):
    sim.reset(0)
    for point in np.random.default_rng(0).uniform([-0.5, 0.4, 0.0], [0.5, 0.95, 0.5], (20, 3)):
        expected = by_the_simulator(sim, point)
        assert project(projection, point) == pytest.approx(expected, abs=0.1 / SIZE)


@pytest.mark.parametrize('pose', POSES)
@pytest.mark.parametrize('gripper', [-1.0, 1.0])
def test_projected_state_hits_the_gripper_in_the_image(sim, projection, pose, gripper):
    move(sim, pose, gripper)
    sim.render()
    renderer = sim.camera.renderer
    renderer.enable_segmentation_rendering()
    try:
        renderer.update_scene(sim.env.data, camera=CAMERA)
        ids = renderer.render()[::-1, ::-1]
    finally:
        renderer.disable_segmentation_rendering()
    model = sim.env.model
    fingers = {model.body(name).id for name in GRIPPER}
    owners = np.where(ids[:, :, 1] == mujoco.mjtObj.mjOBJ_GEOM, ids[:, :, 0], -1)
    seen = np.isin(owners, [g for g in range(model.ngeom) if model.geom_bodyid[g] in fingers])
    rows, columns = np.nonzero(seen)
    u, v = project(projection, sim.state()[:3]) * SIZE
    # Between open fingers there is the table; their hull is the gripper.
    assert columns.min() - NEAR_PIXELS <= u <= columns.max() + NEAR_PIXELS
    assert rows.min() - NEAR_PIXELS <= v <= rows.max() + NEAR_PIXELS
    assert np.hypot(np.ptp(rows), np.ptp(columns)) < SIZE / 5
