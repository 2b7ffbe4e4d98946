# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of all nodes of a run, from ``node.param=value`` words."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from efficient_vla.action.settings import ActorSettings
from efficient_vla.bench.errors import UsageError
from efficient_vla.bench.places import share_folder
from efficient_vla.bench.profiles import node_values
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import InvalidSettingError
from efficient_vla.settings import build
from efficient_vla.settings import flatten
from efficient_vla.settings import setting
from efficient_vla.settings import specs


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
        'Steps of 12.5 ms after which an episode has failed; 500 is the protocol of '
        'published numbers.',
        low=1,
        high=500,
    )


ROBOT = 'metaworld'
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
        if node not in kinds:
            raise UsageError(
                f'--set {word!r} names the unknown node {node!r}; known are {", ".join(kinds)}.'
            )
        found.setdefault(node, {})[parameter] = _typed(kinds[node], node, parameter, text)
    return found


def build_settings(overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return node -> settings for all stages that run in process.

    The robot's profile gives what the robot needs, such as the limits of its controller.
    """
    robot = [share_folder('config') / 'robots' / f'{ROBOT}.yaml']
    settings: dict[str, Any] = {}
    for node, kind in KINDS.items():
        known = {name for name, _, _ in specs(kind)}
        profile = {k: v for k, v in node_values(robot, node).items() if k in known}
        settings[node] = _build(node, kind, {**profile, **overrides.get(node, {})})
    return settings


def graph_settings(
    files: Sequence[Path], overrides: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return node -> settings of all nodes of the graph, from its files and the overrides."""
    from efficient_vla.bench.parameters_doc import NODE_SETTINGS

    return {
        node: _build(node, kind, {**node_values(files, node), **overrides.get(node, {})})
        for node, kind in NODE_SETTINGS.items()
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
        raise InvalidSettingError(
            f'unknown parameter {node}.{parameter}; known are '
            f'{", ".join(f"{node}.{name}" for name in sorted(defaults))}.'
        )
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
