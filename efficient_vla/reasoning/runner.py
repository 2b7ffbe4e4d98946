# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Run any Llama-type decoder of transformers over a mixed sequence, dropping tokens inside.

The runner walks the stock decoder layers itself, so that positions, masks and rotary embeddings
of the tokens that remain are gathered once, here, for every selector. Kept tokens keep their
original position ids. The mask is always explicit: without one, transformers takes gaps in the
positions for sequence boundaries.
"""

from dataclasses import dataclass
from typing import Any
from typing import Protocol

import torch

from efficient_vla.reasoning import attention_scores
from efficient_vla.reasoning.pruning import NEEDS_SCORES
from efficient_vla.reasoning.pruning import SELECTORS


class Decoder(Protocol):
    """What the runner needs: LlamaModel, Qwen2Model, MistralModel and their like have it."""

    config: Any
    layers: Any
    norm: Any
    rotary_emb: Any


@dataclass(frozen=True, slots=True)
class Drop:
    """Keep ``count`` of the visual tokens from layer ``layer`` on."""

    method: str
    layer: int
    count: int


def prepare(decoder: Any) -> Any:
    """Let the decoder's attention report scores; its results stay those of the fused kernel."""
    decoder.config._attn_implementation = attention_scores.NAME
    return decoder


def causal_mask(attend: torch.Tensor) -> torch.Tensor:
    """Return the bool mask [B, 1, N, N] for tokens marked by ``attend`` bool [B, N].

    A padding row sees itself, since a softmax over nothing is not a number.
    """
    length = attend.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=attend.device).tril()
    own = torch.eye(length, dtype=torch.bool, device=attend.device)
    return (causal & attend[:, None, :] | own)[:, None]


def run(
    decoder: Decoder,
    embeddings: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor,
    visual: int = 0,
    drop: Drop | None = None,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return last hidden states [B, N', D] and the indices of the tokens that remain [N'].

    ``embeddings`` [B, N, D] hold ``visual`` visual tokens first, ``positions`` [B, N] their ids,
    ``mask`` bool [B, 1, N, N] who sees whom. With ``drop`` the batch is one sequence.
    """
    hidden = embeddings
    kept = torch.arange(hidden.shape[1], device=hidden.device)
    rotary = decoder.rotary_emb(hidden, position_ids=positions)
    if drop is not None and drop.count >= visual:
        drop = None
    scores = torch.zeros(visual)
    for index, layer in enumerate(decoder.layers):
        if drop is not None and index == drop.layer:
            local = SELECTORS[drop.method](scores, drop.count, generator)
            kept = torch.cat([local.to(kept), kept[visual:]])
            hidden, positions = hidden[:, kept], positions[..., kept]
            rotary = tuple(part[..., kept, :] for part in rotary)
            mask = mask[:, :, kept][:, :, :, kept]
        scored = drop is not None and index == drop.layer - 1 and drop.method in NEEDS_SCORES
        with attention_scores.probing(layer.self_attn, slice(-1, None), scored) as probe:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_ids=positions,
                position_embeddings=rotary,
            )
        if scored:
            scores = probe.scores[0, 0, :visual]
    return decoder.norm(hidden), kept
