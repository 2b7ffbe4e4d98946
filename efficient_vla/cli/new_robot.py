# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the profile of an arm from its description: ``efficient-vla new-robot``."""

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path

import yaml

from efficient_vla.control.robot_limits.urdf import read_urdf
from efficient_vla.errors import UsageError
from efficient_vla.settings import InvalidSettingError

DESCRIPTION = (
    'Write the profile of an arm, a YAML file with its joints, limits and topics, from its URDF. '
    'What a URDF does not say is marked with TODO.'
)
EXAMPLE = '  efficient-vla new-robot --urdf xarm6.urdf --out xarm6.yaml'
SHARE = 0.2
"""Of the description's velocity that a first motion may have."""
RAMP_S, RISE_S = 0.25, 0.1
"""Time to full speed and to full acceleration: a URDF says neither."""
PROFILE = """\
# {name}, written from its URDF. Look at every TODO before the arm moves.
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
      # Ranges of the joints come from here, and what limits does not say: docs/limits.md
      robot_description: {urdf}
      limits:
        # {percent} % of the URDF's velocities for a first motion [rad/s or m/s].
        max_velocity: [{velocity}]
        # TODO: not in a URDF; these reach full speed in {ramp} s.
        max_acceleration: [{acceleration}]
        max_jerk: [{jerk}]
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
    try:
        described = read_urdf(path.read_text())
    except (OSError, ValueError) as error:
        what = str(error) if isinstance(error, InvalidSettingError) else f'cannot be read: {error}.'
        raise UsageError(f'{path}: {what} A URDF is made by: xacro ARM.xacro > ARM.urdf') from error
    joints = {name: joint for name, joint in described.items() if not joint.mimics}
    if not joints:
        raise UsageError(f'{path} has no joint that moves; expected an arm. Choose its URDF.')
    speeds = []
    for name, joint in joints.items():
        if joint.velocity is None:
            raise UsageError(
                f'{path}: joint {name} has no velocity; expected one above 0. Complete its limit.'
            )
        speeds.append(SHARE * joint.velocity)
    return PROFILE.format(
        name=path.stem,
        urdf=_quoted(str(path.resolve())),
        controller=_plain(controller),
        names=', '.join(map(_plain, joints)),
        units=', '.join('m' if joint.kind == 'prismatic' else 'rad' for joint in joints.values()),
        percent=round(100 * SHARE),
        velocity=_row(speeds),
        ramp=RAMP_S,
        acceleration=_row(speed / RAMP_S for speed in speeds),
        jerk=_row(speed / RAMP_S / RISE_S for speed in speeds),
    )


def _plain(name: str) -> str:
    """Return ``name`` as YAML reads it as text, unquoted where that is enough."""
    plain = re.fullmatch(r'[A-Za-z_][\w/.-]*', name, re.ASCII) and yaml.safe_load(name) == name
    return name if plain else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _row(values: Iterable[float]) -> str:
    return ', '.join(repr(round(value, 5)) for value in values)
