# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One token more, whose hidden state is the condition (LCB, arXiv 2405.04798).

OpenHelix (arXiv 2505.03912) reads it in the same way and trains the token alone.
"""

import torch
from torch import nn

from efficient_vla.action.conditioning import Steer, Steering


class ActToken(Steering):
    """The last row of the plan, projected."""

    def __init__(self, **shape: int) -> None:
        """Make the projector; the keywords are those of ``Steering``."""
        super().__init__(**shape)
        self.project = nn.Sequential(
            nn.LayerNorm(self.shape.width), nn.Linear(self.shape.width, self.width)
        )

    def condition(self, steer: Steer) -> torch.Tensor:
        """Return the projected token [B, C]."""
        found: torch.Tensor = self.project(steer.latents[:, -1])
        return found
