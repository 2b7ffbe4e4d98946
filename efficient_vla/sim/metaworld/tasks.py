# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Meta-World's Sawyer without its simulator: tasks that the shipped policy knows, names, times."""

from efficient_vla.sim.interface import Simulation

INSTRUCTIONS = {
    'button-press-v3': 'press the button',
    'drawer-open-v3': 'open the drawer',
    'door-open-v3': 'open the door',
    'window-close-v3': 'push and close the window',
    'reach-v3': 'reach the goal position',
    'push-v3': 'push the puck to the goal',
    'pick-place-v3': 'pick up the puck and place it at the goal',
}
"""Task -> canonical instruction."""

TASKS = tuple(INSTRUCTIONS)
DEMO_TASKS = TASKS[:5]
"""The tasks of the demonstration; the remaining ones are trained and reported as they are."""
TABLETOP_TASKS = ('reach-v3', 'push-v3', 'pick-place-v3')
"""Tasks that share one scene, a puck and a goal: the sentence alone tells them apart."""
SIMULATION = Simulation(
    scene='efficient_vla.sim.metaworld.scene:MetaWorldSim',
    instructions=INSTRUCTIONS,
    first_task='reach-v3',
    demo_tasks=DEMO_TASKS,
    camera='corner2',
    period=0.0125,
    state_names=('x', 'y', 'z', 'gripper'),
    setpoint_names=('x', 'y', 'z'),
    effort_names=('gripper',),
)
