# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The prefix of a policy whose action expert attends to the keys and values of a language model.

Image and words are one block that sees itself both ways; the state of the robot, where it is a row,
comes last, sees all and is seen by nobody else. So another state changes no row but its own, which
is all that ``PrefixCache.renewed`` computes. Padding and cameras that are not there never enter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.attention import Hook, KeyValues, PrefixCache, hooked
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.reasoning.fused import FusedLayer, KeysValuesLayer, pass_by


@dataclass(frozen=True, slots=True)
class Markers:
    """Embeddings around the tokens of each camera."""

    before: torch.Tensor
    """[n, D]."""
    after: torch.Tensor
    """[m, D]."""
    cameras: int
    """Cameras that the policy was trained with."""
    blanks: int
    """How many of those that are missing have their markers in the sequence all the same."""


class Prefix(nn.Module):
    """A decoder with what embeds words and state for it."""

    def __init__(
        self,
        decoder: nn.Module,
        words: Callable[[torch.Tensor], torch.Tensor],
        state: nn.Linear | None = None,
        markers: Markers | None = None,
    ) -> None:
        """Use ``words`` to embed token ids [L], [L, D], and ``state`` to make a row of the state.

        The last of the decoder's layers gives keys and values alone.
        """
        super().__init__()
        self.words, self.state, self.markers = words, state, markers
        self.route: runner.Route | None = None
        """Which layers run; the others give keys and values alone. ``None``: all."""
        self.replace(decoder)

    def replace(self, decoder: nn.Module) -> None:
        """Put another module in the decoder's place, such as its quantized form."""
        self.decoder = decoder
        self.parts = Decoder(decoder, both_ways=True)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings [L, D] of token ids [L]."""
        return self.words(ids)

    @property
    def token_width(self) -> int:
        """Numbers in a visual token."""
        return self.decoder.config.hidden_size  # type: ignore[union-attr, return-value]

    def rows_beside(self, camera: np.ndarray) -> int:
        """Return the rows beside visual tokens, of the cameras ``camera`` [V], and words."""
        rows = 0 if self.state is None else 1
        if self.markers is None:
            return rows
        given = len(np.unique(camera))
        blank = min(max(0, self.markers.cameras - given), self.markers.blanks)
        return rows + (given + blank) * (len(self.markers.before) + len(self.markers.after))

    def keep_layers(self, numbers: tuple[int, ...]) -> None:
        """Leave of all layers but these nothing but keys and values, which the expert attends to.

        They are those of the hidden states that enter the layer, and go on into the next.
        """
        layers: Any = self.decoder.layers
        for number, layer in enumerate(layers):
            if number not in numbers and isinstance(layer, FusedLayer):
                layers[number] = KeysValuesLayer.of(layer)
        self.replace(self.decoder)

    def forward(
        self,
        visual: torch.Tensor,
        camera: np.ndarray,
        words: torch.Tensor,
        state: torch.Tensor | None = None,
        selection: runner.Chooser | None = None,
        reuse: runner.Reuse | None = None,
        observe: frozenset[int] = frozenset(),
    ) -> tuple[PrefixCache, runner.PassResult]:
        """Return keys and values of all layers, and what the pass told of the visual tokens.

        ``visual`` [V, D] are the tokens of the cameras ``camera`` [V], ``words`` token ids [L], and
        ``state`` [1, S] the normalised state, needed where the prefix has a row of it.
        """
        sequence = self.sequence(visual, camera, words, state)
        route = self.route
        slots, result = runner.run_keeping(self.parts, sequence, selection, reuse, observe, route)
        # Slots that a later frame writes to are not handed out.
        kept = [_rows(s, c, reuse is not None) for s, c in zip(slots, result.columns, strict=True)]
        return self._cache(kept, sequence.embeddings.shape[1], state, route), result

    def sequence(
        self,
        visual: torch.Tensor,
        camera: np.ndarray,
        words: torch.Tensor,
        state: torch.Tensor | None,
    ) -> runner.Sequence:
        """Return the rows of a frame, markers and state included, and who sees whom."""
        rows, places = self._visual_rows(visual, camera)
        rows += [self.words(words).to(visual), *self._state_row(state, visual)]
        embeddings = torch.cat(rows)[None].to(self.parts.dtype)  # [1, N, D]
        length, device = embeddings.shape[1], visual.device
        mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=device)
        if self.state is not None:
            mask[..., :-1, -1] = False
        end = length if self.state is None else length - 1
        place = torch.arange(length, device=device)
        return runner.Sequence(embeddings, place[None], mask, places, place[end - len(words) : end])

    def _visual_rows(
        self, visual: torch.Tensor, camera: np.ndarray
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the visual rows, markers between them, and the places of the tokens, int64 [V]."""
        device = visual.device
        places = torch.arange(len(visual), device=device)
        if self.markers is None:
            return [visual], places
        before, after = self.markers.before.to(visual), self.markers.after.to(visual)
        rows: list[torch.Tensor] = []
        cameras = np.unique(camera)
        for number, name in enumerate(cameras):
            mine = torch.from_numpy(camera == name).to(device)
            rows += [before, visual[mine], after]
            places[mine] += number * (len(before) + len(after)) + len(before)
        missing = max(0, self.markers.cameras - len(cameras))
        return rows + [before, after] * min(missing, self.markers.blanks), places

    def _state_row(self, state: torch.Tensor | None, like: torch.Tensor) -> list[torch.Tensor]:
        if self.state is None:
            return []
        assert state is not None
        room = self.state.in_features - state.shape[1]
        return [self.state(F.pad(state, (0, room)).to(self.state.weight)).to(like)]

    def _cache(
        self,
        kept: list[tuple[torch.Tensor, torch.Tensor]],
        length: int,
        state: torch.Tensor | None,
        route: runner.Route | None,
    ) -> PrefixCache:
        keys, values = zip(*kept, strict=True)
        if self.state is None:
            return PrefixCache(keys, values, length)

        def renewed(newer: torch.Tensor) -> PrefixCache:
            return self._renewed(keys, values, length, newer, route)

        return PrefixCache(keys, values, length, state, renewed)

    def _renewed(
        self,
        keys: tuple[torch.Tensor, ...],
        values: tuple[torch.Tensor, ...],
        length: int,
        state: torch.Tensor,
        route: runner.Route | None,
    ) -> PrefixCache:
        """Return the cache with its last row computed of another state [1, S].

        The row takes the way through the layers that those before it took.
        """
        with torch.inference_mode():
            hidden = self._state_row(state, keys[0])[0][None].to(self.parts.dtype)  # [1, 1, D]
            place = torch.tensor([[length - 1]], device=hidden.device)
            rotary = self.parts.rotary(hidden, place)
            if self.parts.whole is not None:
                (turn,) = rotary.values()
                before = [
                    part[:, :, :-1].contiguous()
                    for pair in zip(keys, values, strict=True)
                    for part in pair
                ]
                mask = torch.ones(1, 1, 1, keys[0].shape[2], dtype=torch.bool, device=hidden.device)
                _, *newer = self.parts.whole(hidden, mask, *turn, *before)
                both = [torch.cat(part, 2) for part in zip(before, newer, strict=True)]
                pairs = list(zip(both[::2], both[1::2], strict=True))
                return self._cache(pairs, length, state, route)
            made = []
            for index, pair in enumerate(zip(keys, values, strict=True)):
                layer = self.parts.layers[index]
                count = pair[0].shape[2]
                slots = KeyValues(count)
                slots.keys, slots.values = (part.clone() for part in pair)
                hook = Hook(slots=slots, rows=torch.tensor([count - 1], device=hidden.device))
                mask = torch.ones(1, 1, 1, count, dtype=torch.bool, device=hidden.device)
                turn = rotary[self.parts.kind(index)]
                with hooked(self.parts.attention(layer), hook):
                    if route is not None and index in route.skipped:
                        pass_by(layer, route.entering(index, hidden), turn)
                    else:
                        hidden = self.parts.step(layer, hidden, mask, turn)
                made.append((slots.keys, slots.values))
            return self._cache(made, length, state, route)


def _rows(
    slots: KeyValues, columns: torch.Tensor, copied: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return keys and values of these places."""
    pair: Any = slots.keys, slots.values
    if len(columns) < slots.length:
        return pair[0][:, :, columns], pair[1][:, :, columns]
    return (pair[0].clone(), pair[1].clone()) if copied else pair
