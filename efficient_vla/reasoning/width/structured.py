# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Structured pruning: whole heads and whole channels leave the layers of a decoder.

The importance of a head or channel is the first-order estimate of what its removal does to the loss
of the actions: the absolute value of the sum of activation times gradient over a sample, mean over
samples (Molchanov et al., arXiv 1906.10771; LLM-Pruner, arXiv 2305.11627, groups coupled rows and
columns in the same way). What stays learns to do without the rest by updates of low rank. Rows and
columns are taken out of the weights, so that time and memory fall with them.

In every layer equally many go. The papers also spread them unevenly over the layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from efficient_vla.reasoning.width import WidthSettings
from efficient_vla.settings import InvalidSettingError


class Saliency(nn.Module):
    """Importance of the heads and channels of each layer, at most 1, and what updates are for."""

    heads: torch.Tensor
    channels: torch.Tensor

    def __init__(self, layers: int, groups: int, channels: int, kept: tuple[int, int]) -> None:
        """Have room for ``groups`` of heads and for ``channels`` of each of the layers.

        ``kept`` is how many of both stayed while the updates were trained.
        """
        super().__init__()
        self.kept = (int(kept[0]), int(kept[1]))
        self.register_buffer('heads', torch.zeros(layers, groups))
        self.register_buffer('channels', torch.zeros(layers, channels))

    def settle(self) -> None:
        """Scale what was added up to 1 at most in each layer, in the numbers that files hold."""
        for scores in (self.heads, self.channels):
            scores /= scores.amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
            scores.copy_(scores.half())


def sizes(decoder: Any) -> tuple[int, int, int]:
    """Return layers, groups of heads, and channels of a decoder of Llama's layout.

    Raises ``InvalidSettingError`` for another one.
    """
    first = decoder.layers[0]
    attention: Any = getattr(first, 'self_attn', None)
    mlp: Any = getattr(first, 'mlp', None)
    if not hasattr(attention, 'k_proj') or not hasattr(mlp, 'gate_proj'):
        raise InvalidSettingError(
            f'width.method is structured with a decoder of type {decoder.config.model_type}; '
            'expected heads and a gated feed-forward network as in Llama. Set it to none.'
        )
    groups = attention.k_proj.out_features // attention.head_dim
    return len(decoder.layers), groups, mlp.gate_proj.out_features


def narrow(decoder: Any, settings: WidthSettings, saliency: Saliency) -> bool:
    """Take the least important heads and channels out of the stock layers of ``decoder``.

    Return whether it is as narrow as the updates of ``saliency`` were trained for. Raises
    ``InvalidSettingError`` where that was measured on other layers.
    """
    found, known = sizes(decoder), (*saliency.heads.shape, saliency.channels.shape[1])
    if found != known:
        raise InvalidSettingError(
            f'width.method structured has measured {known[0]} layers of {known[1]} groups of heads '
            f'and {known[2]} channels; the decoder has {found[0]}, {found[1]} and {found[2]}. '
            'Train it again: efficient-vla train --method structured --install.'
        )
    kept = settings.counts(*found[1:])
    for number, layer in enumerate(decoder.layers):
        _keep_heads(layer.self_attn, most(saliency.heads[number], kept[0]))
        _keep_channels(layer.mlp, most(saliency.channels[number], kept[1]))
    return kept == saliency.kept


def most(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Return the places of the ``count`` largest scores [K], increasing."""
    return scores.topk(count).indices.sort().values


@contextmanager
def measured(decoder: Any) -> Iterator[Saliency]:
    """Add up, over the backward passes meanwhile, what the removal of each part would change."""
    layers, groups, channels = sizes(decoder)
    found = Saliency(layers, groups, channels, (groups, channels))

    def watch(sums: torch.Tensor, group: int) -> Any:
        def see(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            entering = inputs[0]

            def note(gradient: torch.Tensor) -> None:
                product = (entering * gradient).detach().float().sum(1)  # [B, K]
                parts = product.unflatten(-1, (-1, group)).sum(-1)
                sums.add_(parts.abs().sum(0).cpu())

            entering.register_hook(note)

        return see

    handles = []
    for number, layer in enumerate(decoder.layers):
        heads = layer.self_attn.o_proj.in_features // groups
        for linear, sums, group in (
            (layer.self_attn.o_proj, found.heads[number], heads),
            (layer.mlp.down_proj, found.channels[number], 1),
        ):
            handles.append(linear.register_forward_pre_hook(watch(sums, group)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
        found.settle()


def _keep_heads(attention: Any, groups: torch.Tensor) -> None:
    size = attention.head_dim
    key_rows = _rows(groups, size)
    query_rows = _rows(groups, size * attention.num_key_value_groups)
    _keep_rows(attention.q_proj, query_rows)
    for linear in (attention.k_proj, attention.v_proj):
        _keep_rows(linear, key_rows)
    _keep_columns(attention.o_proj, query_rows)


def _keep_channels(mlp: Any, channels: torch.Tensor) -> None:
    for linear in (mlp.gate_proj, mlp.up_proj):
        _keep_rows(linear, channels)
    _keep_columns(mlp.down_proj, channels)


def _rows(groups: torch.Tensor, size: int) -> torch.Tensor:
    """Return the rows of these groups of ``size`` rows each."""
    return (groups[:, None] * size + torch.arange(size, device=groups.device)).flatten()


def _keep_rows(linear: nn.Linear, rows: torch.Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[rows], linear.weight.requires_grad)
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.detach()[rows], linear.bias.requires_grad)
    linear.out_features = len(rows)


def _keep_columns(linear: nn.Linear, columns: torch.Tensor) -> None:
    weight = linear.weight.detach()[:, columns].contiguous()
    linear.weight = nn.Parameter(weight, linear.weight.requires_grad)
    linear.in_features = len(columns)
