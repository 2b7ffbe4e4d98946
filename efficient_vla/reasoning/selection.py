# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One plan's choice of visual tokens: the method's scores, made into a set by the shared budget."""

from functools import partial
from typing import Any

import numpy as np
import torch

from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.gate import MotionGate
from efficient_vla.reasoning.memory import ScoreMemory
from efficient_vla.reasoning.pruning import METHODS, load
from efficient_vla.reasoning.pruning.budget import budget, choose
from efficient_vla.reasoning.pruning.specprune import interval
from efficient_vla.reasoning.pruning.view import View, token_map
from efficient_vla.reasoning.runner import LayerInput
from efficient_vla.reasoning.settings import PruningSettings, ReasonerSettings
from efficient_vla.types import InvalidRecordError, VisualTokens

OBSERVED_DEPTH = 15 / 32
"""Share of the depth whose attention tells what the task needs; layer 15 of 32 in VLA-Cache and
SpecPrune-VLA."""

VISIT_GAP = 2
"""Least layers between two visits. In a shallow decoder shares of the depth meet in neighbouring
layers, whose attention says the same, and every visit costs as much as in a deep one."""


class TokenSelection:
    """Answer the runner's question, which visual tokens stay; see ``runner.Chooser``."""

    def __init__(
        self,
        decoder: Decoder,
        left: Layers,
        settings: PruningSettings,
        tokens: VisualTokens,
        protected: np.ndarray,
        memory: ScoreMemory,
        motion: MotionGate,
        generator: torch.Generator,
        scorer: Any = None,
    ) -> None:
        """Prepare for the tokens of one frame, of which those ``protected`` [V] stay.

        ``left`` are the layers of the decoder that run in full. Raises ``InvalidRecordError`` where
        the method needs what perception did not send.
        """
        self._method = METHODS[settings.method]
        self._score = load(settings.method)
        self._decoder, self._settings = decoder, settings
        self.protected = protected
        self.first, later = drop_layers(settings, left)
        self.layers = frozenset({self.first, *later})
        before = {layer for drop in self.layers for layer in left.before(drop, 1)}
        earlier = set(left.before(self.first, self._method.looks_back))
        self.scored = frozenset(before | earlier if earlier else ())
        self.outputs = frozenset(before if 'output' in self._method.needs else ())
        if 'signals' in self._method.needs and not len(tokens.saliency):
            raise InvalidRecordError(
                f'pruning.method {settings.method} needs contours and saliency, which the visual '
                'tokens do not carry. Set perception.signals to true, with a vision tower that '
                'gives attention, as those of Qwen-VL do not.'
            )
        self._tokens = tokens
        self._total = len(tokens.features)
        self._visits = 0
        self._carry: dict[str, torch.Tensor] = {}
        self._generator, self._scorer = generator, scorer
        self._speed, self._vertical = motion.speed(tokens.stamp), motion.vertical(tokens.stamp)
        self._whole = self._known(memory)

    def choose(self, entering: LayerInput) -> torch.Tensor:
        """Return which of the remaining tokens stay, int64, increasing."""
        view = self._view(entering)
        if view.count >= len(entering.remaining):
            self._visits += 1
            return torch.arange(len(entering.remaining), device=entering.tokens.device)
        scores = self._score(view).float()
        self._visits += 1
        return choose(scores, view)

    def spent(self, kept: int, protected: int) -> str:
        """Say in words what became of the tokens."""
        words = f'{self._settings.method} kept {kept} of {self._total} after layer {self.first}'
        return f'{words}, {protected} protected' if protected else words

    def _view(self, entering: LayerInput) -> View:
        remaining, device = entering.remaining, entering.tokens.device
        known = {name: values.to(device) for name, values in self._whole.items()}
        if len(remaining) < self._total:
            known = {name: values[..., remaining] for name, values in known.items()}
        view = View(
            layer=entering.layer,
            remaining=remaining,
            tokens=entering.tokens.float(),
            text=entering.text.float(),
            attention=entering.attention,
            last=entering.last,
            output=entering.output.float(),
            count=self._count(len(remaining)),
            grid=self._tokens.grid,
            settings=self._settings,
            speed=self._speed,
            vertical=self._vertical,
            scorer=self._scorer,
            visit=self._visits,
            carry=self._carry,
            generator=self._generator,
            **known,
        )
        if 'projections' in self._method.needs:
            layer = self._decoder.layers[entering.layer]
            view.project = partial(self._decoder.project, layer)
        return view

    def _known(self, memory: ScoreMemory) -> dict[str, torch.Tensor]:
        """Return what is known of all V tokens from outside the decoder, by the view's names."""
        tokens = self._tokens
        known = token_map(tokens, self._decoder.device)
        if self.protected.any():
            known['protected'] = torch.from_numpy(self.protected)
        if 'signals' in self._method.needs:
            known['saliency'] = torch.from_numpy(tokens.saliency)
        if 'memory' in self._method.needs:
            plans = interval(self._speed / self._settings.specprune.full_speed)
            features = torch.from_numpy(tokens.features).to(self._decoder.device)
            known['remembered'] = memory.attention
            known['similarity'] = memory.similarity(features, plans)
        return {name: part.to(self._decoder.device) for name, part in known.items()}

    def _count(self, remaining: int) -> int:
        settings = self._settings
        if self._visits == 0:
            return min(remaining, budget(self._total, settings.keep, settings.min_tokens))
        return max(
            min(remaining, settings.min_tokens),
            remaining - round(settings.specprune.later * remaining),
        )


