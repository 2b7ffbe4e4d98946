# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The vision half of a vision-language model: encoder and connector, as one module.

The stock layers of transformers are walked here, which gives what their own forward gives, spares
what it computes for other uses (pooling heads, layers above the one that is read, position ids),
and lets a pass compute some patches only, beside the keys and values of the others.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla import attention
from efficient_vla.attention import Hook, KeyValues, hooked
from efficient_vla.perception.conv_stem import ConvStem
from efficient_vla.perception.partial_pass import PartialPass
from efficient_vla.settings import InvalidSettingError


@dataclass(frozen=True, slots=True)
class Anatomy:
    """In what a vision encoder of transformers differs from the others."""

    first_norm: str = ''
    """Module that normalises what enters the first layer."""
    last_norm: str = ''
    """Module that normalises the last hidden state."""
    leading: int = 0
    """Tokens before those of the patches."""
    masked: bool = False
    """Whether its embeddings want to know which patches are padding."""


ENCODERS = {
    'smolvlm_vision': Anatomy(last_norm='post_layernorm', masked=True),
    'idefics3_vision': Anatomy(last_norm='post_layernorm', masked=True),
    'siglip_vision_model': Anatomy(last_norm='post_layernorm'),
    'clip_vision_model': Anatomy(first_norm='pre_layrnorm', leading=1),
}
"""``model_type`` of transformers -> how to walk it. Others run as a whole."""


@dataclass(slots=True)
class Memory:
    """What is kept of one camera's image, so that a part of it can be computed again."""

    hidden: torch.Tensor
    """Hidden states that the connector reads, [1, N, D], with leading tokens."""
    slots: list[KeyValues]
    """One a layer; empty where nothing is going to be computed again."""
    attention: torch.Tensor
    """Last layer's attention, mean over heads, [N, N], or [0, 0] where it is not kept.

    A row is that of the pass that computed its query, as is the hidden state of that row.
    """


