# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a prefix policy makes of a processed observation, by the names of ``reference.npz``."""

import numpy as np
import torch

from efficient_vla.action.euler import follow
from efficient_vla.lerobot.features import STATE, cameras_of
from efficient_vla.lerobot.parts import PrefixParts
from efficient_vla.lerobot.processors import MASK, TOKENS, Batch


def replayed(
    parts: PrefixParts, batch: Batch, noise: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return rows, keys and values of the prefix, the first velocity and the chunk.

    Rows that nobody sees, padding and cameras that are not there, are not among them.
    """
    tower, prefix, expert = parts.tower(), parts.prefix(), parts.expert()
    parts.folder.tensors.without_effect(parts.owned[''])
    parts.folder.tensors.finish()
    keys = [key for key in cameras_of(parts.folder.input_features) if key in batch]
    tokens = [tower(parts.canvas(batch[key]))[0] for key in keys]
    camera = np.repeat(np.arange(len(tokens)), [len(part) for part in tokens])
    given = torch.cat(tokens), camera, batch[TOKENS][batch[MASK]], batch[STATE]
    cache, _ = prefix(*given)
    found = {'prefix.embeddings': prefix.sequence(*given).embeddings}
    rows = found['prefix.embeddings'].shape[1]
    found['prefix.padding'] = torch.ones(1, rows, dtype=torch.bool)
    found['prefix.blocks'] = torch.zeros(1, rows, dtype=torch.bool)
    if prefix.state is not None:
        found['prefix.blocks'][:, -1] = True
    for layer, (key, value) in enumerate(zip(cache.keys, cache.values, strict=True)):
        found |= {f'prefix.keys.{layer}': key, f'prefix.values.{layer}': value}
    if noise is None:
        noise = torch.randn(1, expert.shape.rows, expert.columns)
    seen = expert.prepare(cache)

    def velocity(x: torch.Tensor, time: float, whole: bool = True) -> torch.Tensor:
        return expert(x, time, seen, batch[STATE])

    chunk, _ = follow(velocity, noise, parts.steps)
    found['velocity'] = -velocity(noise, 0.0)
    return found | {'chunk': chunk[..., : expert.shape.actions]}
