# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The card of a policy that is small enough to be made in a test."""

from efficient_vla import checkpoint

CARD = checkpoint.Card(
    name='tiny',
    cameras=('corner2',),
    image_size=144,
    tokens_per_camera=144,
    stem='conv',
    queries=2,
    state_names=('x', 'y', 'z', 'gripper'),
    state_mean=(0.0, 0.6, 0.2, 0.5),
    state_std=(0.1, 0.1, 0.1, 0.5),
    action_names=('x', 'y', 'z', 'gripper'),
    action_scale=(0.01, 0.01, 0.01, 1.0),
    control_mode='EE_DELTA',
    horizon=5,
    dt=0.0125,
)
