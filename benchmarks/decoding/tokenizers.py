# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Bins against FAST: how many tokens a chunk takes at which error."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from efficient_vla.action.tokenizers import Tokenizer
from efficient_vla.action.tokenizers.bins import BinTokenizer
from efficient_vla.action.tokenizers.fast import FastTokenizer
from efficient_vla.sim.metaworld.experts import ScriptedExpert
from efficient_vla.sim.metaworld.scene import MetaWorldSim
from efficient_vla.training.byte_pairs import fit, limits

EXPERT_SPEEDS = (0.4, 0.6)
EVERY = 4
"""Steps between chunks of an episode."""
VARIANTS = (
    ('the paper, scale 10', 10.0, 0.0),
    ('the paper, scale 30', 30.0, 0.0),
    ('scale 30, falling', 30.0, 0.3),
)
"""Name, scale and falloff of other ways to round, fitted on the chunks of other episodes."""
MM = 1e3


def expert_chunks(
    tasks: Sequence[str], episodes: int, seed: int, horizon: int, scale: np.ndarray, steps: int
) -> np.ndarray:
    """Return chunks [N, H, A] of noise-free experts in the policy's normalised units.

    Each row is what the expert did in the next steps of its episode.
    """
    chunks = []
    for task in tasks:
        sim = MetaWorldSim(task, 'fast')
        for episode in range(episodes):
            expert = ScriptedExpert(task, EXPERT_SPEEDS[episode % len(EXPERT_SPEEDS)])
            sim.reset(seed + episode)
            rows = []
            for _ in range(steps):
                before = sim.setpoint()
                action = expert.action(sim)
                sim.step_action(action)
                rows.append(np.append(sim.setpoint() - before, action[3]))
                if sim.done:
                    break
            line = np.array(rows) / scale
            chunks += [line[i : i + horizon] for i in range(0, len(line) - horizon, EVERY)]
        sim.close()
    return np.array(chunks, np.float32)


def measure(
    trained: Sequence[tuple[str, Tokenizer]],
    fitted: np.ndarray,
    judged: np.ndarray,
    scale: np.ndarray,
) -> list[dict[str, Any]]:
    """Return a row a tokenizer: tokens of a chunk and error of the path it stands for.

    Other ways to round, which ship with no policy, are fitted on chunks ``fitted`` [N, H, A].
    """
    chunks = torch.from_numpy(judged)
    named = list(trained)
    low, high = limits(fitted)
    for name, factor, falloff in VARIANTS:
        scales = [factor] * (len(low) - 1) + [min(factor, 10.0)]
        shape = fit(torch.from_numpy(fitted), low, high, scales, falloff, 1536)
        named.append((f'fast, {name}', FastTokenizer(**shape)))
    shape = {'horizon': judged.shape[1], 'low': low, 'high': high}
    named.append(('bins, 128', BinTokenizer(**shape, bins=128)))
    named.append(('bins, 512', BinTokenizer(**shape, bins=512)))
    return [_row(name, tokenizer, chunks, scale) for name, tokenizer in named]


def _row(
    name: str, tokenizer: Tokenizer, chunks: torch.Tensor, scale: np.ndarray
) -> dict[str, Any]:
    lines = tokenizer.encode(chunks)
    counts = [len(line) for line in lines]
    back = torch.stack([tokenizer.decode(line)[0] for line in lines])
    off = (back - chunks).numpy() * scale
    path = np.linalg.norm(off[..., :3].cumsum(1), axis=2).max(1) * MM
    return {
        'name': name,
        'vocabulary': tokenizer.size,
        'tokens_mean': float(np.mean(counts)),
        'tokens_max': max(counts),
        'path_error_mean_mm': float(path.mean()),
        'path_error_p95_mm': float(np.quantile(path, 0.95)),
        'path_error_max_mm': float(path.max()),
        'gripper_error': float(np.abs(off[..., 3]).mean()),
        'chunks': len(lines),
    }
