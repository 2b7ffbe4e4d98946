# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the decoder families of transformers keep their parts.

The runner drives stock layers; this is all it has to know of a family. Llama-type decoders (Llama,
SmolVLM's text half, Qwen2, Mistral), Qwen2.5-VL with its three-axis positions and Gemma share one
layout, GPT-NeoX (TinyVLA's Pythia) and Mamba have their own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from efficient_vla import attention
from efficient_vla.reasoning import fused
from efficient_vla.types import InvalidRecordError, VisualTokens


@dataclass(frozen=True, slots=True)
class DecoderParts:
    """Names of the parts of a decoder; empty where the family has none."""

    embedding: str
    norm: str
    attention: str
    input_norm: str
    rotary: str = 'rotary_emb'


LLAMA = DecoderParts('embed_tokens', 'norm', 'self_attn', 'input_layernorm')
FAMILIES = {
    'llama': LLAMA,
    'mistral': LLAMA,
    'qwen2': LLAMA,
    'qwen2_5_vl_text': LLAMA,
    'gemma': LLAMA,
    'gpt_neox': DecoderParts('embed_in', 'final_layer_norm', 'attention', 'input_layernorm'),
    'mamba': DecoderParts('embeddings', 'norm_f', '', '', ''),
}
"""``config.model_type`` of the decoder -> its parts."""


class Decoder:
    """One view of all families: what the runner and the selectors use of a decoder."""

    def __init__(self, model: Any, both_ways: bool = False) -> None:
        """Wrap a decoder of transformers, whose attention can be hooked from then on.

        ``both_ways`` says that its mask is going to let rows see what comes after them. Raises
        ``InvalidRecordError`` for a family that is not known.
        """
        kind = model.config.model_type
        if kind not in FAMILIES:
            raise InvalidRecordError(
                f'the decoder is of type {kind!r}; expected one of {", ".join(sorted(FAMILIES))}. '
                'Use a checkpoint with one of these language models.'
            )
        sliding = set(getattr(model.config, 'layer_types', None) or ()) - {'full_attention'}
        if sliding and FAMILIES[kind].attention:
            raise InvalidRecordError(
                f'the decoder has layers of type {", ".join(sorted(sliding))}; expected full '
                'attention in all, since one mask serves every layer. Use another checkpoint.'
            )
        if (getattr(model.config, 'rope_parameters', None) or {}).get('rope_type') == 'dynamic':
            raise InvalidRecordError(
                "the decoder has rope_type 'dynamic'; expected another, since its frequencies "
                'depend on the sentences before. Use another checkpoint.'
            )
        if getattr(model.config, 'use_bidirectional_attention', None) and not both_ways:
            raise InvalidRecordError(
                'the decoder has use_bidirectional_attention; expected one whose rows see what '
                'came before, as when an answer is generated. Use another checkpoint.'
            )
        self.model = model
        self.family = FAMILIES[kind]
        self._fused = isinstance(model.layers[0], fused.FusedLayer)
        if self.has_attention:
            model.config._attn_implementation = attention.NAME

    @property
    def window(self) -> int | None:
        """How far back a row of every layer sees, its own place included; ``None`` for all."""
        config = self.model.config
        return None if hasattr(config, 'layer_types') else getattr(config, 'sliding_window', None)

    @property
    def has_attention(self) -> bool:
        """Whether layers attend; a state-space decoder (Mamba) does not."""
        return bool(self.family.attention)

    def fuse(self) -> None:
        """Replace the layers by faster ones with the same results, where the family has them.

        The weights are moved: no training after this.
        """
        if self.family is LLAMA and not self._fused:
            fused.fuse(self.model)
            self._fused = True

    @property
    def layers(self) -> Any:
        """The stock layers."""
        return self.model.layers

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of token ids, in the scale in which the family wants them."""
        return getattr(self.model, self.family.embedding)(ids)

    @property
    def device(self) -> torch.device:
        """Where the decoder computes."""
        return getattr(self.model, self.family.embedding).weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the embeddings."""
        return getattr(self.model, self.family.embedding).weight.dtype

    def norm(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the last norm."""
        return getattr(self.model, self.family.norm)(hidden)

    def rotary(self, hidden: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return cosine and sine [..., B, N, d] of position ids [B, N] or [3, B, N]."""
        if not self.family.rotary:
            return ()
        if self.three_axes and positions.ndim == 2:
            positions = positions.expand(3, *positions.shape)
        stock = getattr(self.model, self.family.rotary)(hidden, position_ids=positions)
        return fused.rotary(*stock) if self._fused else stock

    def visual_positions(self, tokens: VisualTokens) -> torch.Tensor:
        """Return the position ids of visual tokens, [1, V], or [3, 1, V] with three axes.

        With three axes (M-RoPE of Qwen2.5-VL) a token has time, row and column, and each camera
        begins where the one before ended.
        """
        if not self.three_axes:
            return torch.from_numpy(tokens.position.astype(np.int64))[None]
        start = tokens.camera * max(tokens.grid)
        axes = np.stack([start, start + tokens.row, start + tokens.column]).astype(np.int64)
        return torch.from_numpy(axes)[:, None]

    def text_start(self, tokens: VisualTokens, full: int) -> int:
        """Return the position id of the first text token after ``full`` visual tokens."""
        if self.three_axes:
            return (int(tokens.camera.max()) + 1) * max(tokens.grid)
        return max(full, int(tokens.position[-1]) + 1)

    @property
    def three_axes(self) -> bool:
        """Whether positions have time, row and column."""
        return self.model.config.model_type == 'qwen2_5_vl_text'

    def attention(self, layer: nn.Module) -> nn.Module | None:
        """Return the attention module of a layer, or ``None``."""
        return getattr(layer, self.family.attention) if self.family.attention else None

    def step(
        self,
        layer: Callable[..., torch.Tensor],
        hidden: torch.Tensor,
        mask: torch.Tensor,
        rotary: tuple[torch.Tensor, ...],
    ) -> torch.Tensor:
        """Run one stock layer over hidden states [B, N, D]."""
        if not self.has_attention:
            return layer(hidden)
        return layer(hidden, attention_mask=mask, position_embeddings=rotary)

    def project(
        self, layer: Any, queries: torch.Tensor, keys: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return q [Q, heads, d] and k [K, key heads, d] of a layer, without rotary embedding.

        ``queries`` [Q, D] and ``keys`` [K, D] are hidden states before the layer.
        """
        module: Any = self.attention(layer)
        norm = getattr(layer, self.family.input_norm)
        queries, keys = norm(queries.to(self.dtype)), norm(keys.to(self.dtype))
        if hasattr(module, 'query_key_value'):
            size = 3 * module.head_size
            q = module.query_key_value(queries).unflatten(-1, (-1, size))[..., : module.head_size]
            k = module.query_key_value(keys).unflatten(-1, (-1, size))
            return q, k[..., module.head_size : 2 * module.head_size]
        size = module.head_dim
        return (
            module.q_proj(queries).unflatten(-1, (-1, size)),
            module.k_proj(keys).unflatten(-1, (-1, size)),
        )
