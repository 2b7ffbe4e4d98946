# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Decoder layers for inference with a third of the operations of the stock ones.

Where few tokens are left, a layer costs its operations rather than its arithmetic. These layers
hold the weights of the stock layers, three projections in one product and two in another, and give
their results up to rounding.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.attention import attention_with_hooks, keep


def fuse(decoder: Any) -> None:
    """Replace the layers of a decoder of Llama's layout, of which the weights are moved."""
    for index, layer in enumerate(decoder.layers):
        decoder.layers[index] = FusedLayer(layer)


def rotary(cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what ``FusedLayer`` rotates with, [B, 1, N, d] each, of stock ones [B, N, d]."""
    half = sin.shape[-1] // 2
    return cos[:, None], torch.cat((-sin[..., :half], sin[..., half:]), -1)[:, None]


class FusedAttention(nn.Module):
    """Self-attention with one product for queries, keys and values."""

    is_causal = True

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.head_dim: int = stock.head_dim
        self.scaling: float = stock.scaling
        self.heads = stock.q_proj.out_features // self.head_dim
        self.key_heads = stock.k_proj.out_features // self.head_dim
        self.num_key_value_groups = self.heads // self.key_heads
        self.softcap: float | None = None
        if stock.config.model_type == 'gemma2':
            self.softcap = stock.attn_logit_softcapping
        self.qkv = _stacked(stock.q_proj, stock.k_proj, stock.v_proj)
        self.o_proj = stock.o_proj
        self.norms: nn.Parameter | None = None
        """Weights of the norms of queries and keys, [heads + key heads, 1, d]."""
        if hasattr(stock, 'q_norm'):
            query, key = _norm(stock.q_norm), _norm(stock.k_norm)
            self.eps = query.eps
            rows = [query.weight] * self.heads + [key.weight] * self.key_heads
            self.norms = nn.Parameter(torch.stack(rows)[:, None].detach(), requires_grad=False)

    def forward(
        self, hidden: torch.Tensor, mask: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """Attend over normalised hidden states [B, N, D]; ``cos`` and ``sin`` are of ``rotary``."""
        heads = self.qkv(hidden).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        turning, value = heads.split((self.heads + self.key_heads, self.key_heads), 1)
        if self.norms is not None:
            turning = F.rms_norm(turning, (self.head_dim,), None, self.eps) * self.norms
        turned = torch.addcmul(turning * cos, turning.roll(self.head_dim // 2, -1), sin)
        query, key = turned.split((self.heads, self.key_heads), 1)
        output, _ = attention_with_hooks(
            self, query, key, value, mask, scaling=self.scaling, softcap=self.softcap
        )
        return self.o_proj(output.flatten(2))

    def q_proj(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return queries [..., heads x d]."""
        return self._part(hidden, 0, self.heads * self.head_dim)

    def k_proj(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return keys [..., key heads x d]."""
        start = self.heads * self.head_dim
        return self._part(hidden, start, start + self.key_heads * self.head_dim)

    def q_norm(self, queries: torch.Tensor) -> torch.Tensor:
        """Return queries [..., heads, d] as they are rotated."""
        return self._normed(queries, 0)

    def k_norm(self, keys: torch.Tensor) -> torch.Tensor:
        """Return keys [..., key heads, d] as they are rotated."""
        return self._normed(keys, -1)

    def _normed(self, heads: torch.Tensor, row: int) -> torch.Tensor:
        if self.norms is None:
            return heads
        return F.rms_norm(heads, (self.head_dim,), None, self.eps) * self.norms[row]

    def _part(self, hidden: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        if not isinstance(self.qkv, nn.Linear):  # packed int8 weights cannot be cut
            return self.qkv(hidden)[..., start:stop]
        bias = self.qkv.bias
        return F.linear(
            hidden, self.qkv.weight[start:stop], None if bias is None else bias[start:stop]
        )


class FusedLayer(nn.Module):
    """A pre-norm layer with gated feed-forward network, or one with norms behind both parts too."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.self_attn = FusedAttention(stock.self_attn)
        self.input_layernorm = _norm(stock.input_layernorm)
        self.post_attention_layernorm = _norm(stock.post_attention_layernorm)
        self.sandwiched = hasattr(stock, 'pre_feedforward_layernorm')
        if self.sandwiched:
            self.pre_feedforward_layernorm = _norm(stock.pre_feedforward_layernorm)
            self.post_feedforward_layernorm = _norm(stock.post_feedforward_layernorm)
        self.gate_up = _stacked(stock.mlp.gate_proj, stock.mlp.up_proj)
        self.down_proj = stock.mlp.down_proj
        self.activation = stock.mlp.act_fn

    def forward(
        self,
        hidden: torch.Tensor,
        attention_mask: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Map hidden states [B, N, D], as the stock layer does."""
        normed = self.input_layernorm(hidden)
        attended = self.self_attn(normed, attention_mask, *position_embeddings)
        if not self.sandwiched:
            hidden = hidden + attended
            return hidden + self._feed(self.post_attention_layernorm(hidden))
        hidden = hidden + self.post_attention_layernorm(attended)
        fed = self._feed(self.pre_feedforward_layernorm(hidden))
        return hidden + self.post_feedforward_layernorm(fed)

    def _feed(self, normed: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up(normed).chunk(2, -1)
        return self.down_proj(self.activation(gate) * up)


class KeysValues(nn.Module):
    """The keys and values of an attention module, without what asks for them."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.head_dim: int = stock.head_dim
        self.kv = _stacked(stock.k_proj, stock.v_proj)

    def forward(self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
        """Give keys and values of normalised hidden states [B, N, D] to the hook."""
        heads = self.kv(hidden).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        key, value = heads.chunk(2, 1)
        keep(self, torch.addcmul(key * cos, key.roll(self.head_dim // 2, -1), sin), value)


class KeysValuesLayer(nn.Module):
    """The last layer of a prefix, of which nothing but keys and values is used."""

    def __init__(self, stock: Any) -> None:
        """Take the norm and the two projections of a stock layer."""
        super().__init__()
        self.self_attn = KeysValues(stock.self_attn)
        self.input_layernorm = _norm(stock.input_layernorm)

    def forward(
        self,
        hidden: torch.Tensor,
        attention_mask: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Return the hidden states [B, N, D] as they came."""
        self.self_attn(self.input_layernorm(hidden), *position_embeddings)
        return hidden


def _stacked(*linears: nn.Linear) -> nn.Linear:
    """Return one module that gives the outputs of all, one after the other."""
    weight = torch.cat([linear.weight.detach() for linear in linears])
    stacked = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device='meta')
    stacked.weight = nn.Parameter(weight, requires_grad=False)
    if linears[0].bias is not None:
        bias = torch.cat([linear.bias.detach() for linear in linears])
        stacked.bias = nn.Parameter(bias, requires_grad=False)
    return stacked


def _norm(stock: Any) -> nn.RMSNorm:
    """Return the norm of torch with the weights of a stock one; Gemma stores them less one."""
    gemma = not hasattr(stock, 'variance_epsilon')
    weight = stock.weight.detach()
    norm = nn.RMSNorm(len(weight), stock.eps if gemma else stock.variance_epsilon)
    norm.weight = nn.Parameter(weight + 1 if gemma else weight, requires_grad=False)
    return norm
