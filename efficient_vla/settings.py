# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameters as data: frozen dataclasses whose fields carry unit, range and description.

A node's settings are one frozen dataclass; a group such as ``cache`` is a nested one, so that
``cache.threshold`` is the ROS parameter name. ROS descriptors, validation, YAML defaults, the
keywords of ``Policy`` and the table in ``docs/parameters.md`` all derive from these fields.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

Settings = TypeVar('Settings')


class InvalidSettingError(ValueError):
    """A setting is unknown, of the wrong type or outside its range."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What is allowed for one setting, besides its type and default."""

    description: str
    unit: str = ''
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    """Values that are allowed; the N of 'cuda:N' stands for a number."""
    read_only: bool = False
    locked: bool = False
    """Whether it stays as it is while the robot may move."""
    calibrated: bool = False
    """Whether it is measured on the robot, and stands in its profile whatever uses it."""
    item: type = str
    """Type of the values of a list whose default is empty."""


def setting(default: Any, description: str, **limits: Any) -> Any:
    """Declare a field of a settings dataclass; ``limits`` are the fields of ``Spec``.

    ``default`` is a bool, int, float, str, or a tuple of one of them.
    """
    return dataclasses.field(default=default, metadata={'spec': Spec(description, **limits)})


def share(default: Any, description: str) -> Any:
    """Declare a field whose number, or each of whose numbers, is from 0 to 1."""
    return setting(default, description, low=0.0, high=1.0)


def group(kind: type) -> Any:
    """Declare a nested group of settings."""
    return dataclasses.field(default_factory=kind)


def described(entries: Mapping[str, Any]) -> str:
    """Return a sentence for each entry of a catalogue: its name and what ``about`` says of it."""
    return ' '.join(f'{name}: {entry.about}.' for name, entry in entries.items())


def specs(kind: type, prefix: str = '') -> Iterator[tuple[str, Any, Spec]]:
    """Yield (dotted name, default, spec) for every setting of a settings dataclass."""
    for item in dataclasses.fields(kind):
        name = prefix + item.name
        if 'spec' in item.metadata:
            yield name, item.default, item.metadata['spec']
        else:
            assert item.default_factory is not dataclasses.MISSING
            yield from specs(type(item.default_factory()), name + '.')


def flatten(settings: Any) -> dict[str, Any]:
    """Return dotted name -> value."""
    values = {}
    for name, _, _ in specs(type(settings)):
        value = settings
        for part in name.split('.'):
            value = getattr(value, part)
        values[name] = value
    return values


def without_effect(settings: Any) -> list[str]:
    """Return a line for each setting that was changed and whose group is off, or not chosen."""
    values = flatten(settings)
    declared = {name: (default, spec) for name, default, spec in specs(type(settings))}
    idle: dict[str, str] = {}
    for name, (default, spec) in declared.items():
        if values[name] == default or spec.calibrated:
            continue
        for group in [name[:end] for end, sign in enumerate(name) if sign == '.']:
            outer, _, own = group.rpartition('.')
            beside = [n for n in declared if n.rpartition('.')[0] == outer]
            choices = {n: own for n in beside if own in declared[n][1].choices}
            chosen = {values[name] for name in choices} - {'auto'}
            if chosen - set(choices.values()):
                (choice,) = choices
                idle.setdefault(name, f'{choice} is {values[choice]}')
            for switch in (f'{group}.method', f'{group}.mode'):
                if name != switch and values.get(switch) == 'none':
                    idle.setdefault(name, f'{switch} is none')
    return [f'{name} {values[name]} has no effect: {why}' for name, why in idle.items()]


def refuse_techniques(stage: str, settings: Any, refused: Mapping[str, str]) -> None:
    """Raise ``InvalidSettingError`` where a technique of ``refused`` is not 'none'.

    ``refused`` maps ``stage.parameter`` to why the policy has no use for it.
    """
    values = flatten(settings)
    for name, why in refused.items():
        own = name.removeprefix(f'{stage}.')
        if own in values and values[own] != 'none':
            raise InvalidSettingError(f'{own} is {values[own]}; expected none, since {why}.')


