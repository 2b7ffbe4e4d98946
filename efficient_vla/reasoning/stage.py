# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""VisualTokens + instruction -> Plan."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from efficient_vla.reasoning import runner
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.reasoning.ecot.cache import Ecot, Thought
from efficient_vla.reasoning.gate import MotionGate
from efficient_vla.reasoning.memory import ScoreMemory
from efficient_vla.reasoning.protection import protected
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.reasoning.resampling.layers import places
from efficient_vla.reasoning.resampling.resamplers import output_positions
from efficient_vla.reasoning.reuse.vla_cache import Frame, VlaCache
from efficient_vla.reasoning.selection import Context, TokenSelection, drop_layers, observed_layers
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.savings import Savings
from efficient_vla.types import InvalidRecordError, Plan, VisualTokens

MAX_TEXT_TOKENS = 48
"""Tokens of the instruction that are read, as in SmolVLA; a longer one is refused, not cut."""


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
        self.parts = Decoder(decoder)

    def forward(
        self,
        visual: torch.Tensor,
        visual_positions: torch.Tensor,
        text: torch.Tensor,
        text_mask: torch.Tensor,
        text_start: int,
        selection: runner.Selection | None = None,
        reuse: runner.Reuse | None = None,
        observe: frozenset[int] = frozenset(),
    ) -> tuple[torch.Tensor, runner.Result]:
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


@dataclass(frozen=True, slots=True)
class _Choice:
    """How one plan spends its tokens, and why."""

    selection: TokenSelection | None
    guarded: np.ndarray
    reason: str


