# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Resampled latents, and the slow chunk as a reference (RoboDual, arXiv 2410.08001).

A perceiver resamples the plan to a few latents. Every place of the image attends to them, and so
does the head. The chunk that the plan alone leads to is shifted by the rows that passed since, as
the window of the paper is, and projected beside it.
"""

import torch
from torch import nn
from torch.nn import functional

from efficient_vla.action.conditioning import CHANNELS, Steer, Steering

LATENTS = 4
INNER = 64


class ResampledPlan(Steering):
    """Cross-attention to resampled latents, and a shifted reference."""

    needs_slow = True

    def __init__(self, **shape: int) -> None:
        """Make all of it; the keywords are those of ``Steering``."""
        super().__init__(**shape)
        rows, width = self.shape.horizon, self.shape.width
        self.norm = nn.LayerNorm(width)
        self.probes = nn.Parameter(torch.randn(LATENTS, INNER) * 0.1)
        self.known = nn.Linear(width, 2 * INNER)
        self.reference = nn.Linear(rows * (self.shape.actions + 1), self.width)
        self.project = nn.Linear(LATENTS * INNER, self.width)
        self.ask = nn.Linear(CHANNELS, INNER)
        self.told = nn.Linear(INNER, 2 * INNER)

    def condition(self, steer: Steer) -> torch.Tensor:
        """Return what latents and reference say together, [B, C]."""
        assert steer.slow is not None
        assert steer.elapsed is not None
        rows, valid = shifted(steer.slow, steer.elapsed)
        reference = self.reference(torch.cat([rows, valid[..., None].to(rows)], -1).flatten(1))
        found: torch.Tensor = self.project(self._resampled(steer).flatten(1)) + reference
        return found

    def look(self, features: torch.Tensor, condition: torch.Tensor, steer: Steer) -> torch.Tensor:
        """Let every place attend to the latents, then return the feature points."""
        keys, values = self.told(self._resampled(steer)).chunk(2, -1)  # [B, L, I]
        asked = self.ask(features.flatten(2).transpose(1, 2))  # [B, h w, I]
        found = functional.scaled_dot_product_attention(asked, keys, values)
        return super().look(features + found.transpose(1, 2).view_as(features), condition, steer)

    def _resampled(self, steer: Steer) -> torch.Tensor:
        """Return the latents [B, L, I]."""
        keys, values = self.known(self.norm(steer.latents)).chunk(2, -1)
        probes = self.probes.expand(len(keys), -1, -1)
        return functional.scaled_dot_product_attention(probes, keys, values)


def shifted(chunk: torch.Tensor, elapsed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows [B, H, A] of chunks that are ahead after ``elapsed`` [B] rows, then zeros.

    Also returns which of them the chunk knows, bool [B, H].
    """
    horizon = chunk.shape[1]
    source = torch.arange(horizon, device=chunk.device) + elapsed[:, None]
    valid = source < horizon
    index = source.clamp(max=horizon - 1)[..., None].expand_as(chunk)
    return chunk.gather(1, index) * valid[..., None], valid
