# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The running graph as data: which processes there are, and what each one is started with.

Both launch files and the supervisor read this description, so that every way of starting gives
the same graph. Nothing here imports rclpy or launch.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from efficient_vla.bringup import deployment, drawn_arm, fit, remaps, stand_in
from efficient_vla.bringup.catalogue import KINDS, NODES, POLICY_NODES, STAND_IN
from efficient_vla.bringup.enclaves import enclave, why_no_keys
from efficient_vla.bringup.fastdds import profile_variable
from efficient_vla.bringup.parameter_files import (
    Merged,
    ParameterFileError,
    is_ros_parameter,
    merge,
    typed,
)
from efficient_vla.bringup.robot_limits import completed, is_described, limited
from efficient_vla.bringup.system_folders import under_profile
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.joints import doubts
from efficient_vla.places import PolicyPlace, policy_place, share_folder
from efficient_vla.policy_folders import FolderFacts, folder_facts, why_none
from efficient_vla.presets import unmet
from efficient_vla.settings import InvalidSettingError, build, specs
from efficient_vla.sim.catalogue import (
    DEFAULT_ROBOT,
    MISSING,
    installed,
    node_name,
    robots,
    simulation,
)
from efficient_vla.systems import SYSTEMS, system_word

LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
UNLIMITED_HZ = 1000.0
TRAJECTORIES = ('joint_trajectory', 'follow_joint_trajectory')
"""Outputs of the controller that the stand-ins of drivers follow."""
SLEEPING_WORKERS = {'GOMP_SPINCOUNT': '3000'}
"""Lets threads of torch sleep soon that have nothing to do: they would keep cores from other
processes, and from the threads of another engine in their own."""
THREAD_VARIABLES = {
    **dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1'),
    **SLEEPING_WORKERS,
}


class ProfileError(ValueError):
    """The selection names something that does not exist or does not fit together."""


@dataclass(frozen=True, slots=True)
class Process:
    """One operating system process and the nodes that share it."""

    name: str
    nodes: tuple[str, ...]
    program: tuple[str, ...] = ('-m', 'efficient_vla.nodes')
    """What Python runs, with the nodes as its words."""


def _alone(*names: str) -> tuple[Process, ...]:
    return tuple(Process(name, (name,)) for name in names)


_PERCEPTION_REASONER = Process('perception_reasoner', ('perception', 'reasoner'))

HARDWARE: dict[str, tuple[Process, ...]] = {
    # A plan follows its tokens, so the two share one copy of torch and of the weights. The actor
    # has an interpreter of its own, since it must not wait for the reasoner's.
    'cpu_2core': (_PERCEPTION_REASONER, *_alone('actor')),
    'desktop_gpu': (_PERCEPTION_REASONER, *_alone('actor')),
    # One CUDA context for all three stages: each further one costs some 400 MB of shared memory.
    'jetson_orin': (Process('policy', POLICY_NODES),),
}
"""Which stages share a process; threads and priorities are parameters in config/hardware."""


DEFAULT_POLICY = 'evla_nano'


@dataclass(frozen=True, slots=True)
class Selection:
    """What a user chooses."""

    robot: str = DEFAULT_ROBOT
    """Simulated robot, or a profile, in ``config/robots`` or a file, of one with a driver."""
    hardware: str = 'cpu_2core'
    policy: str = ''
    """Profile in ``config/policies``, a policy folder, or the address of a policy server; empty:
    the one that ships for the robot."""
    namespace: str = ''
    use_sim_time: bool = False
    autostart: bool = True
    log_level: str = 'info'
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """``node.parameter`` -> value, stronger than every file."""
    parameter_files: tuple[Path, ...] = ()
    """Further files, stronger than the profiles."""
    remaps: tuple[str, ...] = ()
    """Topics under other names, as ``from:=to``."""
    simulate: bool = False
    """Whether a stand-in of its driver runs beside the profile of a robot that is not simulated."""
    only: tuple[str, ...] = ()
    """Nodes that run here, while others run elsewhere; empty: all."""


class Option(NamedTuple):
    """One choice of a user: a word of ``efficient-vla up`` and an argument of the launch files."""

    name: str
    default: str
    text: str
    choices: tuple[str, ...] | None = None


