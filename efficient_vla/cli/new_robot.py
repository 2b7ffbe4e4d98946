# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the profile of an arm from its description: ``efficient-vla new-robot``."""

import argparse
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from efficient_vla.errors import UsageError

DESCRIPTION = (
    'Write the profile of an arm, a YAML file with its joints, ranges and topics, from its URDF. '
    'What a URDF does not say is marked with TODO.'
)
EXAMPLE = '  efficient-vla new-robot --urdf xarm6.urdf --out xarm6.yaml'
MAX_BYTES = 4 * 1024 * 1024
MOVING = ('revolute', 'continuous', 'prismatic')
FULL_TURN = 2 * math.pi
SHARE = 0.2
"""Of the description's velocity that a first motion may have."""
RAMP_S, RISE_S = 0.25, 0.1
"""Time to full speed and to full acceleration: a URDF says neither."""
PROFILE = """\
# {name}, written from {source}. Look at every TODO before the arm moves.
/**:
  ros__parameters:
    # Topic of the graph: topic of your drivers. `efficient-vla up --robot THIS --check` compares.
    remap:
      robot_state: /joint_states
      camera/image_raw: /camera/color/image_raw  # TODO; compressed: .../compressed
    # How a policy counts the columns, in its order. TODO: units and rate of your policy.
    joints:
      names: [{names}]
      unit: [{units}]
      mode: joint_position
      rate: 20.0
  controller:
    ros__parameters:
      names: [{names}]
      # joint_trajectory, forward or another: docs/parameters.md
      output: joint_trajectory
      driver:
        controller: {controller}  # TODO: the name of your joint_trajectory_controller
        observe_controller: true
      # A person enables the controller before each task.
      arming: manual
      robot_delay: 0.1  # TODO: what the arm lags behind its set-points [s]
      following_error: 0.2  # TODO: further from its set-point it is stopped [rad or m]
{continuous}      limits:
        # Ranges of the URDF [rad or m].
        position_low: [{low}]
        position_high: [{high}]
        # {percent} % of the URDF's velocities for a first motion [rad/s or m/s].
        max_velocity: [{velocity}]
        # TODO: not in a URDF; these reach full speed in {ramp} s.
        max_acceleration: [{acceleration}]
        max_jerk: [{jerk}]
        stop_deceleration: [{acceleration}]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('--urdf', type=Path, required=True, help='description of the arm, no xacro')
    parser.add_argument('--out', type=Path, required=True, help='profile to write; a new file')
    parser.add_argument(
        '--controller', default='joint_trajectory_controller', help='name of its controller'
    )


def main(arguments: argparse.Namespace) -> int:
    """Write the profile."""
    text = profile(arguments.urdf, arguments.controller)
    try:
        with arguments.out.open('x') as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f'cannot write {arguments.out}: {error}. Choose another --out.') from error
    print(f'{arguments.out}: look at each TODO, then try it:')
    print(f'  efficient-vla up --robot {arguments.out} --policy first_motion --simulate')
    return 0


def profile(path: Path, controller: str) -> str:
    """Return the profile of the arm that the URDF in ``path`` describes.

    Raises ``UsageError`` for a file that is none, and for one whose joints say too little.
    """
    name, joints = read(path)
    rows = [limits(path, *joint) for joint in joints]
    low, high, velocity = zip(*rows, strict=True)
    turning = [joint for joint, kind, _ in joints if kind == 'continuous']
    speeds = [SHARE * value for value in velocity]
    return PROFILE.format(
        name=name,
        source=path.name,
        controller=controller,
        names=', '.join(joint for joint, _, _ in joints),
        units=', '.join('m' if kind == 'prismatic' else 'rad' for _, kind, _ in joints),
        continuous=f'      continuous: [{", ".join(turning)}]\n' if turning else '',
        low=_row(low),
        high=_row(high),
        percent=round(100 * SHARE),
        velocity=_row(speeds),
        ramp=RAMP_S,
        acceleration=_row(speed / RAMP_S for speed in speeds),
        jerk=_row(speed / RAMP_S / RISE_S for speed in speeds),
    )


def read(path: Path) -> tuple[str, list[tuple[str, str, ET.Element]]]:
    """Return the robot's name, and name, type and element of each joint that moves by itself."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(
                f'{path} has more than {MAX_BYTES} bytes; expected a URDF without data.'
            )
        text = path.read_text()
        if '<!DOCTYPE' in text or '<!ENTITY' in text:
            raise UsageError(f'{path} defines entities, which no URDF needs. Leave them out.')
        root = ET.fromstring(text)
    except (OSError, UnicodeDecodeError, ET.ParseError) as error:
        raise UsageError(f'{path} cannot be read as a URDF: {error}. Check it.') from error
    if root.tag != 'robot' or any('xacro' in element.tag for element in root.iter()):
        raise UsageError(
            f'{path} is no URDF but {root.tag} or xacro; expected a robot. Write it with: xacro '
            'FILE.xacro > FILE.urdf'
        )
    joints = [
        (joint.get('name', ''), joint.get('type', ''), joint)
        for joint in root.findall('joint')
        if joint.get('type') in MOVING and joint.find('mimic') is None
    ]
    if not joints:
        raise UsageError(f'{path} has no joint that moves; expected an arm. Choose its URDF.')
    return root.get('name', path.stem), joints


def limits(path: Path, name: str, kind: str, joint: ET.Element) -> tuple[float, float, float]:
    """Return lower and upper end and velocity of a joint."""
    words = joint.find('limit')
    found = {} if words is None else words.attrib
    if kind == 'continuous':
        found = {'lower': str(-FULL_TURN), 'upper': str(FULL_TURN)} | found
    try:
        low, high, velocity = (float(found[key]) for key in ('lower', 'upper', 'velocity'))
    except (KeyError, ValueError) as error:
        raise UsageError(
            f'{path}: the limit of joint {name} lacks {error}; expected the numbers lower, upper '
            'and velocity. Complete its description.'
        ) from error
    if not (math.isfinite(high - low) and low < high and 0 < velocity < math.inf):
        raise UsageError(
            f'{path}: joint {name} goes from {low} to {high} at {velocity}; expected a range and a '
            'velocity above 0. Correct its description.'
        )
    return low, high, velocity


def _row(values: Iterable[float]) -> str:
    return ', '.join(repr(round(value, 5)) for value in values)
