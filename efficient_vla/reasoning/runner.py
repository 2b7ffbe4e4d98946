# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Run a decoder of transformers over a mixed sequence, and compute only the tokens that matter.

Three mechanisms, written once for all methods and families: drop visual tokens before layer 0,
drop them after layer K, or keep them and take their keys and values from the last frame. The
runner walks the stock layers, so that rows, positions, rotary embeddings and masks of what remains
are gathered here and nowhere else. Kept tokens keep their original position ids. The mask is
always explicit: without one, transformers takes gaps in the positions for sequence boundaries, and
cuts keys that have no row.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from efficient_vla.attention import Hook, KeyValues, hooked
from efficient_vla.reasoning import fused
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.types import InvalidRecordError


@dataclass(slots=True)
class Sequence:
    """One mixed sequence of N tokens and who is who in it."""

    embeddings: torch.Tensor
    """[B, N, D]; B is 1 wherever tokens are dropped or reused."""
    positions: torch.Tensor
    """Position ids, int64 [B, N], or [3, B, N] for a decoder with three axes."""
    mask: torch.Tensor
    """Who sees whom, bool [B, 1, N, N]."""
    visual: torch.Tensor
    """Places of the V visual tokens, int64, increasing."""
    text: torch.Tensor
    """Places of the instruction's tokens, int64; relevance is read from them."""
    unwindowed: torch.Tensor | None = None
    """Pairs that see each other at any distance, bool like ``mask``; ``None``: none."""
    added: torch.Tensor | None = None
    """What is added to the visual tokens after each of the first layers, [layers, B, V, D]
    (DeepStack, arXiv 2406.04334)."""


def empty() -> torch.Tensor:
    """Return what stands for a tensor that was not wanted."""
    return torch.zeros(0)


@dataclass(slots=True, kw_only=True)
class LayerInput:
    """What is known before one layer about the n visual tokens that are still in the sequence."""

    layer: int = 0
    remaining: torch.Tensor = field(default_factory=empty)
    """Which of all V visual tokens these are, int64 [n], increasing."""
    tokens: torch.Tensor
    """Hidden states that enter the layer, [n, D]."""
    text: torch.Tensor
    """Hidden states of the instruction, [L, D]."""
    attention: torch.Tensor = field(default_factory=empty)
    """Probabilities that the instruction gave them in the scored layers since the last drop, mean
    over heads, [layers, L, n], or empty."""
    last: torch.Tensor = field(default_factory=empty)
    """The same of the last token of the sequence in the newest of these layers, [n], or empty."""
    output: torch.Tensor = field(default_factory=empty)
    """Attention output of the layer before, heads concatenated, [n, heads x d], or empty."""


class Chooser(Protocol):
    """Who decides which visual tokens stay."""

    layers: frozenset[int]
    """Before which layers it chooses."""
    scored: frozenset[int]
    """After which layers it wants attention probabilities."""
    outputs: frozenset[int]
    """After which layers it wants the attention's output."""

    def choose(self, entering: LayerInput) -> torch.Tensor:
        """Return which of the n remaining tokens stay, int64, increasing."""


