# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""VisualTokens + instruction -> Plan."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from efficient_vla.attention import PrefixCache
from efficient_vla.dual_settings import OWN
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.depth.pilot import Pilot, PilotedRoute
from efficient_vla.reasoning.ecot.cache import Ecot, Thought
from efficient_vla.reasoning.gate import MotionGate
from efficient_vla.reasoning.layout import Layout, arranged, behind
from efficient_vla.reasoning.memory import ScoreMemory
from efficient_vla.reasoning.prefix import Prefix
from efficient_vla.reasoning.protection import protected
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.reasoning.resampling.layers import output_positions, places_of
from efficient_vla.reasoning.reuse.vla_cache import CachedFrame, VlaCache
from efficient_vla.reasoning.schedule import PassSchedule
from efficient_vla.reasoning.selection import (
    TokenSelection,
    drop_layers,
    looks_between,
    observed_layers,
)
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.reasoning.words import Words, bare_words, checked
from efficient_vla.statistics import Savings
from efficient_vla.tensors import weights_mb
from efficient_vla.types import InvalidRecordError, Plan, VisualTokens

Entering = tuple[torch.Tensor, torch.Tensor, torch.Tensor, Layout]
"""Visual tokens [V, D], their position ids, token ids [1, L], and where the words are."""
Techniques = tuple[TokenSelection | None, runner.Reuse | None, frozenset[int]]
"""Which tokens stay, what is reused, and the layers whose attention is looked at."""


