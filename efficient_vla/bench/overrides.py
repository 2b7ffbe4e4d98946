# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of all nodes of a run, from ``node.param=value`` words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from efficient_vla.action.settings import ActorSettings
from efficient_vla.bringup import catalogue
from efficient_vla.bringup.graph import profile_values
from efficient_vla.bringup.parameter_files import is_ros_parameter
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.errors import UsageError
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.presets import refuse_unmet
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import (
    InvalidSettingError,
    build,
    flatten,
    setting,
    specs,
    unknown_parameter,
)
from efficient_vla.sim.catalogue import DEFAULT_ROBOT
from efficient_vla.sim.episodes import PLANS

EXECUTIONS = ('asynchronous', 'synchronous')


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """Schedule of an evaluation in process, in simulated time."""

    reasoner_period: float = setting(
        0.0,
        'Time between two plans; 0 takes 0.4 s for dual and 0.2 s for single.',
        unit='s',
        low=0.0,
        high=10.0,
    )
    actor_period: float = setting(
        0.0,
        'Time between two chunks of dual; 0 takes 0.1 s. In single every plan gives one chunk.',
        unit='s',
        low=0.0,
        high=10.0,
    )
    max_steps: int = setting(
        500,
        'Steps of the simulator after which an episode has failed; 500, of 12.5 ms, is the '
        'protocol of published numbers of Meta-World.',
        low=1,
        high=500,
    )
    delay: float = setting(
        0.0,
        'Simulated time from a frame to the arrival of the chunk that was computed from it.',
        unit='s',
        low=0.0,
        high=10.0,
    )
    jitter: float = setting(
        0.0,
        'Largest time by which a chunk arrives even later, drawn by the seed of the episode.',
        unit='s',
        low=0.0,
        high=10.0,
    )
    drop: float = setting(
        0.0,
        'Share of chunks that never arrive, drawn by the seed of the episode.',
        low=0.0,
        high=1.0,
    )
    in_flight: int = setting(
        1,
        'Chunks that may be under way at once: 1 for a computer that computes one after the '
        'other, more for one that overlaps them. No frame is used while as many are under way.',
        low=1,
        high=64,
    )
    execution: str = setting(
        'asynchronous',
        'asynchronous: the robot goes on along its chunk while the next is computed. synchronous: '
        'it executes a chunk, stands still, and only then takes the frame for the next.',
        choices=EXECUTIONS,
    )
    horizon: float = setting(
        0.0,
        'Time for which synchronous execution follows a chunk; 0 takes the whole chunk.',
        unit='s',
        low=0.0,
        high=10.0,
    )

    plan: str = setting(
        'live',
        'Control of what a plan carries. first: the first plan of an episode stays. wrong: plans '
        'are made for another sentence, of another episode of the task that asks for something '
        'else, or of another task where none does.',
        choices=PLANS,
    )

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if self.horizon and self.execution != 'synchronous':
            return (
                f'horizon is {self.horizon} s with execution {self.execution}; expected 0, since '
                'only synchronous execution ends a chunk early. Set execution to synchronous.'
            )
        if self.in_flight > 1 and self.execution == 'synchronous':
            return (
                f'in_flight is {self.in_flight} with execution synchronous; expected 1, since the '
                'robot waits for every chunk.'
            )
        return None


KINDS: dict[str, type] = {
    'perception': PerceptionSettings,
    'reasoner': ReasonerSettings,
    'actor': ActorSettings,
    'controller': ControllerSettings,
    'eval': EvaluationSettings,
}


def parse_overrides(
    words: Iterable[str], kinds: Mapping[str, type] = KINDS
) -> dict[str, dict[str, Any]]:
    """Return node -> parameter -> value for words such as ``reasoner.pruning.keep=0.5``.

    Values are read as the type that the parameter has; ``kinds`` maps nodes to their settings.

    Raises ``UsageError`` for a word or node, and ``InvalidSettingError`` for a parameter or value
    that does not exist.
    """
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        name, equals, text = word.partition('=')
        node, dot, parameter = name.partition('.')
        if not (equals and dot and parameter):
            raise UsageError(
                f'--set {word!r} is not of the form node.param=value; '
                'write for example --set reasoner.pruning.keep=0.5.'
            )
        known, in_graph = (
            has_parameter(k, node, parameter) for k in (kinds, catalogue.NODE_SETTINGS)
        )
        if in_graph and not known:
            raise UsageError(
                f'{node}.{parameter} is a parameter of a node of the graph, which nothing in '
                'process has; leave it out or add --graph.'
            )
        if node not in kinds:
            raise UsageError(
                f'--set {word!r} names the unknown node {node!r}; known are {", ".join(kinds)}.'
            )
        found.setdefault(node, {})[parameter] = _typed(kinds[node], node, parameter, text)
    return found


def merged(
    first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the overrides of both; those of ``second`` win."""
    nodes = first.keys() | second.keys()
    return {node: {**first.get(node, {}), **second.get(node, {})} for node in nodes}


def has_parameter(kinds: Mapping[str, type], node: str, parameter: str) -> bool:
    """Return whether the settings of ``node`` in ``kinds`` have the parameter."""
    return node in kinds and any(name == parameter for name, _, _ in specs(kinds[node]))


def build_settings(
    overrides: Mapping[str, Mapping[str, Any]], robot: str = DEFAULT_ROBOT
) -> dict[str, Any]:
    """Return node -> settings for all stages that run in process.

    The robot's profile gives what the robot needs, such as the limits of its controller.
    """
    # The evaluation itself is no node.
    nodes = {node: kind for node, kind in KINDS.items() if node in catalogue.KINDS}
    profile = profile_values(robot, nodes)
    settings = {
        node: _build(node, kind, {**profile.get(node, {}), **overrides.get(node, {})})
        for node, kind in KINDS.items()
    }
    refuse_unmet(settings)
    return settings


def graph_settings(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return node -> settings of the nodes of a graph, from the parameters that they get."""
    return {
        node: _build(
            node,
            catalogue.NODE_SETTINGS[node],
            {name: value for name, value in values.items() if not is_ros_parameter(name)},
        )
        for node, values in parameters.items()
    }


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``node.param`` -> value."""
    return {
        f'{node}.{name}': value
        for node, values in settings.items()
        for name, value in flatten(values).items()
    }


def _build(node: str, kind: type, values: Mapping[str, Any]) -> Any:
    try:
        return build(kind, values)
    except InvalidSettingError as error:
        raise InvalidSettingError(f'{node}: {error}') from error


def _typed(kind: type, node: str, parameter: str, text: str) -> Any:
    defaults = {name: default for name, default, _ in specs(kind)}
    if parameter not in defaults:
        raise InvalidSettingError(unknown_parameter(parameter, defaults, f'{node}.'))
    default = defaults[parameter]
    if isinstance(default, str):
        return text
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f'--set {node}.{parameter}={text}: {text!r} is not YAML.') from error
