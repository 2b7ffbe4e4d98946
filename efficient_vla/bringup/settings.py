# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the nodes: the settings of a stage and what its ROS shell adds.

No ROS here, so that the documentation and the command line can read the table without it. The
classes have no slots: Python cannot join two bases that both have some.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from efficient_vla.action.settings import ActorSettings
from efficient_vla.bringup import robot_limits
from efficient_vla.columns import GRIPPER, POSITION, TURNING, axes_of, quaternion_at
from efficient_vla.control.contract import TRANSLATION
from efficient_vla.control.settings import ControllerSettings, axes
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.subtasks.settings import SubtaskSettings
from efficient_vla.settings import NodeSettings, group, setting
from efficient_vla.types import QUATERNION

OUTPUTS = ('command', 'joint_trajectory', 'follow_joint_trajectory', 'forward', 'twist')
STAGE_NODES = ('perception', 'reasoner', 'actor')
GRIPPER_INTERFACES = ('topic', 'gripper_command', 'parallel_gripper')


@dataclass(frozen=True)
class PolicyNodeSettings(NodeSettings):
    """What the three nodes that run a part of the policy have."""

    policy: str = setting(
        'evla-nano', 'Folder of the policy, or the name of a shipped one.', read_only=True
    )
    threads: int = setting(
        1,
        'Threads that one pass may use. More than the free cores disturbs the controller.',
        low=1,
        high=256,
        read_only=True,
    )
    max_future: float = setting(
        0.25,
        'Input stamped later than this after the present is refused: a clock is wrong.',
        unit='s',
        low=0.0,
        high=10.0,
    )
    pass_timeout: float = setting(
        60.0,
        'A pass, a reset or a change of settings that takes longer hangs: its process ends, so '
        'that whoever started it starts it again. 0: never.',
        unit='s',
        low=0.0,
        high=3600.0,
    )
    device_lost: str = setting(
        'restart',
        'What follows where the GPU is lost. restart: the process ends, to be started again; cpu: '
        'the stage is loaded anew on the CPU, which is much slower.',
        choices=('restart', 'cpu'),
    )


def joint_age_setting(locked: bool = False) -> float:
    """Declare how old the joints may be that another message of robot_state tells."""
    return setting(
        0.5,
        'Where drivers report parts of robot_state in messages of their own, each message with the '
        'first joint makes a state, with the newest value of the others; those may be older by so '
        'much.',
        unit='s',
        low=0.001,
        high=10.0,
        locked=locked,
    )


def camera_topics_setting() -> tuple[str, ...]:
    """Declare where the images of a policy's cameras come from."""
    return setting(
        (),
        "Topic of each of the policy's cameras, as camera:=topic; cameras that the policy does not "
        'have are passed over, so that a robot names all of its own. One that is not named is '
        'NAME/image_raw, or camera/image_raw where the policy has one camera.',
        read_only=True,
    )


def compressed_cameras_setting() -> tuple[str, ...]:
    """Declare which cameras send compressed images."""
    return setting(
        (),
        'Cameras of the policy that send sensor_msgs/CompressedImage (jpeg or png) on a topic '
        'whose name does not end in /compressed; on one that does, they always do.',
        read_only=True,
    )


def camera_topic(topics: Sequence[str], cameras: Sequence[str], name: str) -> str:
    """Return the topic of the camera ``name`` of a policy with these ``cameras``."""
    given = dict(word.split(':=') for word in topics)
    return given.get(name) or ('camera/image_raw' if len(cameras) == 1 else f'{name}/image_raw')


def refuse_topics(topics: Sequence[str]) -> str | None:
    """Return why ``camera_topics`` cannot be meant, or ``None``."""
    names = [word.partition(':=')[0] for word in topics]
    whole = all(len(word.split(':=')) == 2 and all(word.split(':=')) for word in topics)
    if whole and len(set(names)) == len(names):
        return None
    return (
        f'camera_topics is {list(topics)}; expected camera:=topic each, no camera twice, for '
        'example wrist:=/wrist_camera/image_raw.'
    )