def options() -> tuple[Option, ...]:
    """Return the choices of one word each, which are fields of a ``Selection``."""
    robots, policies = (', '.join(profiles(kind)) for kind in ('robots', 'policies'))
    systems = ', '.join(SYSTEMS)
    return (
        Option(
            'robot',
            DEFAULT_ROBOT,
            f'robot profile in config/robots ({robots}), or a .yaml file like those for a robot '
            'with a driver of its own',
        ),
        Option(
            'hardware',
            'cpu_2core',
            'machine profile in config/hardware; decides which nodes share a process',
            profiles('hardware'),
        ),
        Option(
            'policy',
            '',
            f'policy profile in config/policies ({policies}), a policy folder, or '
            'ws://HOST:PORT of a policy server; empty: the one that ships for the robot. Of the '
            f'systems {systems} the name alone has random weights in a small shape, NAME:full '
            'those of the published shape, and NAME=FOLDER is a folder of your own',
        ),
        Option('namespace', '', 'namespace of all nodes; empty: none'),
        Option('log_level', 'info', 'least level that nodes log', LOG_LEVELS),
    )


def selected(chosen: Mapping[str, Any], **others: Any) -> Selection:
    """Return the selection of what is ``chosen`` for every option, and ``others`` of its fields."""
    return Selection(**{option.name: chosen[option.name] for option in options()}, **others)


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked selection: processes, and the parameters that all of them get."""

    processes: tuple[Process, ...]
    parameter_files: tuple[Path, ...]
    """What ``parameters`` were read from; later files are stronger."""
    parameters: Mapping[str, Mapping[str, Any]]
    """Node -> parameter -> value: all that differs from the settings classes, and more."""
    namespace: str
    log_level: str
    remaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out of the files, for the log."""
    spread: bool = False
    """Whether some of its nodes run on another host."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes."""
        return tuple(name for process in self.processes for name in process.nodes)


def profiles(kind: str) -> tuple[str, ...]:
    """Return the names of the profiles in ``config/<kind>``."""
    names = {path.stem for path in (share_folder('config') / kind).glob('*.yaml')}
    return tuple(sorted(names | set(robots() if kind == 'robots' else ())))


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Return ``node.param`` -> value for words such as ``actor.rate=10.0``."""
    values = {}
    for word in words:
        name, equals, text = word.partition('=')
        if not equals:
            raise ProfileError(
                f'override {word!r} is not of the form node.param=value; write for example '
                'reasoner.pruning.keep=0.5.'
            )
        try:
            values[name] = yaml.safe_load(text) if text else ''
        except (yaml.YAMLError, ValueError) as error:
            raise ProfileError(f'override {word!r}: {text!r} is not YAML.') from error
    return values


def describe(selection: Selection) -> Graph:
    """Return the graph of a selection.

    Raises ``ProfileError`` naming the value, what exists and the remedy.
    """
    hardware = _profile('hardware', 'hardware', selection.hardware)
    robot = _profile('robot', 'robots', selection.robot)
    if selection.log_level not in LOG_LEVELS:
        raise ProfileError(
            f'log level {selection.log_level!r} is unknown; '
            f'expected one of {", ".join(LOG_LEVELS)}.'
        )
    # Robots that are not simulated bring their own driver.
    simulated = selection.robot in robots()
    driver: tuple[str, ...] = (node_name(selection.robot),) if simulated else ()
    if selection.simulate:
        driver = _stand_in(selection)
    processes = HARDWARE[selection.hardware] + _alone('controller', *driver, 'monitor')
    nodes = tuple(name for process in processes for name in process.nodes)
    config = share_folder('config')
    if simulated and driver:
        _refuse_task(selection, driver[0])
    files = [config / f'{name}.yaml' for name in nodes]
    files = [path for path in files if path.is_file()]
    files += [hardware, robot]
    place: PolicyPlace | None = None
    policy = selection.policy or shipped_policy(selection.robot)
    if policy in set(profiles('policies')) - set(SYSTEMS):
        files.append(config / 'policies' / f'{policy}.yaml')
    else:
        place = _system(policy) or _policy_place(policy)
        files += deployment.files_of(place)
    files += selection.parameter_files
    namespace = '/' + selection.namespace.strip('/') if selection.namespace.strip('/') else ''
    try:
        merged = merge(files, KINDS, nodes, namespace)
    except ParameterFileError as error:
        raise ProfileError(str(error)) from error
    _complete(merged, selection, place)
    _take_limits(merged)
    facts = facts_of(merged.values)
    if facts is not None:
        _follow(merged, facts, selection)
    if selection.simulate:
        _fill_stand_in(merged, facts)
    _show_arm(merged)
    _refuse_values(merged)
    if facts is not None:
        _refuse_misfit(merged, facts, selection)
    return Graph(
        _here(_sharing(processes, facts), selection.only),
        tuple(files),
        merged.values,
        namespace,
        selection.log_level,
        _remaps(merged, facts, selection, namespace),
        tuple(merged.notes),
        bool(selection.only),
    )


def _here(processes: tuple[Process, ...], only: tuple[str, ...]) -> tuple[Process, ...]:
    """Return the processes with those of their nodes that run here; empty ``only``: all."""
    nodes = [name for process in processes for name in process.nodes]
    strangers = [name for name in only if name not in nodes]
    if strangers:
        raise ProfileError(
            f'--only names {", ".join(strangers)}; expected nodes of this graph, some of '
            f'{", ".join(nodes)}.'
        )
    if not only:
        return processes
    kept = (replace(p, nodes=tuple(n for n in p.nodes if n in only)) for p in processes)
    return tuple(process for process in kept if process.nodes)


def _driver_remaps(merged: Merged, selection: Selection, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``words`` and where an arm behind its driver, or a stand-in of it, tells its joints.

    The first word that fits is the one that ROS takes.
    """
    controller, robot = merged.values['controller'], node_name(selection.robot)
    driven = merged.values.get(robot, {}).get('interface') == 'driver'
    if selection.robot not in robots():
        of_driver = controller.get('output') in TRAJECTORIES
        driven = of_driver and bool(_simulated_by(controller.get('names', ())))
    return (*words, 'robot_state:=joint_states') if driven else words


