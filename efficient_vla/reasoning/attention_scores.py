# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention probabilities of a few rows beside a fused attention kernel.

A fused kernel never forms the attention matrix. The rows that a selector ranks tokens by are
recomputed with one small matrix product, O(rows x tokens x width), instead of running a whole
layer, let alone the whole model, in eager mode.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = 'sdpa_with_scores'
_PROBE = '_efficient_vla_probe'


class ScoreProbe:
    """Ask one attention module for the probabilities of the query rows ``rows``."""

    def __init__(self, rows: slice) -> None:
        """Probe the rows of this slice."""
        self.rows = rows
        self.scores = torch.zeros(0)
        """Mean over heads, [B, rows, keys], after the module has run."""


def attention_with_scores(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Run the fused kernel; fill the module's probe, where it has one.

    query [B, heads, N, d], key and value [B, key heads, M, d], mask [B, 1, N, M] of bool.
    """
    probe = getattr(module, _PROBE, None)
    if probe is not None:
        probe.scores = rows_of_attention(query, key, attention_mask, probe.rows, scaling)
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **options
    )


def rows_of_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    rows: slice,
    scaling: float | None,
) -> torch.Tensor:
    """Return attention probabilities of ``rows``, averaged over heads, [B, rows, M]."""
    query = query[:, :, rows]
    groups = query.shape[1] // key.shape[1]
    key = key.repeat_interleave(groups, dim=1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    logits = (query @ key.transpose(-1, -2) * scale).float()
    if mask is not None:
        logits = logits.masked_fill(~mask[:, :, rows], float('-inf'))
    return logits.softmax(-1).mean(1)


@contextmanager
def probing(attention: nn.Module, rows: slice, wanted: bool = True) -> Iterator[ScoreProbe]:
    """Attach a probe of ``rows`` to an attention module for one pass, where one is wanted."""
    probe = ScoreProbe(rows)
    if wanted:
        setattr(attention, _PROBE, probe)
    try:
        yield probe
    finally:
        if wanted:
            delattr(attention, _PROBE)


AttentionInterface.register(NAME, attention_with_scores)
