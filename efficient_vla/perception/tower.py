# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The vision half of a vision-language model: encoder and connector, as one module."""

from typing import Any

import torch
from torch import nn


class VisionTower(nn.Module):
    """Pixels -> tokens in the width of the language model.

    ``encoder`` is a vision model of transformers and ``connector`` the module that projects into
    the language model. ``layer`` names the hidden state that is used, ``None`` the normalised last
    one; ``skip`` leading tokens (a class token) are left out.
    """

    def __init__(
        self, encoder: Any, connector: nn.Module, layer: int | None = None, skip: int = 0
    ) -> None:
        """Keep both halves."""
        super().__init__()
        self.encoder = encoder
        self.connector = connector
        self.layer = layer
        self.skip = skip

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map normalised pixels [B, 3, H, W] to tokens [B, T, D]."""
        if self.layer is None:
            hidden = self.encoder(pixel_values=pixels).last_hidden_state
        else:
            output = self.encoder(pixel_values=pixels, output_hidden_states=True)
            hidden = output.hidden_states[self.layer]
        return self.connector(hidden[:, self.skip :])
