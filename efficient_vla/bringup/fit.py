# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a policy folder fits a robot, and what it asks of the graph around it.

``inspect``, the graph and the evaluation in process ask here, so that all refuse for the same
reasons before anything moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficient_vla.action.settings import ActorSettings
from efficient_vla.bringup.robot_limits import limit_lines
from efficient_vla.control.settings import ControllerSettings, axes
from efficient_vla.end_effector import settled
from efficient_vla.joint_settings import JointSettings
from efficient_vla.joints import faults, learned_positions
from efficient_vla.policy_folders import FolderFacts
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import build

if TYPE_CHECKING:
    from efficient_vla.sim.interface import Simulation

CHUNK_TIMEOUT_S, PLAN_VALIDITY_S = 0.5, 2.0
"""What ``watchdog.chunk_timeout`` and ``plan_validity`` are at least."""
LONGEST_S = 60.0
"""More than that is no parameter of either."""


MOST_BEYOND = 0.25
"""Share of what a policy learned of a joint that may lie beyond the limits of the joint."""
END_EFFECTOR_FAMILIES = ('openvla', 'nora')
STATE_KEYS = (
    *('names', 'state_names', 'unit', 'sign', 'offset', 'low', 'high'),
    *('reference', 'rotation', 'state_rotation'),
)
"""Of ``joints``: what decides how the state is scaled."""


@dataclass(frozen=True, slots=True)
class Robot:
    """What a policy meets: the profile of a robot, and its simulator where it has one."""

    name: str
    joints: JointSettings
    commanded: tuple[str, ...]
    """Columns of its commands, ``controller.names``."""
    low: tuple[float, ...] = ()
    """``controller.limits.position_low`` of each axis; empty: nobody said it."""
    high: tuple[float, ...] = ()
    cameras: tuple[str, ...] = ()
    """Those whose topic the profile names; empty: any, on NAME/image_raw."""
    reported: tuple[str, ...] = ()
    """What its state tells; empty: not known before it runs."""
    chosen: tuple[str, ...] = ()
    """Cameras of the policy that it has, ``perception.cameras``; empty: all."""
    tokenizer: str = ''
    """Where its profile says that the tokenizer of the policy is."""
    unnorm_key: str = ''
    apart: tuple[str, ...] = ()
    """What actor and reasoner are told differently of the state, which both scale."""
    token_file: str = ''
    """Where the word is that its policy server demands."""
    limits: tuple[str, ...] = ()
    """What the limits of each axis are, in words."""
    still: bool = False
    """Whether nothing moves: its set-points are shown and not sent."""
    square: bool = False
    """Whether it is simulated: its one camera is square, of the size that is asked for."""


def robot_of(name: str, values: Mapping[str, Any], simulation: 'Simulation | None' = None) -> Robot:
    """Return the robot that parameters describe: node -> parameter -> value of its profile."""
    actor, reasoner = values.get('actor', {}), values.get('reasoner', {})
    given, planned = (
        {key: value for key, value in own.items() if key.startswith('joints.')}
        for own in (actor, reasoner)
    )
    joints = build(ActorSettings, given).joints
    same = build(ReasonerSettings, planned).joints
    apart = [f'joints.{key}' for key in STATE_KEYS if getattr(joints, key) != getattr(same, key)]
    if actor.get('unnorm_key', '') != reasoner.get('unnorm_key', ''):
        apart.append('unnorm_key')
    perception, controller = values.get('perception', {}), values.get('controller', {})
    topics = perception.get('camera_topics', ())
    commanded = tuple(controller.get('names', ()))
    low, high = (
        axes(tuple(controller.get(f'limits.position_{end}', ())), len(commanded))
        for end in ('low', 'high')
    )
    robot = Robot(
        Path(name).stem,
        joints=joints,
        commanded=commanded,
        low=low,
        high=high,
        cameras=tuple(word.partition(':=')[0] for word in topics),
        chosen=tuple(perception.get('cameras', ())),
        tokenizer=reasoner.get('tokenizer', ''),
        unnorm_key=actor.get('unnorm_key', ''),
        apart=tuple(apart),
        token_file=perception.get('remote.token_file', ''),
        limits=_limits(controller),
        still=bool(controller.get('dry_run', False)),
    )
    if simulation is None:
        return robot
    return replace(
        robot,
        commanded=simulation.command_names,
        cameras=robot.cameras or (simulation.camera,),
        reported=simulation.reported_names,
        square=True,
    )


