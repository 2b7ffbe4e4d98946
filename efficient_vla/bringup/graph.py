# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The running graph as data: which processes there are, and what each one is started with.

Both launch files and the supervisor read this description, so that every way of starting gives
the same graph. Nothing here imports rclpy or launch.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from efficient_vla import cards
from efficient_vla.bringup.catalogue import NODES, POLICY_NODES
from efficient_vla.bringup.parameter_files import refuse_file
from efficient_vla.bringup.profiles import node_values
from efficient_vla.places import policy_folder, share_folder
from efficient_vla.presets import unmet
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, node_name, robots, simulation

LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
FASTRTPS_DISTROS = ('humble', 'iron', 'jazzy')
"""ROS distributions with Fast DDS 2, which reads the older name of the profile variable."""


UNLIMITED_HZ = 1000.0
THREAD_VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')


class ProfileError(ValueError):
    """The selection names something that does not exist or does not fit together."""


@dataclass(frozen=True, slots=True)
class Process:
    """One operating system process and the nodes that share it."""

    name: str
    nodes: tuple[str, ...]
    respawn: bool = True


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


@dataclass(frozen=True, slots=True)
class Selection:
    """What a user chooses."""

    robot: str = DEFAULT_ROBOT
    """Simulated robot, or a profile, in ``config/robots`` or a file, of one with a driver."""
    hardware: str = 'cpu_2core'
    policy: str = 'evla_nano'
    """Profile in ``config/policies`` or a folder that holds ``policy.json``."""
    namespace: str = ''
    use_sim_time: bool = False
    autostart: bool = True
    log_level: str = 'info'
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """``node.parameter`` -> value, stronger than every file."""
    parameter_files: tuple[Path, ...] = ()
    """Further files, stronger than the profiles."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked selection: processes, and the files and parameters that all of them get."""

    processes: tuple[Process, ...]
    parameter_files: tuple[Path, ...]
    """Later files are stronger; entries for other nodes have no effect."""
    parameters: Mapping[str, Mapping[str, Any]]
    """Node -> parameter -> value, stronger than every file."""
    namespace: str
    log_level: str

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
        except yaml.YAMLError as error:
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
    driver = (node_name(selection.robot),) if selection.robot in robots() else ()
    processes = HARDWARE[selection.hardware] + _alone('controller', *driver, 'monitor')
    nodes = tuple(name for process in processes for name in process.nodes)
    config = share_folder('config')
    if driver:
        _refuse_task(selection, driver[0])
    files = [config / f'{name}.yaml' for name in nodes]
    files = [path for path in files if path.is_file()]
    files += [hardware, robot]
    folder = None
    if selection.policy in profiles('policies'):
        files.append(config / 'policies' / f'{selection.policy}.yaml')
    else:
        folder = _policy_folder(selection.policy)
    for path in selection.parameter_files:
        if not Path(path).is_file():
            raise ProfileError(f'the parameter file {str(path)!r} does not exist; check its path.')
        files.append(Path(path).resolve())
    for path in (robot, *selection.parameter_files):
        refused = refuse_file(Path(path), NODES)
        if refused:
            raise ProfileError(refused)
    parameters = _parameters(selection, nodes, files)
    if folder is not None:
        for name in POLICY_NODES:
            parameters[name].setdefault('policy', str(folder))
    namespace = '/' + selection.namespace.strip('/') if selection.namespace.strip('/') else ''
    return Graph(processes, tuple(files), parameters, namespace, selection.log_level)


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
    """Return the parameter file of a simulated robot."""
    return simulation(robot).profile or share_folder('config') / 'robots' / f'{robot}.yaml'


def _policy_folder(policy: str) -> Path:
    folder = policy_folder(policy).resolve()
    if not (folder / 'policy.json').is_file():
        raise ProfileError(
            f'policy {policy!r} is neither a profile ({", ".join(profiles("policies"))}) nor a '
            'shipped policy, nor a folder that holds policy.json: '
            f'{cards.missing(folder / "policy.json")}'
        )
    return folder


