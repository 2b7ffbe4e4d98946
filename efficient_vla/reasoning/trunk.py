# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The language half of a VLM: visual tokens, instruction and learned queries in one sequence."""

from typing import Any

import torch
from torch import nn

from efficient_vla.reasoning import runner
from efficient_vla.reasoning.decoders import Decoder


class Trunk(nn.Module):
    """The language half of a VLM with learned action queries at its end.

    The sequence is visual tokens, instruction, queries. Under a causal mask keys and values of the
    image do not depend on the instruction; a decoder with a bidirectional prefix (PaliGemma) sees
    image and instruction both ways.
    """

    def __init__(self, decoder: Any, queries: int, bidirectional_prefix: bool = False) -> None:
        """Wrap a transformers decoder of a family in ``decoders.FAMILIES``."""
        super().__init__()
        self.bidirectional_prefix = bidirectional_prefix
        self.queries = nn.Parameter(torch.randn(queries, decoder.config.hidden_size) * 0.02)
        self.replace(decoder)

    def replace(self, decoder: Any) -> None:
        """Put another module in the decoder's place, such as its quantized form."""
        self.decoder = decoder
        self.parts = Decoder(decoder, self.bidirectional_prefix)

    def forward(
        self,
        visual: torch.Tensor,
        visual_positions: torch.Tensor,
        text: torch.Tensor,
        text_mask: torch.Tensor,
        text_start: int,
        selection: runner.Chooser | None = None,
        reuse: runner.Reuse | None = None,
        observe: frozenset[int] = frozenset(),
    ) -> tuple[torch.Tensor, runner.PassResult]:
        """Return plan latents [B, Q, D] and what the pass told of the visual tokens.

        ``visual`` [B, V, D] with position ids ``visual_positions`` [B, V] or [3, B, V]; ``text``
        token ids [B, L] with ``text_mask`` bool [B, L]; the first text token has position
        ``text_start``. ``selection`` and ``reuse`` take one sequence at a time.
        """
        batch, count, _ = visual.shape
        queries = len(self.queries)
        embeddings = torch.cat(
            [
                visual,
                self.parts.embed(text).to(visual.dtype),
                self.queries.to(visual.dtype).expand(batch, -1, -1),
            ],
            1,
        )
        lengths = text_mask.sum(1, keepdim=True)  # [B, 1]
        text_positions = text_start + torch.arange(text.shape[1], device=text.device)
        query_positions = text_start + lengths + torch.arange(queries, device=text.device)
        ahead = torch.cat([text_positions.expand(batch, -1), query_positions], 1)
        positions = torch.cat(
            [visual_positions, ahead.expand(*visual_positions.shape[:-2], -1, -1)], -1
        )
        attend = torch.cat(
            [
                text_mask.new_ones(batch, count),
                text_mask,
                text_mask.new_ones(batch, queries),
            ],
            1,
        )
        mask = runner.causal_mask(attend)
        if self.bidirectional_prefix:
            prefix = count + text.shape[1]
            mask[:, :, :prefix, :prefix] |= attend[:, None, None, :prefix]
        place = torch.arange(embeddings.shape[1], device=embeddings.device)
        sequence = runner.Sequence(
            embeddings, positions, mask, place[:count], place[count : count + text.shape[1]]
        )
        result = runner.run(self.parts, sequence, selection, reuse, observe)
        return result.hidden[:, -queries:], result