def _stand_in(selection: Selection) -> tuple[str, ...]:
    """Return the node that stands in for the driver of a robot that has no simulation."""
    if selection.robot in robots():
        raise ProfileError(
            f'robot {selection.robot} is a simulated one; expected --simulate only for the profile '
            'of another. Leave it out.'
        )
    if not installed():
        raise ProfileError(MISSING)
    return (STAND_IN,)


def _fill_stand_in(merged: Merged, facts: FolderFacts | None) -> None:
    """Give the stand-in what follows from the profile of the robot and from the policy."""
    refused = stand_in.refuse(merged.values['controller'])
    if refused:
        raise ProfileError(refused)
    chosen = merged.values['perception'].get('cameras', ())
    cameras = () if facts is None else tuple(fit.cameras_of(facts, chosen))
    _fill(merged, STAND_IN, stand_in.parameters(merged.values, cameras))


def _remaps(
    merged: Merged, facts: FolderFacts | None, selection: Selection, namespace: str
) -> tuple[str, ...]:
    """Return the words of all remaps, those of the selection first, which ROS then takes."""
    chosen = merged.values['perception'].get('cameras', ())
    cameras = None if facts is None else tuple(fit.cameras_of(facts, chosen))
    words = (*selection.remaps, *remaps.words_of(merged.remaps, tuple(merged.values)))
    words = _driver_remaps(merged, selection, words)
    wrong = remaps.refuse(words, merged.values, cameras, namespace)
    if wrong:
        raise ProfileError(wrong)
    return words + (stand_in.remaps(words) if selection.simulate else ())


def shipped_policy(robot: str) -> str:
    """Return the name of the policy that ships for a robot, or for the one of a copied profile."""
    if robot not in robots():
        profile = _profile('robot', 'robots', robot)
        try:
            own = merge([profile], KINDS, ['controller']).values['controller']
        except ParameterFileError as error:
            raise ProfileError(str(error)) from error
        robot = _simulated_by(own.get('names', ()))
    return (simulation(robot).policy if robot else '') or DEFAULT_POLICY


def _simulated_by(names: Iterable[str]) -> str:
    """Return the simulated arm with a driver whose columns are ``names``, '' for none.

    A profile with its columns is a copy of its profile, for such an arm.
    """
    known = (robot for robot in robots() if installed() and simulation(robot).driver is not None)
    return next((robot for robot in known if simulation(robot).command_names == tuple(names)), '')


def profile_values(robot: str, kinds: Mapping[str, type]) -> dict[str, dict[str, Any]]:
    """Return node -> parameter -> value that a robot's profile has for settings of these kinds.

    ``kinds`` maps nodes of the graph to settings, which need not have all parameters of the node.
    Raises ``ProfileError``.
    """
    try:
        merged = merge([robot_profile(robot)], KINDS, list(kinds))
    except ParameterFileError as error:
        raise ProfileError(str(error)) from error
    values = merged.values
    if 'controller' in values:
        _take_limits(merged)
    known = {node: {name for name, _, _ in specs(kind)} for node, kind in kinds.items()}
    return {
        node: {name: value for name, value in own.items() if name in known[node]}
        for node, own in values.items()
    }


