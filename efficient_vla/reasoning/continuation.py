# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A language model that goes on behind a prefix, as the ways to decode tokens ask for it.

The keys and values of the prefix stay as the pass over it left them, also where tokens were dropped
from some layers; the tokens that follow write slots behind them. Its methods are those of
``action/heads/token_decoder.py``: slot i holds the token before it and predicts token i. Slot 0
holds the last word of the prefix, whose hidden state the plan has, so it costs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from efficient_vla.attention import Hook, KeyValues, PrefixCache, hooked
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.reasoning.runner import PassResult, places_of


@dataclass(frozen=True, slots=True, eq=False)
class LanguagePrefix(PrefixCache):
    """Keys and values of a prefix, and the decoder that can go on behind them."""

    travels: ClassVar[bool] = False
    decoder: Any = None
    """A ``Decoder``."""
    words: torch.Tensor | None = None
    """Token ids of the prefix, int64 [n], where what follows depends on them by itself."""
    back: tuple[torch.Tensor, ...] = ()
    """How far each row is before what follows, int64 [n] a layer; windows end somewhere there."""

    @classmethod
    def of(
        cls,
        decoder: Decoder,
        slots: Sequence[KeyValues],
        result: PassResult,
        positions: torch.Tensor,
        words: torch.Tensor | None = None,
    ) -> 'LanguagePrefix':
        """Return what a pass over rows with ``positions`` [1, N] or [3, 1, N] left in its slots."""
        # Copies, since a later frame may write to the slots.
        pairs: list[Any] = [
            (slot.keys[:, :, columns], slot.values[:, :, columns])  # type: ignore[index]
            for slot, columns in zip(slots, result.columns, strict=True)
        ]
        keys, values = zip(*pairs, strict=True)
        places = places_of(positions)[0]
        back = tuple(places[-1] + 1 - places[columns] for columns in result.columns)
        length = int(positions[..., -1].max()) + 1
        return cls(keys, values, length, decoder=decoder, words=words, back=back)


class Behind(KeyValues):
    """Keys and values of one layer: a prefix that stays, and slots behind it."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Take those of the prefix, [1, key heads, n, d]."""
        super().__init__(keys.shape[2])
        self.keys, self.values = keys, values

    def exchange(
        self,
        keys: torch.Tensor,
        values: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the slots ``rows`` [n], increasing by one, and return all up to the last."""
        assert self.keys is not None
        assert self.values is not None
        end = self.length + int(rows[0])
        self.keys = torch.cat([self.keys[:, :, :end], keys.to(self.keys)], 2)
        self.values = torch.cat([self.values[:, :, :end], values.to(self.values)], 2)
        return self.keys, self.values


class Continuation:
    """The decoder of a plan with the output layer of its language model."""

    def __init__(
        self,
        decoder: Decoder,
        cache: LanguagePrefix,
        last: torch.Tensor,
        head: Callable[[torch.Tensor], torch.Tensor],
        length: int,
        empty: int,
    ) -> None:
        """Go on for ``length`` tokens behind a prefix whose last hidden state is ``last`` [D].

        ``head`` gives the logits of hidden states, and ``empty`` is the token that stands where
        none is known yet.
        """
        self.decoder, self.cache, self.last = decoder, cache, last
        self._head = head
        self.length, self.begin, self.empty = length, empty, empty

    def condition(self, features: torch.Tensor) -> torch.Tensor:
        """Return what all passes share: the last hidden state of the prefix, [1, 1, D]."""
        return self.last[None, None].to(features.device)

    def store(self, batch: int) -> list[Behind]:
        """Return the keys and values of the prefix, with no slot behind them yet."""
        return [
            Behind(keys, values)
            for keys, values in zip(self.cache.keys, self.cache.values, strict=True)
        ]

    def after_begin(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what stands before the slots of ``tokens`` [1, T]."""
        first = tokens.new_full((len(tokens), 1), self.begin)
        return torch.cat([first, tokens[:, :-1]], 1)

    def hidden(
        self,
        before: torch.Tensor,
        condition: torch.Tensor,
        start: int = 0,
        store: list[Behind] | None = None,
    ) -> torch.Tensor:
        """Return the last hidden states [1, T, D] of slots ``start`` to ``start`` + T.

        ``before`` [1, T] are the tokens before these slots; what is before slot 0 is not read.
        Slots before ``start`` are those in ``store``.
        """
        known = start == 0
        tokens = before[:, int(known) :]
        if not tokens.shape[1]:
            return condition
        first = max(start - 1, 0)
        made = self._run(tokens, first, self.store(1) if store is None else store)
        return torch.cat([condition.to(made), made], 1) if known else made

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits of the tokens of slots, [..., vocabulary]."""
        return self._head(hidden)

    def _run(self, tokens: torch.Tensor, first: int, store: list[Behind]) -> torch.Tensor:
        """Run the decoder over tokens [1, n] in the places from ``first`` on behind the prefix."""
        decoder, count = self.decoder, tokens.shape[1]
        tokens = tokens.to(decoder.device)
        states = decoder.embed(tokens).to(decoder.dtype)
        rows = torch.arange(first, first + count, device=states.device)
        rotary = decoder.rotary(states, (self.cache.length + rows)[None])
        masks: dict[tuple[str, int], torch.Tensor] = {}
        for index, (layer, slots) in enumerate(zip(decoder.layers, store, strict=True)):
            seen = decoder.kind(index), slots.length
            if seen not in masks:
                masks[seen] = self._mask(index, rows)
            with hooked(decoder.attention(layer), Hook(slots=slots, rows=rows)):
                states = decoder.step(layer, states, masks[seen], rotary[seen[0]])
        return decoder.norm(states)

    def _mask(self, index: int, rows: torch.Tensor) -> torch.Tensor:
        """Return what the slots ``rows`` [n] see of prefix and slots in a layer, bool [1, 1, n, m].

        That is all up to themselves, or no further back than the window of the layer.
        """
        slots = torch.arange(int(rows[-1]) + 1, device=rows.device)
        away = rows[:, None] + torch.cat([self.cache.back[index].to(rows), -slots])
        window = self.decoder.window(self.decoder.kind(index))
        near = away >= 0 if window is None else (away >= 0) & (away < window)
        return near[None, None]