def drop_layers(settings: PruningSettings, left: Layers) -> tuple[int, tuple[int, ...]]:
    """Return the place of the first drop and those of later ones, among the layers that are left.

    Raises ``InvalidRecordError`` when the first is not inside the decoder, or too few layers are
    left before it.
    """
    method = METHODS[settings.method]
    number = method.layer if settings.layer < 0 else settings.layer
    first = left.place(number)
    if first is None:
        last = left.numbers[-1]
        raise InvalidRecordError(
            f'pruning.layer is {number}; the decoder has {left.depth} layers, the last one that is '
            f'left is {last}, expected no more. Set pruning.layer to {min(2, last)}.'
        )
    if first not in left.whole and 'projections' in method.needs:
        raise InvalidRecordError(
            f'pruning.layer is {number} with pruning.method {settings.method}; expected at most '
            f'{left.numbers[left.whole[-1]]}, since the layers from there on give keys and values '
            'alone. Set it to -1.'
        )
    least = method.least_layer
    if len(left.before(first, least)) < least:
        raise InvalidRecordError(
            f'pruning.method {settings.method} ranks tokens by {least} layers before the drop; '
            f'depth.method leaves {len(left.before(first, least))} of those before layer {number}. '
            'Set pruning.layer higher, or choose another method.'
        )
    layers = [first]
    for number in sorted({round(share * left.depth) for share in method.later}):
        place = left.place(number)
        if place is not None and layers[-1] + VISIT_GAP <= place:
            layers.append(place)
    return first, tuple(layers[1:])


def looks_between(settings: ReasonerSettings, left: Layers) -> str:
    """Return the parameter by which rows are dropped, kept or ranked between layers, '' for none.

    What drops rows before the first layer alone needs nothing of what comes after it.
    """
    if settings.reuse.method != 'none':
        return 'reuse.method'
    pruning = settings.pruning
    if pruning.method == 'none':
        return ''
    inside = METHODS[pruning.method].needs & {'output', 'projections', 'memory'}
    return 'pruning.method' if inside or drop_layers(pruning, left) != (0, ()) else ''


def observed_layers(settings: PruningSettings, left: Layers, reuse: bool) -> frozenset[int]:
    """Return the layers whose attention the memory takes in after a pass."""
    near = left.place(min(left.depth - 1, round(OBSERVED_DEPTH * left.depth)))
    middle = left.whole[-1] if near is None else left.before(near + 1, 1)[0]
    if settings.method != 'none' and 'memory' in METHODS[settings.method].needs:
        return frozenset({middle, left.whole[-1]})
    return frozenset({middle}) if reuse else frozenset()
