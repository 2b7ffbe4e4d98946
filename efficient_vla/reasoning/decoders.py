# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the decoder families of transformers keep their parts.

The runner drives stock layers; this is all it has to know of a family. Llama-type decoders (Llama,
SmolVLM's text half, Qwen2, Qwen3, Mistral), Qwen-VL with its three-axis positions and Gemma share
one layout, GPT-NeoX (TinyVLA's Pythia), Mamba and the encoder of BART (Florence-2) have their own.
Layers of one decoder may be of two kinds: some see everything before them, others a window (Gemma 2
and 3).
"""

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from efficient_vla import attention
from efficient_vla.reasoning import fused, state_space
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.types import InvalidRecordError, VisualTokens


@dataclass(frozen=True, slots=True)
class DecoderParts:
    """Names of the parts of a decoder; empty where the family has none."""

    embedding: str
    norm: str
    attention: str
    input_norm: str
    rotary: str = 'rotary_emb'
    rotary_by_kind: bool = False
    """Whether layers of each kind have frequencies of their own."""
    positions: str = ''
    """Embeddings of positions, which are added before the first layer."""
    first_norm: str = ''
    """Norm of what enters the first layer."""
    both_ways: bool = False
    """Whether image and instruction see each other both ways."""


LLAMA = DecoderParts('embed_tokens', 'norm', 'self_attn', 'input_layernorm')
FAMILIES = {
    'llama': LLAMA,
    'mistral': LLAMA,
    'qwen2': LLAMA,
    'qwen2_5_vl_text': LLAMA,
    'qwen3': LLAMA,
    'qwen3_vl_text': LLAMA,
    'gemma': LLAMA,
    'gemma2': LLAMA,
    'gemma3_text': replace(LLAMA, rotary_by_kind=True),
    'gpt_neox': DecoderParts('embed_in', 'final_layer_norm', 'attention', 'input_layernorm'),
    'mamba': DecoderParts('embeddings', 'norm_f', '', '', ''),
    'bart': DecoderParts(
        'embed_tokens',
        norm='',
        attention='self_attn',
        input_norm='',
        rotary='',
        positions='embed_positions',
        first_norm='layernorm_embedding',
        both_ways=True,
    ),
}
"""``config.model_type`` of the decoder -> its parts."""
THREE_AXES = ('qwen2_5_vl_text', 'qwen3_vl_text')
"""Those whose positions have time, row and column (M-RoPE)."""
FULL, SLIDING = 'full_attention', 'sliding_attention'
"""Kinds of layers, as transformers names them: rows see everything before them, or a window."""


def reading_half(model: Any) -> Any:
    """Return what reads a sequence: of an encoder and a decoder, the encoder."""
    return model.encoder if model.config.is_encoder_decoder else model


class Decoder:
    """One view of all families: what the runner and the selectors use of a decoder."""

    def __init__(
        self, model: Any, both_ways: bool = False, numbers: tuple[int, ...] = (), depth: int = 0
    ) -> None:
        """Wrap a decoder of transformers, whose attention can be hooked from then on.

        ``both_ways`` says that its mask is going to let rows see what comes after them;
        ``numbers`` are those that its layers had among ``depth``, where some were taken out.
        Raises ``InvalidRecordError`` for a family that is not known.
        """
        kind = model.config.model_type
        if kind not in FAMILIES:
            raise InvalidRecordError(
                f'the decoder is of type {kind!r}; expected one of {", ".join(sorted(FAMILIES))}. '
                'Use a checkpoint with one of these language models.'
            )
        self.model = model
        self.family = FAMILIES[kind]
        numbers = numbers or tuple(range(len(model.layers)))
        whole = tuple(
            place
            for place, layer in enumerate(model.layers)
            if not isinstance(layer, fused.KeysValuesLayer)
        )
        self.left = Layers(numbers, whole, depth or len(numbers))
        """Which layers are left of the whole decoder."""
        self.kinds = _kinds(model.config, numbers) if self.has_attention else ()
        """Kind of each layer."""
        odd = set(self.kinds) - {FULL, SLIDING}
        if odd:
            raise InvalidRecordError(
                f'the decoder has layers of type {", ".join(sorted(odd))}; expected {FULL} or '
                f'{SLIDING}. Use another checkpoint.'
            )
        if SLIDING in self.kinds and not self.window(SLIDING):
            raise InvalidRecordError(
                f'the decoder has layers of type {SLIDING} and no sliding_window; expected a '
                'number of positions. Use another checkpoint.'
            )
        rope = getattr(model.config, 'rope_parameters', None) or {}
        kinds_of_rope = [
            part.get('rope_type') for part in (rope, *rope.values()) if isinstance(part, dict)
        ]
        if 'dynamic' in kinds_of_rope:
            raise InvalidRecordError(
                "the decoder has rope_type 'dynamic'; expected another, since its frequencies "
                'depend on the sentences before. Use another checkpoint.'
            )
        if getattr(model.config, 'use_bidirectional_attention', None) and not both_ways:
            raise InvalidRecordError(
                'the decoder has use_bidirectional_attention; expected one whose rows see what '
                'came before, as when an answer is generated. Use another checkpoint.'
            )
        self._fused = isinstance(model.layers[0], (fused.FusedLayer, fused.KeysValuesLayer))
        if self.has_attention:
            model.config._attn_implementation = attention.NAME

    def kind(self, index: int) -> str:
        """Return of which kind a layer is."""
        return self.kinds[index] if self.kinds else FULL

    def window(self, kind: str) -> int | None:
        """Return how far back a row of such a layer sees, its own place included; or ``None``."""
        return self.model.config.sliding_window if kind == SLIDING else None

    @property
    def has_attention(self) -> bool:
        """Whether layers attend; a state-space decoder (Mamba) does not."""
        return bool(self.family.attention)

    def fuse(self) -> None:
        """Replace the layers by faster ones with the same results, where the family has them.

        The weights are moved: no training after this.
        """
        if self.family.attention == LLAMA.attention and self.family.rotary and not self._fused:
            fused.fuse(self.model)
            self._fused = True

    @property
    def layers(self) -> Any:
        """The stock layers."""
        return self.model.layers

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of token ids, in the scale in which the family wants them."""
        return getattr(self.model, self.family.embedding)(ids)

    def enter(self, embeddings: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return what enters the first layer, of embeddings [B, N, D] at position ids [B, N].

        Raises ``InvalidRecordError`` for a position that the decoder has no embedding of.
        """
        if not self.family.positions:
            return embeddings
        table = getattr(self.model, self.family.positions)
        known, last = table.num_embeddings - table.offset, int(positions.max())
        if last >= known:
            raise InvalidRecordError(
                f'the sequence has position {last}; expected less than {known}, since the decoder '
                'has embeddings of so many. Use smaller images or a shorter sentence.'
            )
        placed = embeddings + functional.embedding(positions + table.offset, table.weight)
        return getattr(self.model, self.family.first_norm)(placed.to(self.dtype))

    @property
    def device(self) -> torch.device:
        """Where the decoder computes."""
        return self._weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the hidden states."""
        return self._weight.dtype

    @property
    def _weight(self) -> torch.Tensor:
        """One of the weights; packed int8 weights are none, but norms are never packed.

        Of layers that an engine executes, what stands for them.
        """
        part = self.whole or self.model.layers
        return next(chain(part.parameters(), part.buffers()))

    @property
    def whole(self) -> nn.Module | None:
        """All layers as one graph of an engine, where there is one: it cannot be cut."""
        made: nn.Module | None = getattr(self.model, 'whole', None)
        return made

    def whole_pass(self) -> fused.WholePass | None:
        """Return all layers as one module, ``None`` where the family or its layers forbid it."""
        alike = all(isinstance(layer, fused.FusedLayer) for layer in self.layers)
        if not self._is_one_kind or not alike:
            return None
        return fused.WholePass(self.layers, getattr(self.model, self.family.norm))

    def nothing_before(self, like: torch.Tensor) -> list[torch.Tensor]:
        """Return keys and values [1, key heads, 0, d] of each layer, of no rows."""
        enters = (layer.enter for layer in self.layers)
        return [like.new_zeros(1, e.key_heads, 0, e.head_dim) for e in enters for _ in range(2)]

    def keeping_pass(self) -> fused.KeepingPass | None:
        """Return the layers of a prefix as one module, ``None`` where the family forbids it."""
        if not self._is_one_kind:
            return None
        return fused.KeepingPass(self.layers, getattr(self.model, self.family.norm))

    @property
    def _is_one_kind(self) -> bool:
        """Whether the layers are in parts, and all see the same rows."""
        return self._fused and len(set(self.kinds)) <= 1

    @property
    def is_cut(self) -> bool:
        """Whether the layers are in parts before and behind their attention."""
        return self._fused

    def norm(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the last norm, where there is one."""
        return getattr(self.model, self.family.norm)(hidden) if self.family.norm else hidden

    @property
    def norm_weight(self) -> torch.Tensor:
        """Weights of the last norm, ones where there is none."""
        if not self.family.norm:
            return torch.ones(self.model.config.hidden_size)
        return getattr(self.model, self.family.norm).weight

    def rotary(
        self, hidden: torch.Tensor, positions: torch.Tensor
    ) -> dict[str, tuple[torch.Tensor, ...]]:
        """Return, for each kind of layer, cosine and sine [..., B, N, d] of position ids.

        Position ids are [B, N] or [3, B, N]; the tuples are empty where a family has none.
        """
        kinds = dict.fromkeys(self.kinds or (FULL,))
        if not self.family.rotary:
            return dict.fromkeys(kinds, ())
        if self.three_axes and positions.ndim == 2:
            positions = positions.expand(3, *positions.shape)
        made: dict[str, tuple[torch.Tensor, ...]] = {}
        for kind in kinds:
            if made and not self.family.rotary_by_kind:
                return dict.fromkeys(kinds, next(iter(made.values())))
            given = {'layer_type': kind} if self.family.rotary_by_kind else {}
            stock = getattr(self.model, self.family.rotary)(hidden, position_ids=positions, **given)
            made[kind] = fused.rotary(*stock) if self._fused else stock
        return made

    def visual_positions(self, tokens: VisualTokens) -> torch.Tensor:
        """Return the position ids of visual tokens, [1, V], or [3, 1, V] with three axes.

        With three axes (M-RoPE of Qwen-VL) a token has time, row and column, and each camera
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
        return self.model.config.model_type in THREE_AXES

    def attention(self, layer: nn.Module) -> nn.Module | None:
        """Return the attention module of a layer, or ``None``."""
        return getattr(layer, self.family.attention) if self.family.attention else None

    def step(
        self,
        layer: Any,
        hidden: torch.Tensor,
        mask: torch.Tensor,
        rotary: tuple[torch.Tensor, ...],
    ) -> torch.Tensor:
        """Run one stock layer over hidden states [B, N, D].

        A state space is told by the mask's last row which of them are padding, which it passes over
        as long as they come first.
        """
        if not self.has_attention:
            return state_space.step(layer, hidden, mask[:, 0, -1])
        return layer(hidden, attention_mask=mask, position_embeddings=rotary)

    def project(
        self, layer: Any, queries: torch.Tensor, keys: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return q [Q, heads, d] and k [K, key heads, d] of a layer, without rotary embedding.

        ``queries`` [Q, D] and ``keys`` [K, D] are hidden states before the layer.
        """
        if isinstance(layer, fused.FusedLayer):
            found = layer.unrotated(torch.cat([queries, keys]).to(self.dtype))
            return found[0][: len(queries)], found[1][len(queries) :]
        module: Any = self.attention(layer)
        queries, keys = queries.to(self.dtype), keys.to(self.dtype)
        if self.family.input_norm:
            norm = getattr(layer, self.family.input_norm)
            queries, keys = norm(queries), norm(keys)
        if hasattr(module, 'query_key_value'):
            size = 3 * module.head_size
            q = module.query_key_value(queries).unflatten(-1, (-1, size))[..., : module.head_size]
            k = module.query_key_value(keys).unflatten(-1, (-1, size))
            return q, k[..., module.head_size : 2 * module.head_size]
        size = module.head_dim
        q = module.q_proj(queries).unflatten(-1, (-1, size))
        k = module.k_proj(keys).unflatten(-1, (-1, size))
        if hasattr(module, 'q_norm'):
            return module.q_norm(q), module.k_norm(k)
        return q, k


def _kinds(config: Any, numbers: tuple[int, ...]) -> tuple[str, ...]:
    """Return the kind of each layer of a decoder; where it names none, all are of one."""
    named = getattr(config, 'layer_types', None)
    if named is not None:
        return tuple(named[number] for number in numbers)
    return (SLIDING if getattr(config, 'sliding_window', None) else FULL,) * len(numbers)