class VisionTower(nn.Module):
    """Pixels -> tokens in the width of the language model.

    ``encoder`` is a vision model of transformers and ``connector`` the module that projects into
    the language model. ``layer`` names the hidden state that is used, ``None`` the last one as the
    encoder returns it; ``skip`` leading tokens (a class token) are left out.
    """

    def __init__(
        self, encoder: Any, connector: nn.Module, layer: int | None = None, skip: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.connector = connector
        self.layer = layer
        self.skip = skip
        self._anatomy = ENCODERS.get(encoder.config.model_type)
        self._positions: tuple[Any, torch.Tensor] | None = None
        self.whole: nn.Module | None = None
        """Pixels to tokens as one graph of an engine, where there is one: no part is updated."""
        self.partial: nn.Module | None = None
        """All layers over some rows as one module, where there is one (``PartialPass``)."""
        if self._anatomy is not None:
            encoder.config._attn_implementation = attention.NAME

    @property
    def can_update(self) -> bool:
        """Whether a part of the patches can be computed again."""
        if self._anatomy is None or self.whole is not None:
            return False
        stem = self._stem
        return isinstance(stem, ConvStem) or (
            isinstance(stem, nn.Conv2d)
            and stem.kernel_size == stem.stride
            and not any(map(int, stem.padding if isinstance(stem.padding, tuple) else ()))
        )

    @property
    def patch_size(self) -> int:
        """Side of a patch [pixels]."""
        return self.encoder.config.patch_size

    @property
    def reach(self) -> tuple[int, int]:
        """Pixels before and after its own that a patch's embedding depends on."""
        stem = self._stem
        return stem.reach if isinstance(stem, ConvStem) else (0, 0)

    def fuse(self) -> None:
        """Make inference cheaper without a change of results; no training after this."""
        if isinstance(self._stem, ConvStem):
            self._stem.fold()

    @property
    def walked(self) -> bool:
        """Whether the layers are walked here; others run as their own module says."""
        return self._anatomy is not None

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the hidden states."""
        return self.encoder.embeddings.position_embedding.weight.dtype

    def join(self, known: dict[nn.Module, Any]) -> PartialPass:
        """Let one module run all layers over the rows that are computed, and return it.

        What is ``known`` of projections to queries, keys and values, in which they are alike, is
        known of the one product in their place, whose copy of their weights is the only one. Raises
        ``InvalidSettingError`` where some of them are known and others are not.
        """
        name = self._anatomy.last_norm if self._anatomy and self.layer is None else ''
        stock = list(self._layers)
        made = PartialPass(stock, getattr(self.encoder, name) if name else nn.Identity())
        for layer, enter in zip(stock, made.enters, strict=True):
            parts = [getattr(layer.self_attn, f'{part}_proj') for part in 'qkv']
            found = [part in known for part in parts]
            if any(found) != all(found):
                raise InvalidSettingError(
                    'quantization.exclude names some of q_proj, k_proj and v_proj, which are one '
                    'product in a tower that can be updated in part; expected all or none. Name '
                    'all of them, or set cache.method to another than patch.'
                )
            if all(found):
                known[enter.qkv] = known[parts[0]]
            for part in parts:
                part.to('meta')
        self.partial = made
        return made

    def release(self) -> None:
        """Let go of the weights that ``whole`` or ``partial`` holds."""
        self.encoder.encoder.layers.to('meta')
        (self.connector if self.partial is None else self.partial).to('meta')

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map normalised pixels [B, 3, H, W] to tokens [B, T, D]."""
        if self.partial is not None:
            memories = (self.encode(image, slots=False, scores=False) for image in pixels)
            return torch.stack([self.project(memory) for memory in memories])
        return self.walk(pixels) if self.whole is None else self.whole(pixels)

    def walk(self, pixels: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Do the same by the layers, whatever executes the whole."""
        if self._anatomy is None:
            return self.connector(self._stock(pixels)[:, self.skip :])
        states = self._embed(pixels, positions)
        for layer in self._layers:
            states = layer(states, None)
        return self.connector(self._normalise(states)[:, self.skip :])

    def encode(self, pixels: torch.Tensor, slots: bool, scores: bool) -> Memory:
        """Encode one image [3, H, W], keeping keys and values and the attention where wanted."""
        states = self._embed(pixels[None])
        length, depth = states.shape[1], len(self._layers)
        memory = Memory(
            states,
            [KeyValues(length) for _ in range(depth if slots or self.partial is not None else 0)],
            states.new_zeros((length, length) if scores else (0, 0), dtype=torch.float32),
        )
        memory.hidden = self._walk(memory, states, torch.arange(length, device=states.device))
        return memory

    def update(self, memory: Memory, pixels: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Compute ``patches`` int64 [n] of the image [3, H, W] again; return their change [n].

        ``patches`` increase. The others keep their keys, values and hidden states, so that all but
        their own change reaches the computed ones. Leading tokens have no pixels and are always
        computed. The change is that of the hidden state, relative to its length.
        """
        side = pixels.shape[-1] // self.patch_size
        leading = memory.hidden.shape[1] - side * side
        rows = torch.cat((torch.arange(leading, device=patches.device), patches + leading))
        states = self._rows(pixels, patches, rows, leading)
        new = self._walk(memory, states, rows)[0]
        old = memory.hidden[0, rows]
        memory.hidden[:, rows] = new
        change = (new - old).norm(dim=-1) / old.norm(dim=-1).clamp_min(1e-12)
        return change[leading:]

    def project(self, memory: Memory) -> torch.Tensor:
        """Return the tokens [T, D] of one camera."""
        return self.connector(memory.hidden[:, self.skip :])[0]

    def position_embeddings(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what the stock embeddings add to the patches, and leading tokens, [1, N, D].

        They are computed once for each image size and state of their weights, with an image whose
        patches embed to zero.
        """
        weight = self.encoder.embeddings.position_embedding.weight
        version = None if weight.is_inference() else weight._version
        key = (pixels.shape[1:], weight.data_ptr(), weight.dtype, weight.device, version)
        if self._positions is None or self._positions[0] != key:
            nothing = self._stem.register_forward_hook(
                lambda module, inputs, output: torch.zeros_like(output)
            )
            try:
                with torch.no_grad():
                    self._positions = (key, self._stock_embeddings(pixels[:1].to(weight.dtype)))
            finally:
                nothing.remove()
        return self._positions[1]

    def saliency(self, memory: Memory) -> torch.Tensor:
        """Return the attention that each patch receives in the last layer, [patches], sum 1.

        Mean over heads and queries. After partial passes the rows of queries that were not
        computed are those of their own last pass. Leading tokens are among the queries, but not
        in the result.
        """
        received = memory.attention.mean(0)[self.skip :]
        return received / received.sum()

    @property
    def _stem(self) -> nn.Module:
        return self.encoder.embeddings.patch_embedding

    @property
    def _layers(self) -> nn.ModuleList:
        layers = self.encoder.encoder.layers
        if self.layer is None:
            return layers
        return layers[: self.layer if self.layer >= 0 else len(layers) + 1 + self.layer]

    def _stock(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.layer is None:
            return self.encoder(pixel_values=pixels).last_hidden_state
        return self.encoder(pixel_values=pixels, output_hidden_states=True).hidden_states[
            self.layer
        ]

    def _embed(self, pixels: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Return what enters the first layer, [B, N, D]; ``positions`` where they are known."""
        if self.training:
            states = self._stock_embeddings(pixels)
        else:
            positions = self.position_embeddings(pixels) if positions is None else positions
            patches = self._stem(pixels.to(positions.dtype)).flatten(2).transpose(1, 2)
            leading = positions.shape[1] - patches.shape[1]
            states = patches + positions[:, leading:]
            if leading:
                states = torch.cat((positions[:, :leading].expand(len(states), -1, -1), states), 1)
        return self._first_norm(states)

    def _rows(
        self, pixels: torch.Tensor, patches: torch.Tensor, rows: torch.Tensor, leading: int
    ) -> torch.Tensor:
        """Return what enters the first layer in ``rows``: leading tokens, then ``patches``."""
        size, positions = self.patch_size, self.position_embeddings(pixels[None])
        side = pixels.shape[-1] // size
        row, column = patches // side, patches % side
        stem, pixels = self._stem, pixels.to(positions.dtype)
        if isinstance(stem, ConvStem):
            embedded = stem.cells(pixels, row, column)
        else:
            assert isinstance(stem, nn.Conv2d)
            tiles = pixels.unfold(1, size, size).unfold(2, size, size)  # [3, side, side, p, p]
            flat = tiles[:, row, column].transpose(0, 1).flatten(1)
            embedded = F.linear(flat, stem.weight.flatten(1), stem.bias)
        states = positions[:, rows]
        states[:, leading:] += embedded
        return self._first_norm(states)

    def _stock_embeddings(self, pixels: torch.Tensor) -> torch.Tensor:
        assert self._anatomy is not None
        if not self._anatomy.masked:
            return self.encoder.embeddings(pixels)
        side = pixels.shape[-1] // self.patch_size
        everywhere = torch.ones(len(pixels), side, side, dtype=torch.bool, device=pixels.device)
        return self.encoder.embeddings(pixels, everywhere)

    def _walk(self, memory: Memory, states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Run the layers over ``rows`` [n] of one image, [1, n, D], and fill its memory."""
        if self.partial is not None:
            return self._pass(self.partial, memory, states, rows)
        layers = self._layers
        for index, layer in enumerate(layers):
            hook = Hook()
            if memory.slots:
                hook.slots, hook.rows = memory.slots[index], rows
            if memory.attention.numel() and index == len(layers) - 1:
                hook.score_rows = torch.arange(len(rows), device=rows.device)
            with hooked(layer.self_attn, hook):
                states = layer(states, None)
            if hook.score_rows is not None:
                memory.attention[rows] = hook.scores
        return self._normalise(states)

    def _pass(
        self, partial: nn.Module, memory: Memory, states: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """Do the same by the module that runs all layers."""
        given = [part for slot in memory.slots for part in (slot.keys, slot.values)]
        if memory.slots[0].keys is None:
            heads = self.encoder.config.num_attention_heads
            shape = 1, heads, memory.slots[0].length, states.shape[2] // heads
            given = [states.new_zeros(shape)] * len(given)
        hidden, attention, *made = partial(states, rows, *given)
        for slot, keys, values in zip(memory.slots, made[::2], made[1::2], strict=True):
            slot.exchange(keys, values, rows, None)
        if memory.attention.numel():
            memory.attention[rows] = attention.float()
        return hidden

    def _first_norm(self, states: torch.Tensor) -> torch.Tensor:
        assert self._anatomy is not None
        name = self._anatomy.first_norm
        return getattr(self.encoder, name)(states) if name else states

    def _normalise(self, states: torch.Tensor) -> torch.Tensor:
        assert self._anatomy is not None
        name = self._anatomy.last_norm if self.layer is None else ''
        return getattr(self.encoder, name)(states) if name else states


class WholeTower(nn.Module):
    """All of a tower as one module: what an engine is given, and what stands for it afterwards.

    Images have one size, whose position embeddings are a constant: a look at the state of weights
    can be no part of a graph.
    """

    def __init__(self, tower: VisionTower, pixels: torch.Tensor) -> None:
        """Take a tower for images of the size of ``pixels`` [B, 3, H, W]."""
        super().__init__()
        self.encoder, self.connector = tower.encoder, tower.connector
        self.positions: torch.Tensor
        self.register_buffer('positions', tower.position_embeddings(pixels))
        self._pass = tower.walk

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map normalised pixels [B, 3, H, W] to tokens [B, T, D]."""
        return self._pass(pixels, self.positions)
