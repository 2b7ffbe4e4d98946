# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One layer of a selective state space (Mamba, arXiv 2312.00752, section 3), by its stock parts.

The reference code of transformers makes the coefficients of all tokens before the first step, E x S
for each, and its backward pass fills as much again at every token; here a token's exist while it is
read.
"""

from typing import Any

import torch
from torch.nn import functional


def step(layer: Any, hidden: torch.Tensor, attend: torch.Tensor) -> torch.Tensor:
    """Return what a stock Mamba block makes of hidden states [B, N, D].

    Rows that ``attend`` bool [B, N] does not mark are padding, and come first: they are zeros, and
    stay zeros, as before the beginning of a sequence.
    """
    mixer, seen = layer.mixer, attend[..., None].to(hidden.dtype)
    entering, gate = mixer.in_proj(layer.norm(hidden) * seen).chunk(2, -1)  # [B, N, E] each
    length = entering.shape[1]
    mixed = mixer.conv1d(entering.transpose(1, 2))[..., :length].transpose(1, 2)
    mixed = mixer.act(mixed) * seen
    rank, states = mixer.time_step_rank, mixer.ssm_state_size
    times, writes, reads = mixer.x_proj(mixed).split([rank, states, states], -1)
    spans = functional.softplus(mixer.dt_proj(times)).float()
    read = scan(spans, -mixer.A_log.float().exp(), spans * mixed, writes.float(), reads.float())
    made = (read + mixed * mixer.D) * mixer.act(gate)
    return hidden + mixer.out_proj(made.to(hidden.dtype))


def scan(
    spans: torch.Tensor,
    rates: torch.Tensor,
    inputs: torch.Tensor,
    writes: torch.Tensor,
    reads: torch.Tensor,
) -> torch.Tensor:
    """Return y_n = h_n reads_n [B, N, E], h_n = exp(spans_n rates) h_(n-1) + inputs_n writes_n.

    ``spans`` and ``inputs`` are [B, N, E], ``rates`` [E, S], ``writes`` and ``reads`` [B, N, S].
    """
    state, made = inputs.new_zeros(len(inputs), *rates.shape, dtype=torch.float32), []
    parts = (spans[..., None], inputs[..., None], writes[:, :, None], reads[..., None])
    for span, entering, write, read in zip(*(part.unbind(1) for part in parts), strict=True):
        state = torch.addcmul(entering * write, torch.exp(span * rates), state)  # [B, E, S]
        made.append(state @ read)
    return torch.stack(made, 1)[..., 0]