def _limits(controller: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the limits that a profile says, in words; nothing where it says none."""
    own = {name: value for name, value in controller.items() if name.startswith('limits.')}
    names = controller.get('names', ())
    return tuple(limit_lines(names, build(ControllerSettings, own).limits)) if own else ()


def misfits(facts: FolderFacts, robot: Robot) -> list[str]:
    """Return what is missing or wrong for a policy to drive a robot, a sentence each."""
    moved = facts.random and not (robot.square or robot.still)
    found = [random_weights(facts.random, robot.name)] if moved else []
    found += [*facts.missing, *_unsaid(facts, robot)]
    if facts.one_process and robot.apart:
        found.append(
            f'actor and reasoner have different values of {", ".join(robot.apart)}; expected the '
            'same, since both scale the state of the robot. Set them for both.'
        )
    cameras = cameras_of(facts, robot.chosen)
    absent = [name for name in cameras if robot.cameras and name not in robot.cameras]
    if absent:
        found.append(
            f'the policy looks through {", ".join(cameras)}; {robot.name} has '
            f'{", ".join(robot.cameras)}. '
            + (
                'Use a policy that was trained on this robot.'
                if robot.square
                else f'Name the topic of {absent[0]} in camera_topics, as {absent[0]}:=TOPIC.'
            )
        )
    if robot.square:
        found += _no_squares(facts)
    joints = robot.joints
    if facts.family in END_EFFECTOR_FAMILIES:
        joints = settled(joints, facts.action_width)
    named = facts.dt is not None or not facts.action_width
    if not named:
        wrong = faults(joints, facts.state_width, facts.action_width, facts.action_names)
        if wrong:
            return [*found, *wrong]
    actions = facts.action_names if named else joints.commanded
    states = facts.state_names if named else joints.told
    if actions and robot.commanded and actions != robot.commanded:
        found.append(
            f'the policy acts on {", ".join(actions)}; {robot.name} is commanded by '
            f'{", ".join(robot.commanded)}; expected the same in the same order. '
            f'Use a policy of this robot{"" if robot.square else ", or correct controller.names"}.'
        )
    if not named:
        found += _beyond(facts, robot)
    strange = [name for name in states if robot.reported and name not in robot.reported]
    if strange:
        found.append(
            f'the policy looks at {", ".join(strange)} of the state; {robot.name} tells '
            f'{", ".join(robot.reported)}. Use a policy of this robot.'
        )
    return found


def random_weights(system: str, robot: str) -> str:
    """Return why random weights in the shape of a system may not move a robot."""
    return (
        f'policy {system} has random weights, and {robot} is no simulated robot; expected a '
        f'simulated one, --simulate or --dry-run. Give a trained folder: --policy {system}=FOLDER.'
    )


def cameras_of(facts: FolderFacts, chosen: Sequence[str]) -> list[str]:
    """Return the cameras that a policy looks through, of those that ``perception.cameras`` names.

    One that it does not know is refused when perception loads it.
    """
    return [name for name in facts.cameras if not chosen or name in chosen]


def image_side(facts: FolderFacts) -> int | None:
    """Return the side of the square images that a policy was trained on, where it has some."""
    sizes = set(facts.trained_sizes.values())
    rows, columns = next(iter(sizes)) if len(sizes) == 1 else (0, 1)
    return rows if rows == columns else None


def implied(facts: FolderFacts, values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict]:
    """Return node -> parameter -> value that follow from a policy where nobody says otherwise.

    A policy that gives long chunks is a slow one: its chunk may drive the robot until the next has
    been made in the time that it lasts, and its plan for one more chunk.
    """
    found: dict[str, dict[str, Any]] = {}
    rate = values['actor'].get('joints.rate', 0.0)
    if facts.dt is None and rate:
        lasts = facts.horizon / rate
        timeout = min(max(2 * lasts, CHUNK_TIMEOUT_S), LONGEST_S)
        found['controller'] = {'watchdog.chunk_timeout': timeout}
        found['reasoner'] = {'plan_validity': min(max(3 * lasts, PLAN_VALIDITY_S), LONGEST_S)}
    topics = values['perception'].get('camera_topics', ())
    cameras = cameras_of(facts, values['perception'].get('cameras', ()))
    # A policy that names none looks through the first one of the robot.
    cameras = cameras or [word.partition(':=')[0] for word in topics[:1]]
    if len(cameras) > 1 or topics or values['perception'].get('compressed_cameras'):
        names = ('camera_topics', 'compressed_cameras')
        given = {name: list(values['perception'].get(name, ())) for name in names}
        found['monitor'] = {'cameras': cameras, **given}
    return found


def _unsaid(facts: FolderFacts, robot: Robot) -> list[str]:
    """Return what a parameter has to say of tokenizer and statistics."""
    found = []
    given = robot.tokenizer
    if given and not (Path(given).expanduser() / 'tokenizer.json').is_file():
        found.append(
            f'reasoner.tokenizer is {given!r}; expected a folder with tokenizer.json and '
            'tokenizer_config.json. Correct it.'
        )
    elif facts.tokenizer == '' and not given:
        found.append(
            'the tokenizer is neither in the folder nor in the cache of Hugging Face. Copy '
            'tokenizer.json and tokenizer_config.json of the model that the folder names into it, '
            'or name their folder by reasoner.tokenizer.'
        )
    if facts.groups and robot.unnorm_key not in facts.groups:
        found.append(
            f'unnorm_key is {robot.unnorm_key!r}; expected one of {", ".join(facts.groups)}, the '
            'datasets whose statistics the folder has. Set actor.unnorm_key and '
            'reasoner.unnorm_key to that of your robot.'
        )
    return found


def _beyond(facts: FolderFacts, robot: Robot) -> list[str]:
    """Return that a policy learned positions that a joint of the robot cannot have."""
    if len(robot.low) != len(robot.commanded) or len(robot.high) != len(robot.commanded):
        return []
    found = []
    ends = dict(zip(robot.commanded, zip(robot.low, robot.high, strict=True), strict=True))
    for name, (first, last) in learned_positions(robot.joints, facts.learned).items():
        low, high = ends.get(name, (first, last))
        beyond = max(low - first, 0.0) + max(last - high, 0.0)
        if beyond > MOST_BEYOND * (last - first):
            found.append(
                f'the policy learned positions from {first:.3g} to {last:.3g} for {name}, whose '
                f'limits are {low:g} to {high:g}. Correct joints.unit, joints.offset, joints.sign '
                'or the order of joints.names, or use a policy of this robot.'
            )
    return found


def _no_squares(facts: FolderFacts) -> list[str]:
    odd = {name: size for name, size in facts.trained_sizes.items() if size[0] != size[1]}
    if not odd and len(set(facts.trained_sizes.values())) < 2:
        return []
    told = ', '.join(f'{name} {rows}x{columns}' for name, (rows, columns) in odd.items())
    return [
        f'the policy was trained on images of {told or "several sizes"} (rows x columns); expected '
        'square ones of one size, as the simulated camera makes them. Use a policy of this robot.'
    ]