@dataclass(frozen=True)
class CameraNodeSettings(PolicyNodeSettings):
    """What the nodes that see images have."""

    camera_topics: tuple[str, ...] = camera_topics_setting()
    compressed_cameras: tuple[str, ...] = compressed_cameras_setting()
    camera_skew: float = setting(
        0.1,
        'Images of several cameras make one frame while their capture times differ by no more. '
        'Each is used once: frames come as often as images of the slowest camera.',
        unit='s',
        low=0.0,
        high=10.0,
    )


@dataclass(frozen=True)
class PerceptionNodeSettings(PerceptionSettings, CameraNodeSettings):
    """Parameters of the perception node."""

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        return refuse_topics(self.camera_topics) or super().check()


@dataclass(frozen=True)
class InstructedNodeSettings(PolicyNodeSettings):
    """What the nodes that look at the robot have."""

    joint_names: tuple[str, ...] = setting(
        (),
        'Names that robot_state has for joints that the policy calls otherwise, as name:=joint; '
        'where nothing is said, those of controller.driver.joint_names.',
        read_only=True,
    )
    joint_age: float = joint_age_setting()
    tool_frame: str = setting(
        '',
        "Frame of tf2 whose pose in base_frame is what the policy's state calls x, y, z, qx, qy, "
        'qz and qw, of which it may have some; empty: robot_state tells them.',
        read_only=True,
    )
    base_frame: str = setting(
        'base_link', 'Frame of tf2 in which tool and cameras are.', read_only=True
    )


@dataclass(frozen=True)
class ReasonerNodeSettings(ReasonerSettings, InstructedNodeSettings):
    """Parameters of the reasoner node."""

    camera_infos: tuple[str, ...] = setting(
        (),
        "Topics (sensor_msgs/CameraInfo) of the policy's cameras, in its order: "
        'pruning.protect.projection then follows from them and from the frames of the cameras in '
        'tf2.',
        read_only=True,
    )
    max_rate: float = setting(
        10.0, 'Plans are made no more often than this.', unit='Hz', low=0.1, high=1000.0
    )
    subtasks: SubtaskSettings = group(SubtaskSettings)

    @property
    def measures_cameras(self) -> bool:
        """Whether the projection of the cameras is measured while the node runs."""
        return bool(self.camera_infos)

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        return self.subtasks.check() or super().check()


@dataclass(frozen=True)
class ActorNodeSettings(ActorSettings, CameraNodeSettings, InstructedNodeSettings):
    """Parameters of the actor node."""

    rate: float = setting(
        10.0,
        'Chunks made in the architecture dual; single makes one for each plan.',
        unit='Hz',
        low=0.1,
        high=1000.0,
    )
    max_image_age: float = setting(
        0.5, 'An image older than this makes no chunk.', unit='s', low=0.01, high=10.0
    )
    state_skew: float = setting(
        0.1,
        'The robot state nearest to an image may differ from it in time by no more than this.',
        unit='s',
        low=0.001,
        high=10.0,
    )

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        return refuse_topics(self.camera_topics) or super().check()


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """What the driver of the robot says back; an empty topic is not observed."""

    controller: str = setting(
        'joint_trajectory_controller',
        'Name of the joint_trajectory_controller that the outputs joint_trajectory and '
        'follow_joint_trajectory send to.',
        read_only=True,
    )
    joint_names: tuple[str, ...] = setting(
        (),
        'Names of joints that the driver calls otherwise than names does, as column:=joint.',
        read_only=True,
    )
    lead: int = setting(
        2,
        'Periods from a set-point to the time at which the robot is there, with trajectories: one '
        'less of them in a row may be lost or late and the robot still does not brake.',
        low=2,
        high=100,
        read_only=True,
    )
    goal_rate: float = setting(
        10.0,
        'Goals of the output follow_joint_trajectory; the robot is one period of them late.',
        unit='Hz',
        low=1.0,
        high=100.0,
        read_only=True,
    )
    observe_controller: bool = setting(
        False,
        'Observe its controller_state: where its own reference is further than tolerance from '
        'what it was sent, it rejected or gave up the trajectory, and the controller stops, '
        'latched.',
        read_only=True,
    )
    tolerance: float = setting(
        0.05,
        'How far the reference of the driver may be from the set-points that it was sent.',
        unit='m or rad',
        low=1e-3,
        high=10.0,
        locked=True,
    )
    program_running: str = setting(
        '',
        'Topic (Bool, latched) that says whether the program on the robot runs, on a UR '
        'io_and_status_controller/robot_program_running. While it does not, as in a protective '
        'stop, the controller stops, latched, and is not enabled.',
        read_only=True,
    )
    safety_mode: str = setting(
        '',
        'Topic (ur_dashboard_msgs/SafetyMode) of a UR, io_and_status_controller/safety_mode; all '
        'but normal and reduced stops, latched.',
        read_only=True,
    )
    robot_mode: str = setting(
        '',
        'Topic (ur_dashboard_msgs/RobotMode) of a UR, io_and_status_controller/robot_mode; all '
        'but running stops, latched.',
        read_only=True,
    )
    speed_scaling: str = setting(
        '',
        'Topic (Float64, percent) that says how fast the robot goes, on a UR '
        'speed_scaling_state_broadcaster/speed_scaling: motion goes on along its path so much '
        'slower.',
        read_only=True,
    )
    timeout: float = setting(
        0.5,
        'Where controller_state or speed_scaling is observed and silent for so long, the driver '
        'is gone: the controller brakes, and starts again from where the robot is once it is back.',
        unit='s',
        low=0.05,
        high=60.0,
        locked=True,
    )