def _parameters(
    selection: Selection, nodes: tuple[str, ...], files: Sequence[Path]
) -> dict[str, dict[str, Any]]:
    parameters: dict[str, dict[str, Any]] = {name: {} for name in nodes}
    for word, value in selection.overrides.items():
        node, _, parameter = word.partition('.')
        if node not in parameters or not parameter:
            raise ProfileError(
                f'override {word!r} does not name a node of this graph; expected '
                f'node.parameter with a node of {", ".join(nodes)}.'
            )
        parameters[node][parameter] = value

    def given(node: str) -> dict[str, Any]:
        return node_values(files, node) | parameters[node] if node in parameters else {}

    driver = node_name(selection.robot)
    robot = given(driver)
    lockstep = robot.get('mode') == 'lockstep'
    # Another pace than that of the wall clock needs a clock of its own.
    paced = robot.get('real_time_factor', 1.0) != 1.0
    simulated = selection.use_sim_time or lockstep or paced or robot.get('publish_clock')
    if lockstep:
        # Simulated time waits for a plan and a chunk of every image.
        parameters['reasoner'].setdefault('max_rate', UNLIMITED_HZ)
        parameters['actor'].setdefault('rate', UNLIMITED_HZ)
        if given('perception').get('cache.method') == 'skip':
            raise ProfileError(
                f'perception.cache.method is skip while {driver}.mode is lockstep; expected '
                'none or reuse, since a skipped image gets no plan and time would stand still.'
            )
        controller = given('controller')
        if controller.get('dry_run') or controller.get('output', 'command') != 'command':
            raise ProfileError(
                'controller.dry_run or another controller.output than command is set while '
                f'{driver}.mode is lockstep, where time waits for commands; expected '
                f'{driver}.mode realtime.'
            )
    refused = unmet(given('perception'), given('reasoner'))
    if refused:
        raise ProfileError(refused)
    for name, values in parameters.items():
        # The simulated robot makes the clock and cannot wait for it.
        if simulated:
            values.setdefault('use_sim_time', name != driver)
        if not selection.autostart:
            values.setdefault('autostart', False)
    if driver in parameters and simulated:
        parameters[driver]['publish_clock'] = True
    return parameters


def parameters_yaml(graph: Graph) -> str:
    """Return the strongest parameters as a ROS parameter file for any namespace."""
    nodes = {name: {'ros__parameters': _nested(v)} for name, v in graph.parameters.items()}
    return str(yaml.dump({'/**': nodes}, Dumper=_Dumper, sort_keys=True))


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, leaf = name.split('.')
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[leaf] = _quoted(value)
    return tree


class _Text(str):
    """Text that YAML gets in quotes: ROS takes a bare y for true."""


class _Dumper(yaml.SafeDumper):
    """Writes ``_Text`` in quotes."""


_Dumper.add_representer(
    _Text, lambda dumper, text: dumper.represent_scalar('tag:yaml.org,2002:str', text, style="'")
)


def _quoted(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_quoted(item) for item in value]
    return _Text(value) if isinstance(value, str) else value


def arguments(graph: Graph, overrides: Path) -> list[str]:
    """Return the ROS arguments of every process; ``overrides`` holds ``parameters_yaml``."""
    words = ['--ros-args']
    for path in (*graph.parameter_files, overrides):
        words += ['--params-file', str(path)]
    if graph.namespace:
        words += ['-r', f'__ns:={graph.namespace}']
    return [*words, '--log-level', graph.log_level]


def command(graph: Graph, process: Process, overrides: Path) -> list[str]:
    """Return the command line of a process for this interpreter."""
    module = [sys.executable, '-m', 'efficient_vla.nodes', *process.nodes]
    return [*module, *arguments(graph, overrides)]


def middleware(present: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make the middleware lose no image; the user's own ones win."""
    profile = 'FASTDDS_DEFAULT_PROFILES_FILE'
    if present.get('ROS_DISTRO') in FASTRTPS_DISTROS:
        profile = 'FASTRTPS_DEFAULT_PROFILES_FILE'
    return {
        'ROS_AUTOMATIC_DISCOVERY_RANGE': present.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST'),
        profile: present.get(profile, str(share_folder('config') / 'fastdds.xml')),
    }


def environment(present: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that every process gets beside those ``present``."""
    # torch takes its number of threads from the parameter ``threads``; numpy needs no more than
    # one, and its idle workers would spin on the cores of the controller.
    threads = dict.fromkeys(THREAD_VARIABLES, '1')
    return {**middleware(present), **threads, 'PYTHONUNBUFFERED': '1'}
