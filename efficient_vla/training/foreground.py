# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which image patches show what the task is about, from the simulator's labels.

Only training may look at labels; what is trained sees the image alone.
"""

import torch

PROJECTION = (
    (0.103376, 0.950678, -0.292445, 0.055878),
    (-0.047047, -0.038956, -0.998133, 0.736900),
    (-0.745705, 0.458242, -0.483671, 0.863481),
)
"""World (x, y, z, 1) [m] to (u w, v w, w) of the simulated robot's camera, image side 1.

Meta-World's corner2 at (0.75, 0.075, 0.7), both axes of the image flipped.
"""
RADIUS = 0.12
"""Distance from the projection of hand, object or goal, in image sides."""


def masks(labels: torch.Tensor, side: int) -> torch.Tensor:
    """Return which of side x side patches are foreground, bool [B, side x side].

    ``labels`` [B, 9] are the positions of hand, object and goal [m].
    """
    points = labels.unflatten(1, (3, 3))
    ones = points.new_ones(*points.shape[:2], 1)
    image = torch.cat([points, ones], 2) @ points.new_tensor(PROJECTION).T
    image = image[..., :2] / image[..., 2:]  # [B, 3, (u, v)]
    centre = (torch.arange(side, device=labels.device) + 0.5) / side
    row, column = torch.meshgrid(centre, centre, indexing='ij')
    patches = torch.stack([column, row], -1).flatten(0, 1)  # [patches, (u, v)]
    distance = torch.linalg.vector_norm(image[:, :, None] - patches, dim=-1)
    return (distance < RADIUS).any(1)