def refuse_locked(earlier: Any, settings: Any) -> None:
    """Raise ``InvalidSettingError`` where a locked setting differs between two of one kind."""
    before, after = flatten(earlier), flatten(settings)
    for name, _, spec in specs(type(settings)):
        if spec.locked and before[name] != after[name]:
            raise InvalidSettingError(
                f'{name} cannot change from {before[name]} to {after[name]} while the controller '
                'is enabled or the robot still moves. Disable it by set_enabled, change it, then '
                'enable it again.'
            )


def build(
    kind: type[Settings], values: Mapping[str, Any], base: Settings | None = None
) -> Settings:
    """Make settings of ``kind`` from dotted names; what is missing comes from ``base``.

    The whole set is checked, fields first and then the rules of ``kind.check`` (a method that
    returns a reason or ``None``), before anything is returned.

    Raises ``InvalidSettingError`` naming value, expectation and remedy.
    """
    merged = flatten(base) if base is not None else {name: d for name, d, _ in specs(kind)}
    known = {name: (default, spec) for name, default, spec in specs(kind)}
    for name, value in values.items():
        if name not in known:
            raise InvalidSettingError(unknown_parameter(name, known))
        merged[name] = _checked(name, value, *known[name])
    settings = _construct(kind, merged, '')
    check = getattr(settings, 'check', None)
    reason = check() if check else None
    if reason:
        raise InvalidSettingError(reason)
    return settings


def unknown_parameter(name: str, known: Iterable[str], prefix: str = '') -> str:
    """Return that there is no parameter ``name``, with the one that was meant, or all of them.

    All are told with ``prefix`` before them.
    """
    names = sorted(known)
    near = [prefix + other for other in get_close_matches(name, names, 1)]
    every = ', '.join(prefix + other for other in names)
    meant = f'did you mean {near[0]}?' if near else f'known are {every}.'
    return f'unknown parameter {prefix + name!r}; {meant}'


def _construct(kind: type[Settings], merged: Mapping[str, Any], prefix: str) -> Settings:
    arguments = {}
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        name = prefix + item.name
        if 'spec' in item.metadata:
            arguments[item.name] = merged[name]
        else:
            nested = type(item.default_factory())  # type: ignore[misc, operator]
            arguments[item.name] = _construct(nested, merged, name + '.')
    return kind(**arguments)


def _checked(name: str, value: Any, default: Any, spec: Spec) -> Any:
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)) and not hasattr(value, 'tolist'):
            raise InvalidSettingError(f'{name} is {value!r}; expected a list.')
        kind = type(default[0]) if default else spec.item
        return tuple(scalar(name, item, kind, spec) for item in value)
    return scalar(name, value, type(default), spec)


def scalar(name: str, given: Any, kind: type, spec: Spec = Spec('')) -> Any:
    """Return the value ``given`` for ``name`` as a ``kind``: bool, int, float or str.

    Raises ``InvalidSettingError`` where it is of another type or outside of what ``spec`` allows.
    """
    whole = isinstance(given, int) and not isinstance(given, bool)
    value: Any = float(given) if kind is float and whole else given
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits:
        raise InvalidSettingError(
            f'{name} is {value!r} of type {type(value).__name__}; expected {kind.__name__}.'
        )
    if kind is float and not math.isfinite(value):
        raise InvalidSettingError(f'{name} is {value}; expected a finite number.')
    if spec.choices and re.sub(r'(?<=:)\d+$', 'N', str(value)) not in spec.choices:
        raise InvalidSettingError(
            f'{name} is {value!r}; expected one of {", ".join(spec.choices)}.'
        )
    unit = f' {spec.unit}' if spec.unit else ''
    if spec.low is not None and value < spec.low:
        raise InvalidSettingError(f'{name} is {value}{unit}; expected at least {spec.low}{unit}.')
    if spec.high is not None and value > spec.high:
        raise InvalidSettingError(f'{name} is {value}{unit}; expected at most {spec.high}{unit}.')
    return value


@dataclass(frozen=True)
class NodeSettings:
    """What every node has."""

    autostart: bool = setting(
        True,
        'Configure and activate at start. Turn it off where a lifecycle manager does that.',
        read_only=True,
    )
    nice: int = setting(
        0,
        'Niceness of the process, where not 0; the more, the more it yields to others. Below 0 '
        'needs a privilege.',
        low=-20,
        high=19,
        read_only=True,
    )