class Route(Protocol):
    """Who decides, for each pass, which layers run."""

    skipped: frozenset[int]
    """Layers that do not run; a drop before one of them happens all the same."""

    def leaves(self, layer: int, hidden: torch.Tensor) -> bool:
        """Return whether the pass ends after this layer, of hidden states [B, n, D].

        Where keys and values of all layers are kept, it is asked of layer -1 too, of what enters
        the first one; the layers behind the end are then ``skipped``.
        """

    def entering(self, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return what a layer that does not run makes its keys and values of, [B, n, D]."""
        return hidden


@dataclass(slots=True)
class Reuse:
    """Keys and values of the last frames, and which tokens to take from there."""

    slots: list[KeyValues]
    """One a layer."""
    skip: dict[int, torch.Tensor] = field(default_factory=dict)
    """Layer -> which of the V visual tokens are no longer computed from there on, int64."""


@dataclass(slots=True)
class PassResult:
    """What a pass gave."""

    hidden: torch.Tensor
    """Last hidden states of the computed rows, [B, n, D]."""
    rows: torch.Tensor
    """Their places in the sequence, int64 [n]."""
    kept: torch.Tensor
    """Which of the V visual tokens took part in the last layer, int64."""
    computed: torch.Tensor
    """Which of the V visual tokens were computed in every layer, int64."""
    scores: dict[int, torch.Tensor] = field(default_factory=dict)
    """Layer -> attention of the instruction to the visual tokens, [L, V], NaN where dropped."""
    entropy: dict[int, float] = field(default_factory=dict)
    """Layer -> mean entropy of those rows [nat]."""
    columns: list[torch.Tensor] = field(default_factory=list)
    """Places that each layer attended to, int64, increasing."""


def causal_mask(attend: torch.Tensor) -> torch.Tensor:
    """Return the bool mask [B, 1, N, N] for tokens marked by ``attend`` bool [B, N].

    A padding row sees itself, since a softmax over nothing is not a number.
    """
    length = attend.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=attend.device).tril()
    own = torch.eye(length, dtype=torch.bool, device=attend.device)
    return (causal & attend[:, None, :] | own)[:, None]


def places_of(positions: torch.Tensor) -> torch.Tensor:
    """Return what windows measure distances by, int64 [B or 1, N].

    That are the positions, so that what was dropped in between still counts; a position of three
    axes tells of no distance, and there the places in the sequence count.
    """
    if positions.ndim == 2:
        return positions
    return torch.arange(positions.shape[-1], device=positions.device)[None]


def _windowed(sequence: Sequence, window: int | None) -> torch.Tensor:
    """Return the mask of layers whose rows see ``window`` positions back."""
    if window is None:
        return sequence.mask
    places = places_of(sequence.positions)
    near = (places[:, :, None] - places[:, None, :] < window)[:, None]  # [B, 1, N, N]
    return sequence.mask & (near if sequence.unwindowed is None else near | sequence.unwindowed)


def run(
    decoder: Decoder,
    sequence: Sequence,
    selection: Chooser | None = None,
    reuse: Reuse | None = None,
    observe: Iterable[int] = (),
    route: Route | None = None,
    keeping: bool = False,
) -> PassResult:
    """Return the last hidden states of the rows that were computed.

    ``observe`` names layers whose attention from the instruction to the visual tokens is wanted.
    Rows that are not visual are computed in every layer that runs. With ``keeping`` and ``reuse``,
    a layer that does not run gives keys and values all the same.
    """
    walk = _Walk(decoder, sequence, selection, reuse, frozenset(observe))
    if decoder.whole is not None:
        return walk.passed(walk.at_once(decoder.whole, selection))
    if route is not None and keeping:
        route.leaves(-1, walk.hidden)
    for index, layer in enumerate(decoder.layers):
        if selection is not None and index in selection.layers:
            walk.drop(index, selection)
        if reuse is not None and index in reuse.skip:
            walk.skip(reuse.skip[index])
        if route is not None and index in route.skipped:
            if keeping:
                walk.pass_by(index, layer, route)
            continue
        walk.step(index, layer)
        if route is not None and route.leaves(index, walk.hidden) and not keeping:
            break
    return walk.result()


def run_keeping(
    decoder: Decoder,
    sequence: Sequence,
    selection: Chooser | None = None,
    reuse: Reuse | None = None,
    observe: Iterable[int] = (),
    route: Route | None = None,
) -> tuple[list[KeyValues], PassResult]:
    """Return what ``run`` does, behind the keys and values of all layers: of ``reuse``, or new.

    A whole pass keeps those of the rows that are left alone.
    """
    if decoder.whole is not None:
        walk = _Walk(decoder, sequence, selection, reuse, frozenset(observe))
        hidden, *made = walk.at_once(decoder.whole, selection, decoder.nothing_before)
        pairs = zip(made[::2], made[1::2], strict=True)
        slots = [KeyValues(keys.shape[2], keys, values) for keys, values in pairs]
        return slots, walk.passed(hidden)
    length = sequence.embeddings.shape[1]
    kept = reuse or Reuse([KeyValues(length) for _ in decoder.layers])
    return kept.slots, run(decoder, sequence, selection, kept, observe, route, keeping=True)


class _Walk:
    """State of one pass: which tokens are attended to, and which of them are computed."""

    def __init__(
        self,
        decoder: Decoder,
        sequence: Sequence,
        selection: Chooser | None,
        reuse: Reuse | None,
        observe: frozenset[int],
    ) -> None:
        self.decoder, self.sequence = decoder, sequence
        self.reuse, self.observe = reuse, observe
        self.ranked_by = selection.scored if selection else frozenset()
        self.scored = observe | self.ranked_by
        self.ranking: list[torch.Tensor] = []
        self.outputs = selection.outputs if selection else frozenset()
        length = sequence.embeddings.shape[1]
        self.hidden = sequence.embeddings
        self.seen = {
            kind: (rotary, _windowed(sequence, decoder.window(kind)))
            for kind, rotary in decoder.rotary(self.hidden, sequence.positions).items()
        }
        """Kind of layer -> rotary embedding and mask of the rows that are left."""
        self.full = self.seen
        everything = torch.arange(length, device=self.hidden.device)
        self.columns = self.rows = everything
        self.kept = torch.arange(len(sequence.visual), device=self.hidden.device)
        self.computed = self.kept
        self.hook: Hook | None = None
        self.found: dict[int, torch.Tensor] = {}
        self.entropy: dict[int, float] = {}
        self.attended: list[torch.Tensor] = []

    def drop(self, index: int, selection: Chooser) -> None:
        """Let the selection choose, and take what it does not keep out of rows and columns."""
        chosen = selection.choose(self._entering(index))
        self.ranking.clear()
        if len(chosen) == len(self.computed):
            return
        gone = torch.ones(len(self.computed), dtype=torch.bool, device=chosen.device)
        gone[chosen] = False
        lost = self._marked(self.computed[gone])
        self.kept = self.kept[~lost[self.sequence.visual[self.kept]]]
        self.columns = self.columns[~lost[self.columns]]
        self._narrow(lost)

    def skip(self, tokens: torch.Tensor) -> None:
        """Take tokens out of the rows; their keys and values stay in the columns."""
        self._narrow(self._marked(tokens))

    def _marked(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return which places of the sequence these visual tokens have, bool [N]."""
        length = self.sequence.mask.shape[-1]
        marked = torch.zeros(length, dtype=torch.bool, device=tokens.device)
        marked[self.sequence.visual[tokens]] = True
        return marked

    def _narrow(self, lost: torch.Tensor) -> None:
        """Take the marked places out of the rows."""
        stay = ~lost[self.rows]
        self.hidden = self.hidden[:, stay]
        self.rows = self.rows[stay]
        self.computed = self.computed[~lost[self.sequence.visual[self.computed]]]
        self.seen = {
            kind: (
                tuple(part[..., self.rows, :] for part in rotary),
                mask[:, :, self.rows][..., self.columns],
            )
            for kind, (rotary, mask) in self.full.items()
        }

    def step(self, index: int, layer: torch.nn.Module) -> None:
        """Run one layer with what it has to report."""
        hook = None
        if index in self.scored or index in self.outputs or self.reuse is not None:
            text = torch.searchsorted(self.rows, self.sequence.text)
            last = torch.tensor([len(self.rows) - 1], device=text.device)
            hook = Hook(
                score_rows=torch.cat([text, last]) if index in self.scored else None,
                keep_output=index in self.outputs,
                slots=self.reuse.slots[index] if self.reuse else None,
                rows=self.rows,
                columns=None if len(self.columns) == self.sequence.mask.shape[-1] else self.columns,
            )
        rotary, mask = self.seen[self.decoder.kind(index)]
        with hooked(self.decoder.attention(layer), hook):
            self.hidden = self.decoder.step(layer, self.hidden, mask, rotary)
        added = self.sequence.added
        if added is not None and index < len(added):
            rows = torch.searchsorted(self.rows, self.sequence.visual[self.computed])
            self.hidden = self.hidden.index_add(1, rows, added[index][:, self.computed])
        self.hook = hook
        self.attended.append(self.columns)
        if hook is not None and index in self.ranked_by:
            self.ranking.append(hook.scores)
        if index in self.observe:
            self._observe(index)

    def pass_by(self, index: int, layer: torch.nn.Module, route: Route) -> None:
        """Write keys and values of a layer that does not run."""
        assert self.reuse is not None
        hook = Hook(slots=self.reuse.slots[index], rows=self.rows)
        rotary, _ = self.seen[self.decoder.kind(index)]
        with hooked(self.decoder.attention(layer), hook):
            fused.pass_by(layer, route.entering(index, self.hidden), rotary)
        self.attended.append(self.columns)

    def at_once(
        self,
        whole: torch.nn.Module,
        selection: Chooser | None,
        before: Callable[[torch.Tensor], list[torch.Tensor]] = lambda hidden: [],
    ) -> Any:
        """Return what all layers as one graph give, which can neither be cut nor looked into.

        ``before`` makes what the graph is given behind hidden states, mask and rotation.
        """
        later = bool(selection and selection.layers - {0})
        if self.scored or self.outputs or later or self.reuse is not None:
            raise InvalidRecordError(
                'this pass looks between the layers, and an engine executes them as one graph. '
                'Start the reasoner with the settings that need it, or set engine to torch.'
            )
        if selection is not None:
            self.drop(0, selection)
        ((rotary, mask),) = {id(value): value for value in self.seen.values()}.values()
        return whole(self.hidden, mask, *rotary, *before(self.hidden))

    def passed(self, hidden: torch.Tensor) -> PassResult:
        """Return what a pass of one graph gave, whose last hidden states are these."""
        attended = [self.columns] * len(self.decoder.layers)
        return PassResult(hidden, self.rows, self.kept, self.computed, columns=attended)

    def _observe(self, index: int) -> None:
        assert self.hook is not None
        rows = self.hook.scores[:-1]
        full = rows.new_full((len(rows), len(self.sequence.visual)), float('nan'))
        places = self.sequence.visual[self.kept]
        full[:, self.kept] = rows[:, torch.searchsorted(self.columns, places)]
        self.found[index] = full
        self.entropy[index] = float(torch.special.entr(rows).sum(-1).mean())

    def _entering(self, index: int) -> LayerInput:
        places = self.sequence.visual[self.computed]
        visual_rows = torch.searchsorted(self.rows, places)
        text_rows = torch.searchsorted(self.rows, self.sequence.text)
        known = {}
        if self.ranking:
            seen = torch.stack(self.ranking)[..., torch.searchsorted(self.columns, places)]
            known = {'attention': seen[:, :-1], 'last': seen[-1, -1]}
        if self.hook is not None and len(self.hook.output):
            known['output'] = self.hook.output[visual_rows]
        return LayerInput(
            layer=index,
            remaining=self.computed,
            tokens=self.hidden[0, visual_rows],
            text=self.hidden[0, text_rows],
            **known,
        )

    def result(self) -> PassResult:
        """Return what the pass gave."""
        hidden = self.decoder.norm(self.hidden)
        return PassResult(
            hidden, self.rows, self.kept, self.computed, self.found, self.entropy, self.attended
        )