def robot_met(robot: str, overrides: Mapping[str, Any]) -> fit.Robot:
    """Return what a policy meets at a robot, by its profile and what is stronger than it.

    Raises ``ProfileError``.
    """
    profile = _profile('robot', 'robots', robot)
    config, nodes = share_folder('config'), (*POLICY_NODES, 'controller')
    files = [*(config / f'{node}.yaml' for node in nodes), profile]
    try:
        merged = merge(files, KINDS, nodes)
    except ParameterFileError as error:
        raise ProfileError(str(error)) from error
    values = merged.values
    for word, value in overrides.items():
        node, _, parameter = word.partition('.')
        if node not in values or parameter not in KINDS[node]:
            raise ProfileError(
                f'override {word!r} names no parameter of {", ".join(nodes)}. Correct it.'
            )
        values[node][parameter] = value
        merged.places.pop((node, parameter), None)
    _take_limits(merged)
    simulated = simulation(robot) if robot in robots() else None
    try:
        return fit.robot_of(robot, values, simulated)
    except InvalidSettingError as error:
        raise ProfileError(f'{profile}: {error}') from error


def _profile(word: str, folder: str, name: str) -> Path:
    """Return the file of a shipped profile, or of the user's own robot."""
    known = profiles(folder)
    if folder == 'robots' and name in robots():
        return robot_profile(name)
    if name in known:
        return share_folder('config') / folder / f'{name}.yaml'
    own = Path(name).expanduser().resolve()
    if word == 'robot' and own.suffix == '.yaml' and own.is_file():
        return own
    if word == 'robot' and own.suffix in ('.yaml', '.yml', '.urdf'):
        raise ProfileError(
            f'robot {name!r} is no .yaml file that exists; expected the profile of an arm. Write '
            'one with: efficient-vla new-robot --urdf ARM.urdf --out ARM.yaml'
        )
    alternative = ' or a .yaml file of your own' if word == 'robot' else ''
    raise ProfileError(
        f'{word} {name!r} is unknown; expected one of {", ".join(known)}{alternative}. '
        f'The shipped profiles are files in config/{folder}/.'
    )


def _refuse_task(selection: Selection, driver: str) -> None:
    """Raise ``ProfileError`` for a task that the simulated robot does not have."""
    task = selection.overrides.get(f'{driver}.task') or ''
    known = simulation(selection.robot).instructions
    if task and task not in known:
        raise ProfileError(
            f'{driver}.task is {task!r}; expected one of {", ".join(known)}, or nothing for '
            f'{simulation(selection.robot).first_task}.'
        )


def robot_profile(robot: str) -> Path:
    """Return the parameter file of a robot: of a simulated one, a shipped one, or of your own."""
    if robot not in robots():
        return _profile('robot', 'robots', robot)
    return simulation(robot).profile or share_folder('config') / 'robots' / f'{robot}.yaml'


def _system(policy: str) -> Path | None:
    """Return the folder of the user under the profile of a system, ``None`` where none is named."""
    try:
        word = system_word(policy)
        if word is None:
            return None
        if word.folder is not None:
            return under_profile(word.name, word.folder)
    except (CheckpointError, UsageError) as error:
        raise ProfileError(str(error)) from error
    raise ProfileError(
        f'policy {policy!r} is a system without a folder; expected {word.name}=FOLDER. '
        f'`efficient-vla inspect {policy}` makes a folder with random weights, where training is '
        'installed, and says its path.'
    )


def _policy_place(policy: str) -> PolicyPlace:
    place = policy_place(policy)
    none = why_none(place)
    if none:
        raise ProfileError(
            f'policy {policy!r} is neither a profile ({", ".join(profiles("policies"))}) nor a '
            f'shipped policy, nor a folder that holds a policy: {none}'
        )
    return place.resolve() if isinstance(place, Path) else place