@dataclass(frozen=True)
class ControllerNodeSettings(ControllerSettings, NodeSettings):
    """Parameters of the controller node."""

    names: tuple[str, ...] = setting(
        ('x', 'y', 'z', 'gripper'),
        'Columns of the command, in the order of the chunks; gripper is an effort, all others are '
        'axes. qx qy qz qw side by side are how the tool is turned: one rotation, whose axes for '
        'limits are rx, ry and rz.',
        read_only=True,
    )
    arming: str = setting(
        'manual',
        'Whether a task may enable the controller. manual: a person calls set_enabled before each '
        'task, also one that replaces another; its end disables it again; auto: the task enables '
        'by itself, for simulated robots.',
        choices=('manual', 'auto'),
        locked=True,
    )
    task_timeout: float = setting(
        600.0,
        'A task whose client gave no max_duration_s ends after this time: a client that died '
        'cannot cancel it; 0: never.',
        unit='s',
        low=0.0,
        high=86400.0,
    )
    reset_distance: tuple[float, ...] = setting(
        (0.02,),
        'A robot further than this on an axis from the set-point that is held for it, while '
        'disabled or after it reported a new episode, was moved by others: the controller starts '
        'from there; nearer, it keeps that set-point. What a robot sags while it is held does not '
        'count. One that follows velocities may have drifted so far. One value, or one an axis.',
        unit='m',
        low=0.001,
        high=1.0,
        locked=True,
    )
    robot_description: str = setting(
        '',
        'URDF of the robot, the text or its file: limits.* and continuous that are not set are '
        'taken from it. A relative path starts at the folder config of the package. Empty: none.',
        read_only=True,
    )
    robot_description_topic: str = setting(
        '',
        'Topic (String, latched) of robot_state_publisher on which the URDF comes instead; the '
        'controller is configured once it is there.',
        read_only=True,
    )
    joint_limits: str = setting(
        '',
        'File joint_limits.yaml of MoveIt; of both descriptions the tighter limit holds, and what '
        'limits.* sets holds whatever they say.',
        read_only=True,
    )
    state_timeout: float = setting(
        1.0,
        'Where robot_state has been silent for so long, the controller brakes and is not enabled; '
        '0: a robot that tells where it is only now and then.',
        unit='s',
        low=0.0,
        high=3600.0,
        locked=True,
    )
    remote_nodes: tuple[str, ...] = setting(
        (),
        'Stages of the policy on another host. Of the others a death brakes the robot in 0.1 s; '
        'over a network so short a silence says nothing, and the age of plans and chunks decides. '
        'efficient-vla up --only fills it in.',
        read_only=True,
    )
    joint_age: float = joint_age_setting(locked=True)
    following_error: float = setting(
        0.1,
        'A robot that is further than this from its set-point on any axis is blocked or broken: '
        'the controller stops, latched. It is compared with the set-point of robot_delay before, '
        'and where it reports its own, with that, and that with what was sent; from half of it a '
        'warning tells. Set it above what the robot lags and sags; 0: never. With an output that '
        'sends velocities the ways of the last second are compared. Fingers, gripper_axis, stop '
        'at what they hold and do not count, but with the output command.',
        unit='m',
        low=0.0,
        high=100.0,
        locked=True,
    )
    rivals: str = setting(
        'warn',
        'What follows where somebody else publishes on a topic by which this controller moves the '
        'robot. warn: /diagnostics names it; stop: the controller also stops, latched, and is not '
        'enabled meanwhile.',
        choices=('warn', 'stop'),
        locked=True,
    )
    output: str = setting(
        'command',
        'Where set-points go. command: JointState on command, for the simulated robots; '
        'joint_trajectory: for joint_trajectory_controller, every message ending at rest; '
        'follow_joint_trajectory: the same as goals of its action, later, for drivers that take '
        'nothing else; forward: Float64MultiArray for forward_command_controller; twist: '
        'TwistStamped for MoveIt Servo. All but command send the gripper by gripper_interface; '
        'none does before a chunk says how.',
        choices=OUTPUTS,
        read_only=True,
    )
    output_interface: str = setting(
        'position',
        'What the output forward sends of each axis. A forward controller keeps the last value '
        'when messages end: give it a timeout before you send velocities.',
        choices=('position', 'velocity'),
        read_only=True,
    )
    driver: DriverSettings = group(DriverSettings)
    gripper_values: tuple[float, ...] = setting(
        (-1.0, 1.0),
        'Values on gripper_command for an open and for a closed gripper.',
        low=-1e4,
        high=1e4,
        read_only=True,
    )
    servo_units: str = setting(
        'speed_units',
        'What the output twist sends, as command_in_type of MoveIt Servo says: speed_units: m/s '
        'and rad/s; unitless: shares of servo_scale and servo_angular_scale.',
        choices=('speed_units', 'unitless'),
        read_only=True,
    )
    servo_scale: float = setting(
        0.4,
        'scale.linear of Servo: the speed of the share 1, with servo_units unitless.',
        unit='m/s',
        low=1e-3,
        high=10.0,
        read_only=True,
    )
    servo_angular_scale: float = setting(
        0.8,
        'scale.rotational of Servo: the angular velocity of the share 1, with servo_units '
        'unitless.',
        unit='rad/s',
        low=1e-3,
        high=10.0,
        read_only=True,
    )
    gripper_interface: str = setting(
        'topic',
        'Where the gripper goes. topic: Float64MultiArray on gripper_command; gripper_command and '
        'parallel_gripper: GripperCommand and ParallelGripperCommand of control_msgs, a goal where '
        'the set-point changed.',
        choices=GRIPPER_INTERFACES,
        read_only=True,
    )
    gripper_action: str = setting(
        'gripper_controller/gripper_cmd',
        'Name of the action of the gripper.',
        read_only=True,
    )
    gripper_axis: str = setting(
        '',
        'Axis of names that is the gripper, in its own unit: it goes by gripper_interface and not '
        'with the arm; empty: the column gripper, an effort.',
        read_only=True,
    )
    gripper_joint: str = setting(
        '',
        'Name of the joint in goals of parallel_gripper; empty: none is named.',
        read_only=True,
    )
    gripper_max_effort: float = setting(
        0.0,
        'Largest effort of the gripper in goals; 0: its controller decides.',
        unit='N or Nm',
        low=0.0,
        high=1e4,
        read_only=True,
    )
    frame_id: str = setting(
        'world',
        'Frame of the end effector in chunks, in twists and in the drawing of a dry run. Chunks '
        'that name another one are refused, not transformed.',
        read_only=True,
    )
    dry_run: bool = setting(
        False,
        'Nothing is sent to the robot: what would be done is drawn on dry_run/markers and told on '
        'dry_run/command. Not for a simulation in lockstep, which waits for commands.',
        read_only=True,
    )
    priority: int = setting(
        10,
        'Real-time priority (SCHED_FIFO) of the control loop where the system allows one; 0: none.',
        low=0,
        high=99,
        read_only=True,
    )
    cpu_affinity: tuple[int, ...] = setting(
        (),
        'Processor cores that the control loop may run on; empty: all. Best are cores that '
        'isolcpus keeps free.',
        low=0,
        high=4095,
        item=int,
        read_only=True,
    )

    @staticmethod
    def completed(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return start-up values with what follows from them, see ``robot_limits``."""
        return robot_limits.completed(values)

    @property
    def renamed(self) -> tuple[str, ...]:
        """What the driver calls otherwise, as column:=joint; nothing without a driver."""
        return () if self.output == 'command' else self.driver.joint_names

    @property
    def sends_velocities(self) -> bool:
        """Whether the robot follows velocities, so that it drifts away from the set-points."""
        forwarded = self.output == 'forward' and self.output_interface == 'velocity'
        return self.output == 'twist' or forwarded

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if len(self.gripper_values) != 2:
            return (
                f'gripper_values has {len(self.gripper_values)} values; expected two, for an open '
                'and for a closed gripper.'
            )
        if len(set(self.names)) < len(self.names) or not all(map(str.strip, self.names)):
            return (
                f'names is {list(self.names)}; expected a name for each column, none empty or '
                'twice. Correct them.'
            )
        if not set(self.remote_nodes) <= set(STAGE_NODES):
            return (
                f'remote_nodes is {list(self.remote_nodes)}; expected some of '
                f'{", ".join(STAGE_NODES)}.'
            )
        if self.names and not set(self.names) - {'gripper'}:
            return 'names has only gripper; expected an axis, such as x or a joint, beside it.'
        moved = axes_of(self.names)
        columns = [name for name in self.names if name != GRIPPER]
        if len(self.reset_distance) not in (1, len(moved)):
            return (
                f'reset_distance has {len(self.reset_distance)} values; expected one, or one for '
                f'each of {", ".join(moved)}.'
            )
        too_fast = self._too_fast_for_servo(moved)
        if too_fast:
            return too_fast
        if self.gripper_axis and (self.gripper_axis not in moved or 'gripper' in self.names):
            return (
                f'gripper_axis is {self.gripper_axis!r}; expected one of {", ".join(moved)}, and '
                'no column gripper beside it.'
            )
        pairs = [word.split(':=') for word in self.driver.joint_names]
        if any(len(pair) != 2 or pair[0] not in columns or not pair[1] for pair in pairs):
            return (
                f'driver.joint_names is {list(self.driver.joint_names)}; expected column:=joint '
                f'each, with a column of {", ".join(columns)}.'
            )
        if self.output_interface == 'velocity' and not self.sends_velocities:
            return (
                f'output_interface is velocity while output is {self.output}, which sends '
                'positions; expected output forward. Set output to forward, or output_interface '
                'to position.'
            )
        strangers = set(self.continuous) - set(columns) | set(self.continuous) & set(QUATERNION)
        if strangers:
            return (
                f'continuous has {", ".join(sorted(strangers))}; expected some of '
                f'{", ".join(moved)}.'
            )
        if self.robot_description and self.robot_description_topic:
            return (
                'robot_description and robot_description_topic are both set; expected one. Leave '
                'one of them out.'
            )
        if self.tool.max_velocity and not set(moved) & TRANSLATION:
            return (
                f'tool.max_velocity is {self.tool.max_velocity} while names has none of x, y, z; '
                'expected 0 for a robot that is commanded by joints. Leave it out.'
            )
        turns = quaternion_at(self.names) is not None
        if self.tool.max_angular_velocity and not turns:
            return (
                f'tool.max_angular_velocity is {self.tool.max_angular_velocity} while names has no '
                'qx, qy, qz, qw; expected 0 for a robot whose tool is not turned. Leave it out.'
            )
        pose = (*POSITION, *QUATERNION) if turns else POSITION
        others = [name for name in columns if name not in pose and name != self.gripper_axis]
        if self.output == 'twist' and others:
            return (
                f'output is twist while names has {", ".join(others)}; expected only x, y, z, with '
                'or without qx, qy, qz, qw, and a gripper. Choose joint_trajectory or forward for '
                'joints.'
            )
        velocities = self.output == 'forward' and self.sends_velocities
        if turns and (velocities or self.output.endswith('joint_trajectory')):
            return (
                f'output is {self.output}{" with velocities" if velocities else ""} while names '
                'has qx, qy, qz, qw; expected command, twist, or forward with positions for a tool '
                'that is turned. Choose one of these, or command its joints.'
            )
        return super().check()

    def _too_fast_for_servo(self, names: Sequence[str]) -> str | None:
        """Return that Servo cannot be told the speed of one of the axes ``names``, or ``None``."""
        if self.output != 'twist' or self.servo_units != 'unitless':
            return None
        limits = dict(zip(names, axes(self.limits.max_velocity, len(names)), strict=False))
        # The axes of a rotation are the tool's: one of the base may be that of all three together.
        together = math.hypot(*(limits.get(name, 0.0) for name in TURNING))
        fastest_of = {
            'servo_scale': max(limits.get(name, 0.0) for name in POSITION),
            'servo_angular_scale': min(together, self.tool.max_angular_velocity or math.inf),
        }
        for kind, fastest in fastest_of.items():
            scale = getattr(self, kind)
            if fastest > scale:
                return (
                    f'limits.max_velocity lets it go at {fastest:.4g} while {kind} is {scale}: '
                    'Servo takes no share above 1. Lower the limit, or raise the scale there and '
                    'here.'
                )
        return None


@dataclass(frozen=True, slots=True)
class LadderSettings:
    """The degradation ladder."""

    mode: str = setting(
        'act',
        'What follows where the graph is too slow or short of something. act: rates, tokens and '
        'steps are lowered, and in the end the robot holds; tell: /diagnostics says what would be '
        'done; off: nothing. Not in simulated time.',
        choices=('act', 'tell', 'off'),
        read_only=True,
    )
    file: str = setting('', 'Rules and steps; empty: config/ladder.yaml.', read_only=True)


@dataclass(frozen=True, slots=True)
class DrawnArmSettings:
    """The robot of joints in the markers; follows from the controller where you set none of it."""

    description: str = setting(
        '',
        'URDF of the arm, its file or text, by which the markers show how it stands and where a '
        'chunk leads its tool. A relative path starts at the folder config of the package. Follows '
        "from the controller's kinematics.description or robot_description. Empty: chunks of "
        'joints have no path.',
        read_only=True,
    )
    names: tuple[str, ...] = setting((), "The controller's names.", read_only=True)
    joint_names: tuple[str, ...] = setting(
        (), "The controller's driver.joint_names, as column:=joint.", read_only=True
    )
    base: str = setting(
        '', "Link in whose frame it is drawn: the controller's kinematics.base.", read_only=True
    )
    tool: str = setting(
        '', "Link whose way is drawn: the controller's kinematics.tool.", read_only=True
    )


@dataclass(frozen=True)
class MonitorNodeSettings(NodeSettings):
    """Parameters of the monitor node."""

    cameras: tuple[str, ...] = setting(
        (),
        "Names of the policy's cameras, in its order, where it has several; empty: one camera on "
        'camera/image_raw.',
        read_only=True,
    )
    camera_topics: tuple[str, ...] = camera_topics_setting()
    compressed_cameras: tuple[str, ...] = compressed_cameras_setting()
    frame_id: str = setting(
        'world', 'Frame of the predicted path where the chunk names none.', read_only=True
    )
    path_width: float = setting(
        0.006, 'Width of the predicted path.', unit='m', low=0.0005, high=0.1
    )
    dim: float = setting(
        0.3, 'Brightness that is left to dropped tokens in the overlay.', low=0.0, high=1.0
    )
    arm: DrawnArmSettings = group(DrawnArmSettings)
    ladder: LadderSettings = group(LadderSettings)

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        return refuse_topics(self.camera_topics)
