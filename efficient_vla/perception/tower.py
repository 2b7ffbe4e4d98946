# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The vision half of a vision-language model: encoder and connector, as one module."""

import torch
from torch import nn


class VisionTower(nn.Module):
    """Pixels -> tokens in the width of the language model.

    ``encoder`` is a transformers vision model (its output has ``last_hidden_state``) and
    ``connector`` the module that projects into the language model, as SmolVLM, Idefics3 and LLaVA
    have them.
    """

    def __init__(self, encoder: nn.Module, connector: nn.Module) -> None:
        """Keep both halves."""
        super().__init__()
        self.encoder = encoder
        self.connector = connector

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map [B, 3, H, W] in [-1, 1] to tokens [B, T, D]."""
        return self.connector(self.encoder(pixel_values=pixels).last_hidden_state)