def _complete(merged: Merged, selection: Selection, place: PolicyPlace | None) -> None:
    """Add what the selection says, and what follows from it for the clock."""
    overrides: dict[str, dict[str, Any]] = {name: {} for name in merged.values}
    for word, value in selection.overrides.items():
        node, _, parameter = word.partition('.')
        if node not in overrides or not parameter:
            raise ProfileError(
                f'override {word!r} does not name a node of this graph; expected '
                f'node.parameter with a node of {", ".join(overrides)}.'
            )
        overrides[node][parameter] = value
        merged.places.pop((node, parameter), None)
    given = {name: values | overrides[name] for name, values in merged.values.items()}
    driver = node_name(selection.robot)
    robot, controller = given.get(driver, {}), given['controller']
    lockstep = robot.get('mode') == 'lockstep'
    output = controller.get('output', 'command')
    # Another pace than that of the wall clock needs a clock of its own.
    paced = robot.get('real_time_factor', 1.0) != 1.0
    simulated = selection.use_sim_time or lockstep or paced or robot.get('publish_clock')
    implied: dict[str, dict[str, Any]] = {name: {} for name in given}
    if place is not None:
        for name in POLICY_NODES:
            implied[name]['policy'] = str(place)
    renamed = controller.get('driver.joint_names')
    if renamed and output != 'command':
        for name in ('reasoner', 'actor'):
            implied[name]['joint_names'] = given[name].get('joint_names', renamed)
    away = [name for name in POLICY_NODES if selection.only and name not in selection.only]
    if away:
        implied['controller']['remote_nodes'] = away
        merged.notes.append(
            f'elsewhere: {", ".join(away)}. A death there is told by the age of plans and chunks, '
            'not at once. Set controller.remote_nodes to [] where elsewhere is this machine.'
        )
    behind = driver in given and output in TRAJECTORIES
    if behind and simulation(selection.robot).driver is not None:
        # A profile that sends what a driver takes meets the stand-in of that driver.
        implied[driver]['interface'] = robot.get('interface', 'driver')
    if lockstep:
        # Simulated time waits for a plan and a chunk of every image.
        implied['reasoner']['max_rate'] = UNLIMITED_HZ
        implied['actor']['rate'] = UNLIMITED_HZ
        if given['perception'].get('cache.method') == 'skip':
            raise ProfileError(
                f'perception.cache.method is skip while {driver}.mode is lockstep; expected '
                'none or reuse, since a skipped image gets no plan and time would stand still.'
            )
        streams = output == 'joint_trajectory' and 'interface' in implied[driver]
        if controller.get('dry_run') or not (output == 'command' or streams):
            raise ProfileError(
                f'controller.dry_run is set, or controller.output is {output}, while '
                f'{driver}.mode is lockstep, where time waits for commands; expected '
                f'{driver}.mode realtime.'
            )
    refused = unmet(given['perception'], given['reasoner'], given['actor'])
    if refused:
        raise ProfileError(refused)
    for name, values in implied.items():
        # The simulated robot makes the clock and cannot wait for it.
        if simulated:
            values['use_sim_time'] = name != driver
        if not selection.autostart:
            values['autostart'] = False
        merged.values[name] |= values | overrides[name]
    if driver in merged.values and simulated:
        merged.values[driver]['publish_clock'] = True


def _take_limits(merged: Merged) -> None:
    """Give the controller the limits of its robot's description, but for those that are set."""
    own = merged.values['controller']
    if not is_described(own):
        return
    for name in [name for name in own if limited(name)]:
        if merged.places.get(('controller', name), '').startswith(_default_file('controller')):
            del own[name]
    try:
        merged.values['controller'] = completed(own)
    except InvalidSettingError as error:
        raise ProfileError(f'controller: {error}') from error


def _show_arm(merged: Merged) -> None:
    """Give the monitor what it draws a robot of joints by."""
    try:
        _fill(merged, 'monitor', drawn_arm.parameters(merged.values['controller']))
    except InvalidSettingError as error:
        raise ProfileError(f'controller: {error}') from error


def _default_file(node: str) -> str:
    """Return how places begin of what the file has that comes with the package."""
    return f'the parameter file {str(share_folder("config") / f"{node}.yaml")!r},'


def _refuse_values(merged: Merged) -> None:
    """Check what every node would check when it is configured, before any of them starts."""
    for name, values in merged.values.items():
        own = {key: value for key, value in values.items() if not is_ros_parameter(key)}
        try:
            build(NODES[name].settings, own)
        except InvalidSettingError as error:
            parameter = str(error).removeprefix('unknown parameter ').partition(' ')[0]
            parameter = parameter.strip("';")
            place = merged.places.get((name, parameter), name)
            raise ProfileError(f'{place}: {error}') from error
        typed(values, KINDS[name])


