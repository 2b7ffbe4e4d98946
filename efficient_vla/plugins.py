# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What other packages add by entry point, beside what this one has.

``efficient_vla.policies`` maps a ``policy_type`` to the module that builds its stages, and
``efficient_vla.robots`` the name of a simulated robot to its ``Simulation``.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from efficient_vla.errors import UsageError

POLICIES, ROBOTS = 'efficient_vla.policies', 'efficient_vla.robots'


class PluginError(UsageError):
    """What another package offers cannot be used."""


def names(group: str, own: Mapping[str, str]) -> tuple[str, ...]:
    """Return all names of a group, those of this package first; nothing is imported."""
    return tuple(dict.fromkeys([*own, *sorted(point.name for point in entry_points(group=group))]))


def load(group: str, name: str, own: Mapping[str, str]) -> Any:
    """Return what a name stands for: ``module`` or ``module:attribute``.

    Raises ``KeyError`` for a name that nobody offers, and ``PluginError`` naming the distribution
    where two offer it or where it cannot be imported.
    """
    found = list(entry_points(group=group, name=name))
    if name in own:
        found.insert(0, EntryPoint(name, own[name], group))
    if not found:
        raise KeyError(name)
    if len(found) > 1:
        raise PluginError(
            f'{name!r} of {group} is offered by {" and ".join(map(_distribution, found))}; '
            'expected one of them. Uninstall the other.'
        )
    point = found[0]
    try:
        module = import_module(point.module)
        return getattr(module, point.attr) if point.attr else module
    except Exception as error:  # whatever a foreign module does while it is imported
        if name in own:
            raise
        raise PluginError(
            f'{name!r} of {group} cannot be loaded from {point.value} of {_distribution(point)}: '
            f'{type(error).__name__}: {error}. Repair or uninstall that package.'
        ) from error


def _distribution(point: EntryPoint) -> str:
    return f'{point.dist.name} {point.dist.version}' if point.dist else 'efficient_vla itself'
