# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""FAST: cosine transform, rounding and byte pairs (arXiv 2501.09747, section V).

A chunk is scaled by quantiles to about [-1, 1], transformed over time (orthonormal DCT-II),
multiplied by ``scale`` and rounded. The lowest frequency of every action comes first, then the
next, and byte pairs that were learned on the policy's own actions shorten the line, above all its
runs of zeros. A token carries no place of its own, so that one wrong token displaces all that
follow; the count of coefficients tells when that happened.
"""

import torch
from tokenizers import Tokenizer, models

from efficient_vla.action.tokenizers.univla import cosines
from efficient_vla.types import InvalidRecordError

LETTER, LETTERS = 0x4E00, 0x8000
"""Code point of the first symbol, and how many there are; the tokenizers library merges letters."""
REACH = 1.25
"""Scaled actions are limited to so many times the largest that was learned: a displaced line says
anything."""


class FastTokenizer:
    """Chunk [H, A] <-> some tokens and an end."""

    def __init__(
        self,
        horizon: int,
        low: list[float],
        high: list[float],
        scale: list[float],
        falloff: float,
        smallest: int,
        symbols: int,
        merges: list[list[int]],
        length: int,
        largest: float = 1.0,
    ) -> None:
        """Use what ``fit`` found: coefficients from ``smallest`` on, ``symbols`` of them.

        ``merges`` are pairs of earlier tokens, each a new token; ``length`` is the most that a
        chunk takes, the end included; ``largest`` is the largest scaled action.
        """
        self.shape = (horizon, len(low))
        self.low, self.high = torch.tensor(low), torch.tensor(high)
        self.scale = scales(horizon, scale, falloff)
        self.smallest, self.symbols = smallest, symbols
        self.length = length
        self.reach = REACH * largest
        self.basis = cosines(horizon, horizon)
        self.meanings: list[list[int]] = [[symbol + smallest] for symbol in range(symbols)]
        for left, right in merges:
            self.meanings.append(self.meanings[left] + self.meanings[right])
        self.end = len(self.meanings)
        self.size = self.end + 1
        names = [letters(numbers, smallest) for numbers in self.meanings]
        pairs = [(names[left], names[right]) for left, right in merges]
        self._merger = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, pairs))

    def encode(self, chunk: torch.Tensor) -> list[list[int]]:
        """Return the tokens of normalised chunks [B, H, A], each with its end."""
        found = coefficients(chunk, self.low, self.high, self.scale)
        found = found.clamp(self.smallest, self.smallest + self.symbols - 1)
        lines = [letters(row, self.smallest) for row in found.tolist()]
        return [found.ids + [self.end] for found in self._merger.encode_batch(lines)]

    def decode(self, tokens: list[int]) -> tuple[torch.Tensor, str]:
        """Return the chunk [H, A] and what was mended in it.

        Coefficients that are missing are high frequencies and taken as 0; those too many are left
        out; actions far outside the range of those that were learned are limited. Raises
        ``InvalidRecordError`` where not even the lowest frequency of every action is there, which
        would make the arm do what nobody asked for.
        """
        ended = self.end in tokens
        said = tokens[: tokens.index(self.end)] if ended else tokens
        values = [value for token in said for value in self.meanings[token]]
        line, note = line_of(values, self.shape, len(said))
        if not ended:
            note = '; '.join(part for part in (note, 'the end was missing') if part)
        share = torch.einsum('ch,ca->ha', self.basis, line / self.scale)
        share, limited = within(share, self.reach)
        note = '; '.join(part for part in (note, limited) if part)
        return self.low + (share + 1) / 2 * (self.high - self.low), note


def line_of(values: list[int], shape: tuple[int, int], said: int) -> tuple[torch.Tensor, str]:
    """Return the coefficients [H, A] of a line of so many tokens, and what was mended in it.

    Raises ``InvalidRecordError`` where not even the lowest frequency of every action is there.
    """
    count, actions = shape[0] * shape[1], shape[1]
    if len(values) < actions:
        raise InvalidRecordError(
            f'head said {said} action tokens with {len(values)} coefficients; expected '
            f'{count}, and at least one for each of {actions} actions. Train the tokenizer '
            'fast again, or choose another tokenizer.'
        )
    note = ''
    if len(values) < count:
        note = f'{count - len(values)} of {count} coefficients were missing: taken as 0'
    elif len(values) > count:
        note = f'{len(values) - count} coefficients too many: left out'
    line = torch.zeros(count)
    line[: min(count, len(values))] = torch.tensor(values[:count], dtype=torch.float32)
    return line.view(shape), note


def within(share: torch.Tensor, reach: float) -> tuple[torch.Tensor, str]:
    """Return scaled actions no further from 0 than ``reach``, and how many were limited."""
    beyond = int((share.abs() > reach).sum())
    note = f'{beyond} of {share.numel()} actions were out of range: limited' if beyond else ''
    return share.clamp(-reach, reach), note


def scales(horizon: int, scale: list[float], falloff: float) -> torch.Tensor:
    """Return what the coefficients are multiplied by before rounding, [H, A].

    The paper has one number. Actions that are displacements add up to a path, in which an error
    of frequency k counts as 1 / k; ``falloff`` above 0 rounds high frequencies the coarser for
    it, as the tables of JPEG do.
    """
    frequency = torch.arange(horizon, dtype=torch.float32)[:, None]
    return torch.tensor(scale) / (1 + falloff * frequency)


def coefficients(
    chunk: torch.Tensor, low: torch.Tensor, high: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Return the rounded coefficients of chunks [B, H, A], int64 [B, H A], low ones first.

    ``scale`` [H, A] is that of each coefficient.
    """
    share = scaled(chunk, low, high)
    values = torch.einsum('ch,bha->bca', cosines(chunk.shape[1], chunk.shape[1]), share)
    return (values * scale).round().long().flatten(1)


def scaled(chunk: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Return actions so that ``low`` is -1 and ``high`` is 1."""
    return (chunk - low) / (high - low) * 2 - 1


def letters(numbers: list[int], smallest: int) -> str:
    """Return coefficients from ``smallest`` on as symbols."""
    return ''.join(chr(LETTER + number - smallest) for number in numbers)