def facts_of(parameters: Mapping[str, Mapping[str, Any]]) -> FolderFacts | None:
    """Return what the policy's folder says; ``None`` where the nodes will say that there is none.

    Raises ``ProfileError`` where it cannot be read.
    """
    place = policy_place(parameters['perception'].get('policy', ''))
    # What a server has is known once it was asked.
    if not isinstance(place, Path) or why_none(place):
        return None
    try:
        return folder_facts(place)
    except CheckpointError as error:
        raise ProfileError(str(error)) from error


def _sharing(processes: tuple[Process, ...], facts: FolderFacts | None) -> tuple[Process, ...]:
    """Return the processes, in one of them all stages of a policy that asks for that."""
    if facts is None or not facts.one_process:
        return processes
    others = (process for process in processes if not set(process.nodes) & set(POLICY_NODES))
    return (Process('policy', POLICY_NODES), *others)


def _follow(merged: Merged, facts: FolderFacts, selection: Selection) -> None:
    """Add what follows from the policy, where only the default files say something else."""
    follows = fit.implied(facts, merged.values)
    side = fit.image_side(facts)
    driver = node_name(selection.robot)
    if side is not None and driver in merged.values:
        follows[driver] = {'camera.size': side}
    for node, values in follows.items():
        _fill(merged, node, values)


def _fill(merged: Merged, node: str, values: Mapping[str, Any]) -> None:
    """Add values where only the default file of a node says something else."""
    default = _default_file(node)
    for name, value in values.items():
        unsaid = name not in merged.values[node]
        if unsaid or merged.places.get((node, name), '').startswith(default):
            merged.values[node][name] = value


def _refuse_misfit(merged: Merged, facts: FolderFacts, selection: Selection) -> None:
    """Raise ``ProfileError`` where policy, robot and monitor do not fit; note what they may not."""
    shown = list(merged.values['monitor'].get('cameras', ()))
    cameras = fit.cameras_of(facts, merged.values['perception'].get('cameras', ()))
    if shown and cameras and shown != cameras:
        raise ProfileError(
            f'monitor.cameras is {shown}; expected {cameras}, those of the policy in its order, or '
            '[] where it has one.'
        )
    simulated = simulation(selection.robot) if selection.robot in robots() else None
    robot = fit.robot_of(selection.robot, merged.values, simulated)
    wrong = fit.misfits(facts, replace(robot, still=robot.still or selection.simulate))
    if wrong:
        raise ProfileError(wrong[0])
    merged.notes += doubts(robot.joints, facts.learned)


def arguments(graph: Graph, parameters: Path) -> list[str]:
    """Return the ROS arguments of every process; ``parameters`` holds those of the graph."""
    words = ['--ros-args', '--params-file', str(parameters)]
    for remap in (f'__ns:={graph.namespace}' if graph.namespace else '', *graph.remaps):
        words += ['-r', remap] if remap else []
    return [*words, '--log-level', graph.log_level]


def refuse_unsecured(graph: Graph, present: Mapping[str, str]) -> None:
    """Raise ``ProfileError`` where security is enabled and keys of a process are missing."""
    names = (*(process.name for process in graph.processes), 'observer')
    reason = why_no_keys(present, [enclave(graph.namespace, name) for name in names])
    if reason:
        raise ProfileError(reason)


def command(graph: Graph, process: Process, parameters: Path) -> list[str]:
    """Return the command line of a process for this interpreter."""
    # -P: no module of the folder that it is started in.
    module = [sys.executable, '-P', *process.program, *process.nodes]
    secured = ['--enclave', enclave(graph.namespace, process.name)]
    return [*module, *arguments(graph, parameters), *secured]


def middleware(present: Mapping[str, str], spread: bool = False) -> dict[str, str]:
    """Return the variables that make the middleware lose no image; the user's own ones win.

    A graph that is ``spread`` over several hosts has a profile of its own.
    """
    config, variable = share_folder('config'), profile_variable(present)
    profile = present.get(variable, str(config / 'fastdds.xml'))
    if spread and Path(profile).resolve() == (config / 'fastdds.xml').resolve():
        profile = str(config / 'fastdds_network.xml')
    return {
        'ROS_AUTOMATIC_DISCOVERY_RANGE': present.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST'),
        variable: profile,
    }


def environment(present: Mapping[str, str], spread: bool = False) -> dict[str, str]:
    """Return the variables that every process gets beside those ``present``, as ``middleware``."""
    # torch takes its number of threads from the parameter ``threads``; numpy needs no more than
    # one, and its idle workers would spin on the cores of the controller.
    return {**middleware(present, spread), **THREAD_VARIABLES, 'PYTHONUNBUFFERED': '1'}