class Reasoner:
    """Plan with a vision-language trunk, spending only the tokens that the settings allow."""

    def __init__(
        self,
        trunk: Trunk | Prefix,
        tokenizer: Callable[..., Any],
        tokens_per_frame: int,
        settings: ReasonerSettings,
        state_names: tuple[str, ...] = (),
        learned: Mapping[str, Any] | None = None,
        resampler: nn.Module | None = None,
        lacking: Mapping[str, str] | None = None,
        encode: Callable[[str], Words] | None = None,
        pilot: Pilot | None = None,
    ) -> None:
        """Use a tokenizer of transformers; positions of text start after a full frame's tokens.

        ``encode`` puts the instruction into a prompt; without, it is read bare.

        ``state_names`` name what ``observe`` is given, ``learned`` are the scorers of pruning by
        method and, as 'ecot', the ``Thinker`` that puts plans into words; ``lacking`` says of
        methods why they have none. ``resampler`` makes other tokens of the visual ones, as
        ``resampling`` says. ``pilot`` decides for each frame which layers run.
        """
        self.trunk, self._pilot = trunk, pilot
        self.engine: Any = None
        """What is known of the engine that executes the decoder, where that is not torch."""
        self.conditioning = OWN
        """How plans steer the fast policy."""
        self.parameters_mb = weights_mb(trunk) + (0.0 if pilot is None else pilot.parameters_mb)
        self._device = trunk.parts.device
        self._encode = encode or partial(bare_words, tokenizer)
        self.text_start = tokens_per_frame
        self.state_names = state_names
        self._learned = learned or {}
        self._lacking = lacking or {}
        self._resampler = resampler
        self._ecot = Ecot(self._learned['ecot']) if 'ecot' in self._learned else None
        self._sequence = 0
        self._known: dict[str, Words] = {}
        self._generator = torch.Generator().manual_seed(0)
        self._memory = ScoreMemory()
        self._gate = MotionGate(state_names)
        self._schedule = PassSchedule(state_names)
        self._cache = VlaCache(trunk.parts.left)
        self.signals = settings.pruning.needs_signals != ''
        """Whether tokens carry contours and saliency; who starts with a method grants it."""
        self._tokens: VisualTokens | None = None
        self._plan: Plan | None = None
        self._savings = Savings()
        self._since_refresh = 0
        self._deep = True
        """Whether all layers ran in the last pass."""
        self._settings = settings
        self.configure(settings)

    def configure(self, settings: ReasonerSettings) -> None:
        """Apply settings from the next plan on.

        Raises ``InvalidRecordError`` when the decoder cannot do what they ask for, or an add-on
        that they need is missing or unfit; the settings from before then stay.
        """
        parts, pruning = self.trunk.parts, settings.pruning
        if parts.whole is not None:
            _refuse_cuts(settings, looks_between(settings, parts.left))
        if pruning.method != 'none':
            drop_layers(pruning, parts.left)
            method = METHODS[pruning.method]
            if method.needs_attention and not parts.has_attention:
                raise InvalidRecordError(
                    f'pruning.method {pruning.method} ranks tokens by attention, which a '
                    f'{parts.model.config.model_type} decoder does not have. Choose one of '
                    f'{", ".join(n for n, other in METHODS.items() if not other.needs_attention)}.'
                )
            if 'scorer' in method.needs or pruning.method in self._lacking:
                self._require('pruning', pruning.method)
        self._require_motion(settings)
        why = pruning.needs_signals
        if why and not self.signals:
            raise InvalidRecordError(
                f'pruning.{why} needs contours and saliency, which no visual tokens have carried '
                'lately. Set perception.signals to true first.'
            )
        if settings.reuse.method != 'none' and not parts.has_attention:
            raise InvalidRecordError(
                f'reuse.method {settings.reuse.method} keeps keys and values, which a '
                f'{parts.model.config.model_type} decoder does not have. Set it to none.'
            )
        if settings.ecot.method != 'none':
            self._require('ecot', 'ecot')
        self._steer(settings)
        if settings.reuse.method != self._settings.reuse.method:
            self._cache.flush('reuse method changed')
        self._settings = settings

    def _steer(self, settings: ReasonerSettings) -> None:
        """Tell the pilot how to choose layers, and refuse a choice without one."""
        if self._pilot is None:
            settings.depth.refuse_dynamic()
        elif settings.depth.dynamic:
            self._pilot.configure(settings.depth)

    def _require(self, name: str, method: str) -> None:
        """Refuse a method whose module was not loaded; ``name`` is the group of its settings."""
        if method not in self._learned:
            reason = self._lacking.get(
                method,
                'this policy has no module for it. Train it: efficient-vla train --method '
                f'{method} --install.',
            )
            raise InvalidRecordError(f'{name}.method asks for {method}, but {reason}')

    def _require_motion(self, settings: ReasonerSettings) -> None:
        """Refuse what looks at the robot where the policy's state does not tell of it."""
        pruning, schedule = settings.pruning, settings.schedule.method
        named = f'pruning.method {pruning.method}'
        looks = pruning.method != 'none' and 'motion' in METHODS[pruning.method].needs
        gate, protects = pruning.gate.method, pruning.protect.end_effector
        moves, has_place = bool(self.state_names), self._gate.cartesian
        for what, used, there, wanted in (
            (named, looks, moves, 'the motion'),
            (f'pruning.gate.method {gate}', gate != 'none', moves, 'the motion'),
            (f'schedule.method {schedule}', schedule != 'none', moves, 'the motion'),
            (f'schedule.method {schedule}', schedule == 'intuitive', has_place, 'x, y and z'),
            ('pruning.protect.end_effector', protects, has_place, 'x, y and z'),
        ):
            if used and not there:
                raise InvalidRecordError(
                    f'{what} needs {wanted} of the end effector; the robot state of this policy is '
                    f'{", ".join(self.state_names) or "empty"}. Turn it off, or use another policy.'
                )

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode; the random control starts over, so that runs repeat."""
        self._generator.manual_seed(0)
        self._memory.reset()
        self._gate.reset()
        self._schedule.reset()
        self._cache.flush(reason)
        if self._ecot is not None:
            self._ecot.reset()
        if self._pilot is not None:
            self._pilot.reset()
        self._plan = None
        self._since_refresh = 0

    def observe(self, state: np.ndarray, stamp: float) -> None:
        """Follow the robot's state [S], so that fine work can be told from coarse."""
        if self.state_names:
            self._gate.observe(state, stamp)

    def plan(self, tokens: VisualTokens, instruction: str) -> Plan:
        """Return the plan for one frame.

        Raises ``InvalidRecordError`` when the instruction is too long or the tokens do not fit.
        """
        started = time.perf_counter()
        width = self.trunk.token_width
        if tokens.features.shape[1] != width:
            raise InvalidRecordError(
                f'visual tokens are {tokens.features.shape[1]} wide; the decoder expects {width}. '
                'Start perception and reasoner from the same policy.'
            )
        self.signals = len(tokens.saliency) > 0
        words = self._words(instruction)
        again = self._again(tokens, instruction)
        try:
            with torch.inference_mode():
                plan = again or self._pass(tokens, instruction, words)
        except BaseException:
            # Some slots may be newer than others now, and none of them is known to be right.
            self._cache.flush('pass failed')
            raise
        self._schedule.note(None if again else plan.kept)
        self._sequence += 1
        latency = (time.perf_counter() - started) * 1e3
        full = self._deep and len(plan.kept) - len(plan.reused) == plan.tokens_total
        self._tokens = tokens
        self._plan = replace(
            plan,
            sequence=self._sequence,
            latency_ms=latency,
            saved_ms=self._savings.add(latency, full),
        )
        return self._plan

    def _again(self, tokens: VisualTokens, instruction: str) -> Plan | None:
        """Return the plan before for the frame of now, where the schedule finds no pass needed.

        All its tokens count as reused, and it stays valid as long as it would have anyway.
        """
        last, before, motion = self._plan, self._tokens, self._gate.newest
        if self._settings.schedule.method == 'none' or motion is None:
            return None
        stamp, state = motion
        reason = self._schedule.judge(
            stamp, self._gate.place(state), state, self._settings.schedule
        )
        if not reason or last is None or before is None or np.isnan(self._gate.speed(tokens.stamp)):
            return None
        passed = tokens.stamp - last.stamp
        same = (before.epoch, len(before.features)) == (tokens.epoch, len(tokens.features))
        if last.instruction != instruction or not same or not 0 <= passed < last.valid_for:
            return None
        reused = np.isin(last.kept, last.reused)
        age = np.full(len(last.kept), passed, np.float32)
        age[reused] += last.reused_age
        return replace(
            last,
            stamp=tokens.stamp,
            valid_for=last.valid_for - passed,
            text_age=last.text_age + passed if last.text else 0.0,
            subgoal_age=last.subgoal_age + passed if len(last.subgoal) else 0.0,
            reused=last.kept,
            reused_age=age,
            reason=reason,
        )

    def _pass(self, tokens: VisualTokens, instruction: str, words: Words) -> Plan:
        """Run the decoder and return its plan, without what the plan cost."""
        settings, total = self._settings, len(tokens.features)
        if self._plan is None or instruction != self._plan.instruction:
            self._memory.reset()
        self._memory.fit(total)
        features, positions, layout = self._entering(tokens, words)
        text = words.ids[None]
        route = self._route(features, text)
        left = self.trunk.parts.left if route is None else route.left(self.trunk.parts.left)
        selection, dense = self._choose(tokens, left)
        first = selection.first if selection else 0
        reuse, refresh = self._reuse(tokens, instruction, features, text, first)
        remembered = observed = observed_layers(settings.pruning, left, reuse is not None)
        if reuse is not None and settings.reuse.adaptive and self._cache.wants_entropy:
            observed = frozenset(left.whole)
        entering = features, positions, text, layout
        latents, result, cache = self._decode(tokens, entering, (selection, reuse, observed))
        if route is not None and route.latents is not None:
            latents = route.latents[0]
        if remembered:
            rows = [result.scores[layer].mean(0) for layer in sorted(remembered)]
            self._memory.update(features, torch.stack(rows))
        if reuse is not None:
            self._cache.end(result)
        thought = Thought()
        if self._ecot is not None and settings.ecot.method != 'none':
            thought = self._ecot.think(latents.float(), instruction, tokens.stamp, settings.ecot)
        kept, computed = result.kept.cpu().numpy(), result.computed.cpu().numpy()
        reused = kept[~np.isin(kept, computed)] if len(computed) else kept
        guarded = kept[selection.protected[kept]] if selection else kept[:0]
        spent = selection.spent(len(kept), len(guarded)) if selection else dense
        ran = '' if route is None else route.spent()
        self._deep = route is None or route.whole
        ids = tokens.position
        if len(features) != total:
            ids = positions[0].cpu().numpy().astype(np.int32)
            spent = f'{settings.resampling.method}: {len(ids)} tokens in place of {total}'
        return Plan(
            latents=latents.float().cpu().numpy(),
            instruction=instruction,
            stamp=tokens.stamp,
            valid_for=settings.plan_validity,
            text=thought.text,
            text_age=thought.text_age,
            subgoal=thought.subgoal,
            subgoal_age=thought.subgoal_age,
            kept=ids[kept],
            tokens_total=total,
            reused=ids[reused],
            reused_age=self._cache.age(reused, tokens.stamp),
            protected=ids[guarded],
            reason='; '.join(part for part in (ran, spent, refresh) if part),
            cache=cache,
        )

    def _decode(
        self, tokens: VisualTokens, entering: Entering, techniques: Techniques
    ) -> tuple[torch.Tensor, runner.PassResult, PrefixCache | None]:
        """Return latents [Q, D], what the pass told, and keys and values where those count."""
        features, positions, text, layout = entering
        latents, result = self.trunk(
            features[None].to(self.trunk.parts.dtype),
            positions,
            text,
            torch.ones_like(text, dtype=torch.bool),
            layout,
            *techniques,
        )
        return latents[0], result, self.trunk.prefix

    def _entering(
        self, tokens: VisualTokens, words: Words
    ) -> tuple[torch.Tensor, torch.Tensor, Layout]:
        """Return visual tokens [V, D], their position ids [..., 1, V] and where the words are."""
        device, parts = self._device, self.trunk.parts
        features = torch.from_numpy(tokens.features).to(device)
        full, layout = arranged(parts, tokens, self.text_start, words)
        if self._resampler is None:
            return features, full, layout
        text = words.ids[None]
        mask = torch.ones_like(text, dtype=torch.bool)
        embedded = parts.embed(text).float()
        made = self._resampler(features[None], places_of(tokens, device), embedded, mask)[0]
        if len(made) == len(features):
            return made, full, layout
        spread = output_positions(len(made), self.text_start)[None].to(device)
        start = parts.text_start(tokens, self.text_start)
        return made, spread, behind(start, text.shape[1], spread.new_zeros(len(made)))

    def _route(self, features: torch.Tensor, text: torch.Tensor) -> PilotedRoute | None:
        """Return which layers run on this frame, ``None`` meaning all, and tell the trunk."""
        if self._pilot is None:
            return None
        motion = self._gate.newest
        words = self.trunk.embed(text[0])
        route = self._pilot.route(features, words, None if motion is None else motion[1])
        self.trunk.route = route
        return route

    def _choose(self, tokens: VisualTokens, left: Layers) -> tuple[TokenSelection | None, str]:
        """Return the selection of this plan, or ``None`` and the reason for all tokens."""
        pruning = self._settings.pruning
        if pruning.method == 'none' or pruning.keep >= 1.0:
            return None, ''
        self._since_refresh += 1
        if pruning.refresh_every and self._since_refresh >= pruning.refresh_every:
            self._since_refresh = 0
            return None, 'all tokens: refresh'
        fine = self._gate.judge(tokens.stamp, pruning.gate)
        if fine:
            return None, f'all tokens: {fine}'
        selection = TokenSelection(
            self.trunk.parts,
            left,
            pruning,
            tokens,
            protected(tokens, self._gate.position, pruning.protect),
            self._memory,
            self._gate,
            self._generator,
            self._learned.get(pruning.method),
        )
        return selection, ''

    def _reuse(
        self,
        tokens: VisualTokens,
        instruction: str,
        features: torch.Tensor,
        text: torch.Tensor,
        first: int,
    ) -> tuple[runner.Reuse | None, str]:
        """Return what is taken from earlier frames, and why if nothing is."""
        settings = self._settings.reuse
        if settings.method == 'none':
            return None, ''
        frame = CachedFrame(
            features,
            len(features) + text.shape[1] + self.trunk.rows_beside(tokens.camera),
            (instruction, tokens.epoch, tokens.position.tobytes()),
            tokens.stamp,
        )
        reuse, reason = self._cache.begin(frame, self._memory.attention[0], settings, first)
        return reuse, f'all computed: {reason}' if reason else ''

    def _words(self, instruction: str) -> Words:
        """Return the instruction as the decoder reads it; the last one is remembered."""
        if instruction not in self._known:
            rows = self.trunk.decoder.get_input_embeddings().num_embeddings
            words = checked(self._encode(instruction), rows)
            words = replace(words, ids=words.ids.to(self._device))
            self._known = {instruction: words}
        return self._known[instruction]


def _refuse_cuts(settings: ReasonerSettings, looking: str) -> None:
    """Refuse what looks between the layers of a decoder that an engine executes as one graph."""
    if looking:
        part = getattr(settings, looking.partition('.')[0])
        raise InvalidRecordError(
            f'{looking} is {part.method}, while {settings.engine} executes the decoder as one '
            'graph. Start the stage with it, so that the graphs are cut between the layers, or '
            'set engine to torch.'
        )
