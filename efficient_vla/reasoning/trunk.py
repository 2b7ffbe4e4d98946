# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The language half of a VLM: visual tokens, instruction and learned queries in one sequence."""

from typing import Any

import numpy as np
import torch
from torch import nn

from efficient_vla.attention import PrefixCache
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.reasoning.layout import Layout, behind
from efficient_vla.settings import InvalidSettingError


class Trunk(nn.Module):
    """The language half of a VLM with learned action queries at its end.

    The sequence is visual tokens and instruction, in whatever order a prompt puts them, then
    queries. Under a causal mask keys and values of the image do not depend on what follows; a
    decoder with a bidirectional prefix (PaliGemma, the encoder of Florence-2) sees image and
    instruction both ways, one with ``image_blocks`` (Gemma 3) the tokens of each image.
    """

    def __init__(
        self,
        decoder: Any,
        queries: int,
        bidirectional_prefix: bool = False,
        image_blocks: bool = False,
        levels: int = 0,
    ) -> None:
        """Wrap a transformers decoder of a family in ``decoders.FAMILIES``.

        ``levels`` is how many early layers are given features of the image of their own
        (DeepStack).
        """
        super().__init__()
        self.prefix: PrefixCache | None = None
        """Keys and values of the last pass, where plans hand them on."""
        self.bidirectional_prefix = bidirectional_prefix
        self.route: runner.Route | None = None
        """Which layers run, and where the pass ends; ``None``: all."""
        self.image_blocks = image_blocks
        self.levels = levels
        self.queries = nn.Parameter(torch.randn(queries, decoder.config.hidden_size) * 0.02)
        self.register_parameter('added', None)
        """Rows behind the queries that no query sees, [N, D], where a conditioning has its own."""
        self.depth = len(decoder.layers)
        """Layers that the decoder has when none is left out."""
        self.numbers = tuple(range(self.depth))
        """Which of them are left."""
        self.replace(decoder)
        self.bidirectional_prefix |= self.parts.family.both_ways

    @property
    def token_width(self) -> int:
        """Width of visual tokens, those of all levels one after the other."""
        return (1 + self.levels) * self.queries.shape[1]

    @property
    def words(self) -> int:
        """Tokens that the decoder knows."""
        return self.decoder.get_input_embeddings().num_embeddings

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings [L, D] of token ids [L]."""
        return self.parts.embed(ids)

    def rows_beside(self, camera: np.ndarray) -> int:
        """Return the rows beside visual tokens, of the cameras ``camera`` [V], and words."""
        return len(self.asked)

    @property
    def asked(self) -> torch.Tensor:
        """Queries, and the rows behind them, whose last hidden states are the plan."""
        return self.queries if self.added is None else torch.cat([self.queries, self.added])

    def replace(self, decoder: Any) -> None:
        """Put another module in the decoder's place, such as its quantized form."""
        self.decoder = decoder
        self.parts = Decoder(decoder, self.bidirectional_prefix, self.numbers, self.depth)

    def keep_layers(self, numbers: tuple[int, ...]) -> None:
        """Take all layers but these out of the decoder, and out of memory.

        Raises ``InvalidSettingError`` for a layer that is given features of the image of its own.
        """
        if numbers[: self.levels] != tuple(range(self.levels)):
            raise InvalidSettingError(
                f'depth.method leaves layers {", ".join(map(str, numbers))}; expected the first '
                f'{self.levels} among them, since they are given features of the image (DeepStack).'
                ' Set depth.method to none, or more layers.'
            )
        left = [
            layer
            for layer, own in zip(self.decoder.layers, self.numbers, strict=True)
            if own in numbers
        ]
        self.decoder.layers = nn.ModuleList(left)
        self.numbers = numbers
        self.replace(self.decoder)

    def forward(
        self,
        visual: torch.Tensor,
        visual_positions: torch.Tensor,
        text: torch.Tensor,
        text_mask: torch.Tensor,
        start: int | Layout,
        selection: runner.Chooser | None = None,
        reuse: runner.Reuse | None = None,
        observe: frozenset[int] = frozenset(),
    ) -> tuple[torch.Tensor, runner.PassResult]:
        """Return plan latents [B, Q, D] and what the pass told of the visual tokens.

        ``visual`` [B, V, token width] with position ids ``visual_positions`` [B, V] or [3, B, V];
        ``text`` token ids [B, L] with ``text_mask`` bool [B, L], whose last ones may be padding;
        ``start`` says where the text is: a ``Layout``, or behind all visual tokens, beginning with
        this position id. ``selection`` and ``reuse`` take one sequence at a time.
        """
        sequence = self.sequence(visual, visual_positions, text, text_mask, start)
        result = runner.run(self.parts, sequence, selection, reuse, observe, self.route)
        return result.hidden[:, -len(self.asked) :], result

    def sequence(
        self,
        visual: torch.Tensor,
        visual_positions: torch.Tensor,
        text: torch.Tensor,
        text_mask: torch.Tensor,
        start: int | Layout,
    ) -> runner.Sequence:
        """Return the rows of a frame, queries included, and who sees whom; as for ``forward``."""
        batch, count, _ = visual.shape
        asked = self.asked
        length, queries = text.shape[1], len(asked)
        layout = start
        if not isinstance(layout, Layout):
            layout = behind(layout, length, text.new_zeros(count))
        order = layout.order
        visual, *added = visual.split(self.queries.shape[1], -1)
        words = self.parts.embed(text).to(visual.dtype)
        embeddings = torch.cat(
            [
                torch.cat([visual, words], 1)[:, order],
                asked.to(visual.dtype).expand(batch, -1, -1),
            ],
            1,
        )
        padding = length - text_mask.sum(1, keepdim=True)  # [B, 1]
        after = layout.end - padding + torch.arange(queries, device=text.device)
        axes = visual_positions.shape[:-2]
        known = [visual_positions, layout.positions.expand(*axes, batch, -1)]
        positions = torch.cat(
            [torch.cat(known, -1)[..., order], after.expand(*axes, -1, -1)],
            -1,
        )
        seen = torch.cat([text_mask.new_ones(batch, count), text_mask], 1)[:, order]
        attend = torch.cat([seen, text_mask.new_ones(batch, queries)], 1)
        if not self.parts.has_attention and not bool(attend.all()):
            # A state remembers padding that it has passed; before the first token there is none.
            first = attend.sort(dim=1, stable=True).indices
            embeddings = (embeddings * attend[..., None]).take_along_dim(first[..., None], 1)
            attend = attend.take_along_dim(first, 1)
        embeddings = self.parts.enter(embeddings, positions)
        mask = runner.causal_mask(attend)
        unwindowed = None
        if self.bidirectional_prefix:
            prefix = count + length
            unwindowed = torch.zeros_like(mask)
            unwindowed[:, :, :prefix, :prefix] = attend[:, None, None, :prefix]
            mask |= unwindowed
        if self.image_blocks:
            places = layout.visual[:, None], layout.visual
            mask[:, :, *places] |= layout.images[:, None] == layout.images
        return runner.Sequence(
            embeddings,
            positions,
            mask,
            layout.visual,
            layout.text[layout.words],
            unwindowed,
            torch.stack(added) if added else None,
        )
