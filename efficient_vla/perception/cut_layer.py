# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Layers of vision encoders, parted before and behind their attention, where rows are taken out."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.attention import attention_with_hooks


class TowerEnter(nn.Module):
    """Norm, and one product for queries, keys and values."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        attention = stock.self_attn
        self.norm, self.heads = stock.layer_norm1, attention.num_heads
        parts = attention.q_proj, attention.k_proj, attention.v_proj
        weight, bias = (
            nn.Parameter(torch.cat([getattr(part, name) for part in parts]).detach(), False)
            for name in ('weight', 'bias')
        )
        self.qkv = nn.Linear(weight.shape[1], weight.shape[0], device='meta')
        self.qkv.weight, self.qkv.bias = weight, bias

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values [B, heads, N, d] of hidden states [B, N, D]."""
        rows = self.qkv(self.norm(states))
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in rows.chunk(3, -1)
        )
        return query, key, value


class TowerLeave(nn.Module):
    """Projection, and the feed-forward network."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.project, self.norm, self.feed = stock.self_attn.out_proj, stock.layer_norm2, stock.mlp

    def forward(self, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Return the layer's output [B, N, D]; ``attended`` is [B, N, D]."""
        states = states + self.project(attended)
        return states + self.feed(self.norm(states))


class Kernel(nn.Module):
    """Attention without a mask, so that an engine can take its place."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return [B, N, heads, d] for queries [B, heads, N, d], keys and values in M places."""
        found = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return found.transpose(1, 2).contiguous()


class CutAttention(nn.Module):
    """Attention between what is before and behind it; all layers share a kernel."""

    is_causal = False

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel, self.scale = kernel, kernel.scale

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return [B, N, heads x d]."""
        output, _ = attention_with_hooks(self, query, key, value, None, scaling=self.scale)
        return output.flatten(2)


class CutLayer(nn.Module):
    """A layer of SigLIP's and CLIP's kind."""

    def __init__(self, stock: Any, kernel: Kernel) -> None:
        super().__init__()
        self.self_attn = CutAttention(kernel)
        self.enter, self.leave = TowerEnter(stock), TowerLeave(stock)

    def forward(self, states: torch.Tensor, mask: None) -> torch.Tensor:
        """Map hidden states [B, N, D], as the stock layer does."""
        return self.leave(states, self.self_attn(*self.enter(states)))