class Reasoner:
    """Plan with a vision-language trunk, spending only the tokens that the settings allow."""

    def __init__(
        self,
        trunk: Trunk,
        tokenizer: Callable[..., Any],
        tokens_per_frame: int,
        settings: ReasonerSettings,
        parameters_mb: float,
        state_names: tuple[str, ...] = (),
        learned: Mapping[str, Any] | None = None,
        resampler: nn.Module | None = None,
        lacking: Mapping[str, str] | None = None,
    ) -> None:
        """Use a tokenizer of transformers; positions of text start after a full frame's tokens.

        ``parameters_mb`` is the resident size of the trunk's weights in their number format,
        ``state_names`` name what ``observe`` is given, ``learned`` are the scorers of pruning by
        method and, as 'ecot', the ``Thinker`` that puts plans into words; ``lacking`` says of
        methods why they have none. ``resampler`` makes other tokens of the visual ones, as
        ``resampling.resamplers`` says.
        """
        self.trunk = trunk
        self.parameters_mb = parameters_mb
        self._device = trunk.queries.device
        self.tokenizer = tokenizer
        self.text_start = tokens_per_frame
        self.state_names = state_names
        self._learned = learned or {}
        self._lacking = lacking or {}
        self._resampler = resampler
        self._ecot = Ecot(self._learned['ecot']) if 'ecot' in self._learned else None
        self._sequence = 0
        self._text: dict[str, torch.Tensor] = {}
        self._generator = torch.Generator().manual_seed(0)
        self._memory = ScoreMemory()
        self._gate = MotionGate(state_names)
        self._cache = VlaCache(len(trunk.parts.layers))
        self._savings = Savings()
        self._instruction = ''
        self._since_refresh = 0
        self._settings = settings
        self.configure(settings)

    def configure(self, settings: ReasonerSettings) -> None:
        """Apply settings from the next plan on.

        Raises ``InvalidRecordError`` when the decoder cannot do what they ask for, or an add-on
        that they need is missing or unfit; the settings from before then stay.
        """
        parts, pruning = self.trunk.parts, settings.pruning
        if pruning.method != 'none':
            drop_layers(pruning, len(parts.layers))
            needs = METHODS[pruning.method].needs
            asked = needs & {'attention', 'output', 'projections', 'memory'}
            if asked and not parts.has_attention:
                raise InvalidRecordError(
                    f'pruning.method {pruning.method} ranks tokens by attention, which a '
                    f'{parts.model.config.model_type} decoder does not have. Choose uniform, '
                    'random, lightvla, sp_vla or fastdrivevla.'
                )
            if 'scorer' in needs or pruning.method in self._lacking:
                self._require('pruning', pruning.method)
        if settings.reuse.method != 'none' and not parts.has_attention:
            raise InvalidRecordError(
                f'reuse.method {settings.reuse.method} keeps keys and values, which a '
                f'{parts.model.config.model_type} decoder does not have. Set it to none.'
            )
        if settings.ecot.method != 'none':
            self._require('ecot', 'ecot')
        if settings.reuse.method != self._settings.reuse.method:
            self._cache.flush('reuse method changed')
        self._settings = settings

    def _require(self, name: str, method: str) -> None:
        """Refuse a method whose module was not loaded; ``name`` is the group of its settings."""
        if method not in self._learned:
            reason = self._lacking.get(
                method,
                'this policy has no module for it. Train it: efficient-vla train --method '
                f'{method} --install.',
            )
            raise InvalidRecordError(f'{name}.method asks for {method}, but {reason}')

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode; the random control starts over, so that runs repeat."""
        self._generator.manual_seed(0)
        self._memory.reset()
        self._gate.reset()
        self._cache.flush(reason)
        if self._ecot is not None:
            self._ecot.reset()
        self._instruction = ''
        self._since_refresh = 0

    def observe(self, state: np.ndarray, stamp: float) -> None:
        """Follow the robot's state [S], so that fine work can be told from coarse."""
        if self.state_names:
            self._gate.observe(state, stamp, self._settings.pruning.gate)

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
        settings, total = self._settings, len(tokens.features)
        text = self._encode(instruction)
        self._remember_scene(tokens, instruction)
        with torch.inference_mode():
            features, positions = self._entering(tokens, text)
            choice = self._choose(tokens)
            first = choice.selection.first if choice.selection else 0
            reuse, refresh = self._reuse(tokens, features, text, first)
            remembered = observed_layers(
                settings.pruning, len(self.trunk.parts.layers), reuse is not None
            )
            latents, result = self.trunk(
                features[None].to(self.trunk.parts.dtype),
                positions,
                text,
                torch.ones_like(text, dtype=torch.bool),
                self.trunk.parts.text_start(tokens, self.text_start),
                choice.selection,
                reuse,
                self._observed(remembered),
            )
            self._learn(features, result, remembered)
            if reuse is not None:
                self._cache.end(result)
            thought = Thought()
            if self._ecot is not None and settings.ecot.method != 'none':
                thought = self._ecot.think(
                    latents[0].float(), instruction, tokens.stamp, settings.ecot
                )
        self._sequence += 1
        kept, computed = result.kept.cpu().numpy(), result.computed.cpu().numpy()
        reused = kept
        if len(computed):
            reused = kept[~np.isin(kept, computed, assume_unique=True, kind='table')]
        guarded = kept[choice.guarded[kept]]
        spent = choice.selection.spent(len(kept), len(guarded)) if choice.selection else ''
        ids = tokens.position
        if len(features) != total:
            ids = positions[0].cpu().numpy().astype(np.int32)
            spent = f'{settings.resampling.method}: {len(ids)} tokens in place of {total}'
        latency = (time.perf_counter() - started) * 1e3
        return Plan(
            latents=latents[0].float().cpu().numpy(),
            instruction=instruction,
            stamp=tokens.stamp,
            valid_for=settings.plan_validity,
            sequence=self._sequence,
            text=thought.text,
            text_age=thought.text_age,
            subgoal=thought.subgoal,
            subgoal_age=thought.subgoal_age,
            kept=ids[kept],
            tokens_total=total,
            latency_ms=latency,
            reused=ids[reused],
            reused_age=self._cache.age(reused, tokens.stamp),
            protected=ids[guarded],
            reason='; '.join(part for part in (spent or choice.reason, refresh) if part),
            saved_ms=self._savings.add(latency, full=len(computed) == total),
        )

    def _entering(
        self, tokens: VisualTokens, text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens that enter the decoder [V, D] and their position ids [..., 1, V]."""
        device, parts = self._device, self.trunk.parts
        features = torch.from_numpy(tokens.features).to(device)
        full = parts.visual_positions(tokens).to(device)
        if self._resampler is None:
            return features, full
        camera, row, column = (
            torch.from_numpy(part).to(device) for part in (tokens.camera, tokens.row, tokens.column)
        )
        words = parts.embed(text).float()
        mask = torch.ones_like(text, dtype=torch.bool)
        made = self._resampler(
            features[None], places(camera, row, column, tokens.grid), words, mask
        )[0]
        if len(made) == len(features):
            return made, full
        return made, output_positions(len(made), self.text_start)[None].to(device)

    def _remember_scene(self, tokens: VisualTokens, instruction: str) -> None:
        """Keep what earlier frames told, as long as it is about the same tokens and task."""
        if instruction != self._instruction:
            self._memory.reset()
            self._instruction = instruction
        self._memory.fit(len(tokens.features))

    def _choose(self, tokens: VisualTokens) -> _Choice:
        """Return the selection of this plan, or ``None`` with the reason for all tokens."""
        pruning = self._settings.pruning
        nothing = np.zeros(len(tokens.features), bool)
        if pruning.method == 'none' or pruning.keep >= 1.0:
            return _Choice(None, nothing, '')
        self._since_refresh += 1
        if pruning.refresh_every and self._since_refresh >= pruning.refresh_every:
            self._since_refresh = 0
            return _Choice(None, nothing, 'all tokens: refresh')
        fine = self._gate.judge(tokens.stamp, pruning.gate)
        if fine:
            return _Choice(None, nothing, f'all tokens: {fine}')
        guarded = protected(tokens, self._gate.position, pruning.protect)
        context = Context(
            self._memory,
            self._gate.speed(tokens.stamp),
            guarded,
            self._generator,
            self._learned.get(pruning.method),
        )
        selection = TokenSelection(self.trunk.parts, pruning, tokens, context)
        return _Choice(selection, guarded, '')

    def _reuse(
        self, tokens: VisualTokens, features: torch.Tensor, text: torch.Tensor, first: int
    ) -> tuple[runner.Reuse | None, str]:
        """Return what is taken from earlier frames, and why if nothing is."""
        settings = self._settings.reuse
        if settings.method == 'none':
            return None, ''
        frame = Frame(
            features,
            len(features) + text.shape[1] + len(self.trunk.queries),
            (self._instruction, tokens.epoch, tokens.position.tobytes()),
            tokens.stamp,
        )
        reuse, reason = self._cache.begin(frame, self._memory.attention, settings, first)
        return reuse, f'all computed: {reason}' if reason else ''

    def _observed(self, remembered: frozenset[int]) -> frozenset[int]:
        """Return the layers whose attention is looked at in this pass: all where entropy lacks."""
        reuse = self._settings.reuse
        if reuse.method != 'none' and reuse.adaptive and self._cache.wants_entropy:
            return frozenset(range(len(self.trunk.parts.layers)))
        return remembered

    def _learn(
        self, features: torch.Tensor, result: runner.Result, remembered: frozenset[int]
    ) -> None:
        """Put the attention of the instruction in these layers into the memory."""
        if remembered:
            rows = torch.stack([result.scores[layer].mean(0) for layer in sorted(remembered)])
            # A token that a later layer dropped is known from the layers that saw it.
            self._memory.update(features, rows.nanmean(0))

    def _encode(self, instruction: str) -> torch.Tensor:
        """Return token ids [1, L]; the last instruction is remembered."""
        if instruction not in self._text:
            ids = self.tokenizer(instruction.strip().lower())['input_ids']
            if not 0 < len(ids) <= MAX_TEXT_TOKENS:
                raise InvalidRecordError(
                    f'instruction has {len(ids)} tokens; expected 1 to {MAX_TEXT_TOKENS}. '
                    'Say it in one short sentence.'
                )
            self._text = {instruction: torch.tensor([ids], device=self._device)}
        return self._text[instruction]
