# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every simulated robot, once; others come from other packages by the entry point.

Neither a simulator nor torch is loaded here; a robot's module is imported when it is asked for.
"""

from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from efficient_vla import plugins
from efficient_vla.errors import UsageError

if TYPE_CHECKING:
    from efficient_vla.sim.interface import Simulation

INTERFACE = 'efficient_vla.sim.interface:Simulation'
"""Not on a real robot either."""
DEFAULT_ROBOT = 'metaworld'
OWN = {
    'metaworld': 'efficient_vla.sim.metaworld.tasks:SIMULATION',
    'so101': 'efficient_vla.sim.arms.robots:SO101_SIMULATION',
    'ur5e': 'efficient_vla.sim.arms.robots:UR5E_SIMULATION',
    'panda': 'efficient_vla.sim.arms.robots:PANDA_SIMULATION',
}
"""Robot -> ``module:attribute`` of its ``Simulation``."""
MISSING = (
    'simulated robots are not installed here. Choose the profile of a real one, or build the '
    'workspace with: colcon build --cmake-args -DWITH_SIM=ON'
)


def installed() -> bool:
    """Return whether simulated robots can run here; a real robot does without."""
    return find_spec('efficient_vla.sim.physics') is not None


def robots() -> tuple[str, ...]:
    """Return the names of all simulated robots."""
    return plugins.names(plugins.ROBOTS, OWN)


def simulation(robot: str) -> 'Simulation':
    """Return what is known of a simulated robot.

    Raises ``UsageError`` for an unknown name and where none is installed.
    """
    if not installed():
        raise UsageError(f'{robot}: {MISSING}')
    try:
        found = plugins.load(plugins.ROBOTS, robot, OWN)
    except KeyError:
        raise UsageError(
            f'unknown simulated robot {robot!r}; expected one of {", ".join(robots())}. Install '
            'the package that brings it.'
        ) from None
    if not isinstance(found, resolve_name(INTERFACE)):
        raise plugins.PluginError(
            f'robot {robot!r} is {type(found).__name__}; expected a Simulation of '
            'efficient_vla.sim.interface. Repair the package that offers it.'
        )
    return found


def node_name(robot: str) -> str:
    """Return the name of the node that is this robot."""
    return f'{robot}_robot'
