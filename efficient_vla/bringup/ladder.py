# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The degradation ladder as data, and when a step of it is taken; no ROS here."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from efficient_vla.bringup.catalogue import KINDS
from efficient_vla.places import share_folder
from efficient_vla.settings import InvalidSettingError

MEASURES = (
    'chunk_share',
    'plan_share',
    'round_trip',
    'memory_free',
    'gpu_faults',
    'camera_age',
)
HOLD = 'hold'
"""The last step: the controller is paused."""


@dataclass(frozen=True, slots=True)
class Step:
    """Parameters of a node that are lowered to a share of what the user set."""

    node: str
    parameters: tuple[str, ...]
    share: float
    least: float
    unless: tuple[str, Any] | None = None
    """A parameter of the same node, and the value with which this step changes nothing."""

    def lowered(self, value: Any) -> Any:
        """Return the lowered ``value``, of the same type, or ``value`` where it is low already."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= self.least:
            return value
        return type(value)(max(value * self.share, self.least))


@dataclass(frozen=True, slots=True)
class Rule:
    """A measure, when it is bad and good again, and the steps that it takes in turn."""

    name: str
    measure: str
    worse: float
    better: float
    after: float
    """It is bad for so long before each step [s]."""
    rest: float
    """It is good for so long before each step back [s]."""
    steps: tuple[str, ...]

    def bad(self, value: float) -> bool:
        """Return whether ``value`` asks for a step; a value that is not known does not."""
        return value < self.worse if self.worse < self.better else value > self.worse

    def good(self, value: float) -> bool:
        """Return whether ``value`` lets a step be taken back, as one that is not known does."""
        within = value > self.better if self.worse < self.better else value < self.better
        return within or math.isnan(value)


@dataclass(frozen=True, slots=True)
class LadderRules:
    """A whole ladder."""

    rules: tuple[Rule, ...]
    steps: Mapping[str, Step]


@dataclass(slots=True)
class _Place:
    """How far down a rule is, and since when it asks for another step."""

    level: int = 0
    bad_since: float = math.inf
    good_since: float = math.inf


@dataclass
class Ladder:
    """Takes steps by measures; times are those of the steady clock [s]."""

    table: LadderRules
    absent: set[str] = field(default_factory=set)
    """Steps that change nothing here."""

    def __post_init__(self) -> None:
        self._places = {rule.name: _Place() for rule in self.table.rules}

    @property
    def calm(self) -> bool:
        """Whether no rule asks for anything."""
        places = self._places.values()
        return all(place.level == 0 and math.isinf(place.bad_since) for place in places)

    def update(self, measures: Mapping[str, float], now: float) -> dict[str, str]:
        """Take in measures; return the steps that hold now, each with the rule that asks for it."""
        held: dict[str, str] = {}
        for rule in self.table.rules:
            place = self._places[rule.name]
            value = measures.get(rule.measure, math.nan)
            steps = [step for step in rule.steps if step not in self.absent]
            place.level = min(place.level, len(steps))
            self._move(rule, place, value, len(steps), now)
            for step in steps[: place.level]:
                held.setdefault(step, rule.name)
        return held

    def _move(self, rule: Rule, place: _Place, value: float, most: int, now: float) -> None:
        place.bad_since = min(place.bad_since, now) if rule.bad(value) else math.inf
        place.good_since = min(place.good_since, now) if rule.good(value) else math.inf
        if now - place.bad_since >= rule.after and place.level < most:
            place.level += 1
            place.bad_since = math.inf
        elif now - place.good_since >= rule.rest and place.level:
            place.level -= 1
            place.good_since = now


def ladder_file(own: str) -> Path:
    """Return the file of the ladder: the user's ``own``, or the shipped one."""
    return Path(own).expanduser() if own else share_folder('config') / 'ladder.yaml'


def read_ladder(path: Path) -> LadderRules:
    """Return the ladder in a file.

    Raises ``InvalidSettingError`` naming file, entry and what is expected.
    """
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettingError(f'the ladder {path} cannot be read: {error}') from error
    try:
        steps = {name: _step(name, given) for name, given in _entries(found, 'steps')}
        rules = tuple(_rule(name, given, steps) for name, given in _entries(found, 'rules'))
    except (InvalidSettingError, TypeError, ValueError) as error:
        raise InvalidSettingError(f'the ladder {path}: {error}. Correct it.') from error
    return LadderRules(rules, steps)


def _entries(found: Any, name: str) -> Iterable[tuple[str, dict[str, Any]]]:
    given = found.get(name) if isinstance(found, dict) else None
    if not isinstance(given, dict) or not all(isinstance(one, dict) for one in given.values()):
        raise InvalidSettingError(f'expected {name}, each a name with its values')
    return [(str(key), value) for key, value in given.items()]


def _rule(name: str, given: dict[str, Any], steps: Mapping[str, Step]) -> Rule:
    wanted = {'measure', 'worse', 'better', 'after', 'rest', 'steps'}
    if set(given) != wanted:
        raise InvalidSettingError(
            f'rule {name} has {sorted(given)}; expected {", ".join(sorted(wanted))}'
        )
    if given['measure'] not in MEASURES:
        raise InvalidSettingError(
            f'rule {name} measures {given["measure"]!r}; expected one of {", ".join(MEASURES)}'
        )
    unknown = [step for step in given['steps'] if step not in steps and step != HOLD]
    if unknown or not given['steps']:
        raise InvalidSettingError(
            f'rule {name} has the steps {given["steps"]}; expected some of '
            f'{", ".join([*steps, HOLD])}'
        )
    worse, better, after, rest = (
        _number(f'{name}.{key}', given[key]) for key in ('worse', 'better', 'after', 'rest')
    )
    return Rule(name, given['measure'], worse, better, after, rest, tuple(given['steps']))


def _step(name: str, given: dict[str, Any]) -> Step:
    wanted = {'parameters', 'share', 'least'}
    if name == HOLD or not wanted <= set(given) <= wanted | {'unless'}:
        raise InvalidSettingError(
            f'step {name} has {sorted(given)}; expected {", ".join(sorted(wanted))} and perhaps '
            f'unless, and another name than {HOLD}'
        )
    found = [_parameter(name, str(word)) for word in given['parameters']]
    node = found[0][0] if found else ''
    if {other for other, _ in found} != {node}:
        raise InvalidSettingError(
            f'step {name} lowers {given["parameters"]}; expected parameters of one node'
        )
    share = _number(f'{name}.share', given['share'])
    if not 0 < share < 1:
        raise InvalidSettingError(f'{name}.share is {share}; expected above 0 and below 1')
    unless = None
    for word, value in dict(given.get('unless') or {}).items():
        other, condition = _parameter(name, str(word))
        if other != node:
            raise InvalidSettingError(f'{name}.unless is of {other}; expected one of {node}')
        unless = condition, value
    parameters = tuple(parameter for _, parameter in found)
    return Step(node, parameters, share, _number(f'{name}.least', given['least']), unless)


def _parameter(step: str, word: str) -> tuple[str, str]:
    node, _, parameter = word.partition('.')
    if parameter not in KINDS.get(node, {}):
        raise InvalidSettingError(f'step {step} names {word!r}, which no node has')
    return node, parameter


def _number(name: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < 1e9:
        raise InvalidSettingError(f'{name} is {given!r}; expected a number of at least 0')
    return float(given)
