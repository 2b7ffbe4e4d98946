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

BLOCK = 64
"""Rows that OpenVINO's products hand to a thread at once: of 79, one of two threads computes 64 and
waits for no one. In two products, of 64 and 15, both threads share each: 14.5 for 21 ms."""


def fuse(decoder: Any) -> None:
    """Replace the layers of a decoder of Llama's layout, of which the weights are moved."""
    for index, layer in enumerate(decoder.layers):
        decoder.layers[index] = FusedLayer(layer)


def rotary(cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what ``FusedLayer`` rotates with, [B, 1, N, d] each, of stock ones [B, N, d]."""
    half = sin.shape[-1] // 2
    return cos[:, None], torch.cat((-sin[..., :half], sin[..., half:]), -1)[:, None]


class Enter(nn.Module):
    """What a layer does before its attention: norm, one product for all heads, rotation."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        attention = stock.self_attn
        self.head_dim: int = attention.head_dim
        self.heads = attention.q_proj.out_features // self.head_dim
        self.key_heads = attention.k_proj.out_features // self.head_dim
        self.norm = _norm(stock.input_layernorm)
        self.qkv = _stacked(attention.q_proj, attention.k_proj, attention.v_proj)
        self.norms: nn.Parameter | None = None
        """Weights of the norms of queries and keys, [heads + key heads, 1, d]."""
        if hasattr(attention, 'q_norm'):
            query, key = _norm(attention.q_norm), _norm(attention.k_norm)
            self.eps = query.eps
            rows = [query.weight] * self.heads + [key.weight] * self.key_heads
            self.norms = nn.Parameter(torch.stack(rows)[:, None].detach(), requires_grad=False)

    def forward(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values [B, heads, N, d] of hidden states [B, N, D].

        ``cos`` and ``sin`` are of ``rotary``.
        """
        heads = self.qkv(self.norm(hidden)).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        turning, value = heads.split((self.heads + self.key_heads, self.key_heads), 1)
        if self.norms is not None:
            turning = F.rms_norm(turning, (self.head_dim,), None, self.eps) * self.norms
        turned = torch.addcmul(turning * cos, turning.roll(self.head_dim // 2, -1), sin)
        query, key = turned.split((self.heads, self.key_heads), 1)
        return query, key, value


class Leave(nn.Module):
    """What a layer does behind its attention: projection and feed-forward network."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.o_proj = stock.self_attn.o_proj
        self.post_attention_layernorm = _norm(stock.post_attention_layernorm)
        self.sandwiched = hasattr(stock, 'pre_feedforward_layernorm')
        if self.sandwiched:
            self.pre_feedforward_layernorm = _norm(stock.pre_feedforward_layernorm)
            self.post_feedforward_layernorm = _norm(stock.post_feedforward_layernorm)
        self.gate_up = _stacked(stock.mlp.gate_proj, stock.mlp.up_proj)
        self.down_proj = stock.mlp.down_proj
        self.activation = stock.mlp.act_fn

    def forward(self, hidden: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Return the layer's output [B, N, D]; ``attended`` is [B, N, heads x d]."""
        attended = self.o_proj(attended)
        if not self.sandwiched:
            hidden = hidden + attended
            return hidden + self._feed(self.post_attention_layernorm(hidden))
        hidden = hidden + self.post_attention_layernorm(attended)
        fed = self._feed(self.pre_feedforward_layernorm(hidden))
        return hidden + self.post_feedforward_layernorm(fed)

    def _feed(self, normed: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up(normed).chunk(2, -1)
        return self.down_proj(self.activation(gate) * up)


class FusedAttention(nn.Module):
    """Attention alone; what projects to it and from it is before and behind."""

    is_causal = True

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.scaling: float = stock.scaling
        self.num_key_value_groups = stock.q_proj.out_features // stock.k_proj.out_features
        self.softcap: float | None = None
        if stock.config.model_type == 'gemma2':
            self.softcap = stock.attn_logit_softcapping

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return [B, N, heads x d]."""
        output, _ = attention_with_hooks(
            self, query, key, value, mask, scaling=self.scaling, softcap=self.softcap
        )
        return output.flatten(2)


class FusedLayer(nn.Module):
    """A pre-norm layer with gated feed-forward network, or one with norms behind both parts too."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.self_attn = FusedAttention(stock.self_attn)
        self.enter, self.leave = Enter(stock), Leave(stock)
        self.head_dim: int = stock.self_attn.head_dim

    def forward(
        self,
        hidden: torch.Tensor,
        attention_mask: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Map hidden states [B, N, D], as the stock layer does."""
        query, key, value = self.enter(hidden, *position_embeddings)
        return self.leave(hidden, self.self_attn(query, key, value, attention_mask))

    def keys_values(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values [B, key heads, N, d] alone of hidden states [B, N, D].

        Of weights that are packed, or that an engine has, queries are computed too.
        """
        enter = self.enter
        if type(getattr(enter, 'qkv', None)) is not nn.Linear or enter.norms is not None:
            _, key, value = enter(hidden, cos, sin)
            return key, value
        rows = slice(enter.heads * enter.head_dim, None)
        bias = None if enter.qkv.bias is None else enter.qkv.bias[rows]
        product = F.linear(enter.norm(hidden), enter.qkv.weight[rows], bias)
        return _keys_values(product, enter.head_dim, cos, sin)

    def unrotated(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return queries and keys [N, heads, d] of hidden states [N, D], as if all were at 0."""
        still = hidden.new_ones(1, 1, len(hidden), self.head_dim)
        query, key, _ = self.enter(hidden[None], still, torch.zeros_like(still))
        return query[0].transpose(0, 1), key[0].transpose(0, 1)


class EnterKeys(nn.Module):
    """What a layer does of which nothing but keys and values is used: norm, product, rotation."""

    def __init__(self, norm: nn.Module, kv: nn.Linear, head_dim: int) -> None:
        super().__init__()
        self.norm, self.kv, self.head_dim = norm, kv, head_dim
        self.key_heads = kv.out_features // (2 * head_dim)

    def forward(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values [B, key heads, N, d] of hidden states [B, N, D]."""
        return _keys_values(self.kv(self.norm(hidden)), self.head_dim, cos, sin)


class KeysValuesLayer(nn.Module):
    """A layer of a prefix of which nothing but keys and values is used."""

    def __init__(self, enter: EnterKeys) -> None:
        super().__init__()
        self.self_attn = nn.Identity()
        self.enter = enter

    @classmethod
    def of_stock(cls, stock: Any) -> 'KeysValuesLayer':
        """Return the norm and the two projections of a stock layer."""
        attention = stock.self_attn
        kv = _stacked(attention.k_proj, attention.v_proj)
        return cls(EnterKeys(_norm(stock.input_layernorm), kv, attention.head_dim))

    @classmethod
    def of(cls, layer: FusedLayer) -> 'KeysValuesLayer':
        """Return copies of the two projections of a fused layer, whose others can then go."""
        enter = layer.enter
        rows = slice(enter.heads * enter.head_dim, None)
        kv = _linear(
            enter.qkv.weight[rows].detach().clone(),
            None if enter.qkv.bias is None else enter.qkv.bias[rows].detach().clone(),
        )
        return cls(EnterKeys(enter.norm, kv, enter.head_dim))

    def forward(
        self,
        hidden: torch.Tensor,
        attention_mask: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Return the hidden states [B, N, D] as they came; the hook is given keys and values."""
        pass_by(self, hidden, position_embeddings)
        return hidden

    def keys_values(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values [B, key heads, N, d] of hidden states [B, N, D]."""
        found: tuple[torch.Tensor, torch.Tensor] = self.enter(hidden, cos, sin)
        return found


def pass_by(
    layer: FusedLayer | KeysValuesLayer, hidden: torch.Tensor, rotary: tuple[torch.Tensor, ...]
) -> None:
    """Give the hook of a layer keys and values of hidden states [B, N, D], and do no more."""
    keep(layer.self_attn, *layer.keys_values(hidden, *rotary))


def _keys_values(
    product: torch.Tensor, head_dim: int, cos: torch.Tensor, sin: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rotated keys, and values, [B, key heads, N, d] of their product [B, N, both]."""
    key, value = product.unflatten(-1, (-1, head_dim)).transpose(1, 2).chunk(2, 1)
    return torch.addcmul(key * cos, key.roll(head_dim // 2, -1), sin), value


class WholePass(nn.Module):
    """All layers of a decoder of one kind, without hooks, and its last norm."""

    def __init__(self, layers: nn.ModuleList, norm: nn.Module) -> None:
        super().__init__()
        self.layers, self.norm = layers, norm

    def forward(
        self, hidden: torch.Tensor, mask: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """Map what enters the first layer [B, N, D]; ``mask`` is bool [B, 1, N, N]."""
        for layer in self.layers:
            hidden = layer(hidden, mask, (cos, sin))
        return self.norm(hidden)


class KeepingPass(nn.Module):
    """All layers of a prefix of one kind, without hooks: rows that come behind others."""

    def __init__(self, layers: nn.ModuleList, norm: nn.Module) -> None:
        super().__init__()
        self.layers, self.norm = layers, norm

    def forward(
        self,
        hidden: torch.Tensor,
        mask: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        *before: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Return the last hidden states [B, n, D], then keys and values of each layer.

        ``before`` are keys and values [B, key heads, M, d] of each layer, which the rows [B, n, D]
        see as ``mask``, bool [B, 1, n, M + n], says; M may be 0.
        """
        made: list[torch.Tensor] = []
        cuts = slice(None, BLOCK), slice(BLOCK, None)
        for layer, keys, values in zip(self.layers, before[::2], before[1::2], strict=True):
            *queries, key, value = layer.enter(hidden, cos, sin)
            for query in queries:  # none, of a layer that only keeps
                seen = torch.cat([keys, key], 2), torch.cat([values, value], 2)
                found = layer.self_attn(query, *seen, mask)
                hidden = torch.cat([layer.leave(hidden[:, cut], found[:, cut]) for cut in cuts], 1)
            made += [key, value]
        return self.norm(hidden), *made


def _stacked(*linears: nn.Linear) -> nn.Linear:
    """Return one module that gives the outputs of all, one after the other."""
    bias = None
    if linears[0].bias is not None:
        bias = torch.cat([linear.bias.detach() for linear in linears])
    return _linear(torch.cat([linear.weight.detach() for linear in linears]), bias)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """Return a module of these tensors, which are not copied."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device='meta')
    made.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias, requires_grad=False)
    return made


def _norm(stock: Any) -> nn.RMSNorm:
    """Return the norm of torch with the weights of a stock one; Gemma stores them less one."""
    gemma = not hasattr(stock, 'variance_epsilon')
    weight = stock.weight.detach()
    norm = nn.RMSNorm(len(weight), stock.eps if gemma else stock.variance_epsilon)
    norm.weight = nn.Parameter(weight + 1 if gemma else weight, requires_grad=False)
    return norm
