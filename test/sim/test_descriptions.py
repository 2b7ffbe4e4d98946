# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Descriptions of the simulated arms agree with the simulator, and chunks of the tool move them."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from efficient_vla.control.controller import Controller
from efficient_vla.control.kinematics.kinematics import Kinematics
from efficient_vla.control.kinematics.loading import load_model
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.settings import build
from efficient_vla.sim.arms.experts import ArmExpert
from efficient_vla.sim.arms.scene import ArmScene
from efficient_vla.sim.catalogue import simulation
from efficient_vla.types import ActionChunk, ControlMode
from package_files import ROOT

ARMS = ('so101', 'ur5e', 'panda')


def scene_of(robot: str, task: str = 'reach') -> ArmScene:
    made = simulation(robot).make(task, 'fast', 32)
    assert isinstance(made, ArmScene)
    return made


def model_of(robot: str) -> Kinematics:
    text = (ROOT / 'config' / 'robots' / f'{robot}.urdf').read_text()
    return Kinematics(text, simulation(robot).command_names)


@pytest.mark.parametrize('robot', ARMS)
def test_the_tool_is_where_the_simulator_has_it(robot: str) -> None:
    scene, model = scene_of(robot), model_of(robot)
    low, high = (ends[:-1] for ends in scene.workspace)
    site = scene.data.site(scene.arm.tool)
    for joints in np.random.default_rng(0).uniform(low, high, (20, len(low))):
        scene.data.qpos[scene._positions[:-1]] = joints
        mujoco.mj_kinematics(scene.model, scene.data)
        place = model.arm.place(joints)
        np.testing.assert_allclose(place.translation, site.xpos, atol=1e-6)
        np.testing.assert_allclose(place.rotation.ravel(), site.xmat, atol=1e-6)
    np.testing.assert_allclose(model.arm.low, low, atol=1e-3)
    np.testing.assert_allclose(model.arm.high, high, atol=1e-3)


@pytest.mark.parametrize('robot', ARMS)
def test_experts_do_not_touch_themselves(robot: str) -> None:
    scene, model = scene_of(robot), model_of(robot)
    scene.reset(1000)
    expert = ArmExpert(scene, 0.8)
    while not scene.done:
        command = expert.command()
        scene.step(command)
        assert model.refuse(command) is None


def test_a_stream_of_displacements_draws_a_straight_line_with_the_arm() -> None:
    scene = scene_of('ur5e')
    scene.reset(0)
    names = simulation('ur5e').command_names
    settings = build(
        ControllerSettings,
        {
            'rate': 50.0,
            'limits.max_velocity': (3.14,),
            'limits.max_acceleration': (20.0,),
            'limits.max_jerk': (1000.0,),
            'kinematics.description': 'robots/ur5e.urdf',
        },
    )
    model = load_model(settings, names)
    controller = Controller(settings, names, model=model)
    controller.reset(scene.setpoint(), 0.0)
    assert controller.enable(0.0) is None
    way = np.array([0.0, 0.004, -0.002])
    rows = np.tile([*way, 0.0], (25, 1)).astype(np.float32)
    first = ActionChunk(rows, 0.02, ('x', 'y', 'z', 'jaw'), ControlMode.EE_DELTA, 0.0)
    for _ in range(50):
        scene.step(scene.setpoint())  # It begins without what its servos sag.
    path = [scene.data.site(scene.arm.tool).xpos.copy()]
    for tick in range(60):
        now = 0.02 * tick
        if tick % 10 == 0:
            assert controller.accept(replace(first, stamp=now, sequence=tick + 1), now) is None
        scene.step(controller.tick(now + 0.02).position)
        path.append(scene.data.site(scene.arm.tool).xpos.copy())
    gone = np.array(path) - path[0]
    along = way / np.linalg.norm(way)
    assert gone[-1] @ along > 0.15
    assert np.linalg.norm(gone - np.outer(gone @ along, along), axis=1).max() < 2e-3
