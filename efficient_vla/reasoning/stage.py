# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""VisualTokens + instruction -> Plan."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from efficient_vla.reasoning import runner
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.types import InvalidRecordError
from efficient_vla.types import Plan
from efficient_vla.types import VisualTokens

MAX_TEXT_TOKENS = 48
"""Tokens of the instruction that are read, as in SmolVLA; a longer one is refused, not cut."""


class Trunk(nn.Module):
    """The language half of a VLM with learned action queries at its end.

    The sequence is visual tokens, instruction, queries, under a causal mask, so that keys and
    values of the image do not depend on the instruction.
    """

    def __init__(self, decoder: Any, queries: int) -> None:
        """Wrap a transformers decoder (its ``embed_tokens``, ``layers``, ``norm``)."""
        super().__init__()
        self.decoder = runner.prepare(decoder)
        width = self.decoder.config.hidden_size
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)

    def forward(
        self,
        visual: torch.Tensor,
        visual_positions: torch.Tensor,
        text: torch.Tensor,
        text_mask: torch.Tensor,
        text_start: int,
        drop: runner.Drop | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return plan latents [B, Q, D] and the visual tokens that remained [V'].

        ``visual`` [B, V, D] with position ids ``visual_positions`` [B, V]; ``text`` token ids
        [B, L] with ``text_mask`` bool [B, L]; the first text token has position ``text_start``.
        """
        batch, count, _ = visual.shape
        queries = len(self.queries)
        embeddings = torch.cat(
            [
                visual,
                self.decoder.embed_tokens(text).to(visual.dtype),
                self.queries.to(visual.dtype).expand(batch, -1, -1),
            ],
            1,
        )
        lengths = text_mask.sum(1, keepdim=True)  # [B, 1]
        text_positions = text_start + torch.arange(text.shape[1], device=text.device)
        query_positions = text_start + lengths + torch.arange(queries, device=text.device)
        positions = torch.cat(
            [
                visual_positions,
                text_positions.expand(batch, -1),
                query_positions,
            ],
            1,
        )
        attend = torch.cat(
            [
                text_mask.new_ones(batch, count),
                text_mask,
                text_mask.new_ones(batch, queries),
            ],
            1,
        )
        hidden, kept = runner.run(
            self.decoder, embeddings, positions, runner.causal_mask(attend), count, drop, generator
        )
        return hidden[:, -queries:], kept[kept < count]


class Reasoner:
    """Plan with a vision-language trunk, spending only the tokens that the settings allow."""

    def __init__(
        self,
        trunk: Trunk,
        tokenizer: Callable[..., Any],
        tokens_per_frame: int,
        settings: ReasonerSettings,
        parameters_mb: float,
    ) -> None:
        """Use a tokenizer of transformers; positions of text start after a full frame's tokens.

        ``parameters_mb`` is the resident size of the trunk's weights in their number format.
        """
        self.trunk = trunk
        self.parameters_mb = parameters_mb
        self.tokenizer = tokenizer
        self.text_start = tokens_per_frame
        self._sequence = 0
        self._text: dict[str, torch.Tensor] = {}
        self._generator = torch.Generator().manual_seed(0)
        self.configure(settings)

    def configure(self, settings: ReasonerSettings) -> None:
        """Apply settings from the next plan on.

        Raises ``InvalidRecordError`` when the drop layer is not inside the decoder.
        """
        depth = len(self.trunk.decoder.layers)
        pruning = settings.pruning
        if pruning.method != 'none' and pruning.layer >= depth:
            raise InvalidRecordError(
                f'pruning.layer is {pruning.layer}; the decoder has {depth} layers, expected less. '
                f'Set pruning.layer to 2.'
            )
        self._settings = settings

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode; the random control starts over, so that runs repeat."""
        self._generator.manual_seed(0)

    def plan(self, tokens: VisualTokens, instruction: str) -> Plan:
        """Return the plan for one frame.

        Raises ``InvalidRecordError`` when the instruction is too long or the tokens do not fit.
        """
        started = time.perf_counter()
        width = self.trunk.queries.shape[1]
        if tokens.features.shape[1] != width:
            raise InvalidRecordError(
                f'visual tokens are {tokens.features.shape[1]} wide; the decoder expects {width}. '
                'Start perception and reasoner from the same policy.'
            )
        total = len(tokens.features)
        text = self._encode(instruction)
        dtype = self.trunk.decoder.embed_tokens.weight.dtype
        with torch.inference_mode():
            latents, kept = self.trunk(
                torch.from_numpy(tokens.features)[None].to(dtype),
                torch.from_numpy(tokens.position.astype(np.int64))[None],
                text,
                torch.ones_like(text, dtype=torch.bool),
                max(self.text_start, int(tokens.position[-1]) + 1),
                self._drop(total),
                self._generator,
            )
        self._sequence += 1
        return Plan(
            latents=latents[0].float().numpy(),
            instruction=instruction,
            stamp=tokens.stamp,
            valid_for=self._settings.plan_validity,
            sequence=self._sequence,
            kept=tokens.position[kept.numpy()],
            tokens_total=total,
            latency_ms=(time.perf_counter() - started) * 1e3,
        )

    def _drop(self, total: int) -> runner.Drop | None:
        pruning = self._settings.pruning
        if pruning.method == 'none' or pruning.keep >= 1.0:
            return None
        return runner.Drop(pruning.method, pruning.layer, max(1, round(pruning.keep * total)))

    def _encode(self, instruction: str) -> torch.Tensor:
        """Return token ids [1, L]; the last instruction is remembered."""
        if instruction not in self._text:
            ids = self.tokenizer(instruction.strip().lower())['input_ids']
            if not 0 < len(ids) <= MAX_TEXT_TOKENS:
                raise InvalidRecordError(
                    f'instruction has {len(ids)} tokens; expected 1 to {MAX_TEXT_TOKENS}. '
                    'Say it in one short sentence.'
                )
            self._text = {instruction: torch.tensor([ids])}
        return self._text[instruction]
