# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train decoders of action tokens: ``bins``, ``fast``, and ``consistency`` for the decoding.

Their labels are the chunks of the regression head (sequence-level distillation, arXiv 1606.07947):
demonstrations scatter by far more than a bin, and the likeliest token of a scatter is no chunk at
all, whereas the head says one for each plan, and for plans that nobody recorded too.

``consistency`` (CEED-VLA, arXiv 2506.13725) teaches the decoder of bins to name the tokens that
Jacobi decoding ends with from any of its iterates, so that a few passes are enough.
"""

from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import nn
from torch.nn import functional

from efficient_vla import addons
from efficient_vla.action.decoding.autoregressive import greedy
from efficient_vla.action.heads.token_decoder import TokenDecoder
from efficient_vla.action.tokenizers.bins import BinTokenizer
from efficient_vla.action.tokenizers.fast import FastTokenizer
from efficient_vla.training.byte_pairs import fit, limits
from efficient_vla.training.features import Features, Plans
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.recipes.heads import HeadRecipe

BINS = 256
SPREAD = 1.0
"""Standard deviation [bins] of the targets of bins: neighbouring bins are neighbouring values."""
ALL_AT_ONCE = 1 / 3
"""Share of a batch that learns to name all tokens in one pass."""
JITTER, DRIFT = 3.0, 16.0
"""Standard deviations [bins] of wrong tokens before a slot, of each one and of a whole action; a
decoder that only ever saw right ones copies the last row and drifts away."""
FAST_SCALE = 32.0
FAST_GRIPPER_SCALE = 4.0
FAST_FALLOFF = 0.3
FAST_VOCABULARY = 1536
TEACHER_FRAMES = 3072
"""Plans whose Jacobi trajectories teach consistency."""
TRAJECTORY = 6
"""Iterates of each that are kept; later ones are nearly done."""
COLLECTED = 128
TEMPERATURE = 1.0
ACTION_LIMIT = 0.1
"""Where the teacher is further off than this (mean over a chunk, normalised), the label is what it
was taught itself: mixed labels."""
NEXT_WEIGHT = 0.5


class TokenRecipe(HeadRecipe):
    """What training of both tokenizers shares."""

    tokenizer: Any
    shape: dict[str, Any]
    at_once = ALL_AT_ONCE

    def __init__(self, frozen: Frozen, features: Features, tokenizer: Any) -> None:
        super().__init__(frozen, features)
        self.tokenizer = tokenizer
        self.trained: nn.Module = TokenDecoder(self.features, tokenizer.size, tokenizer.length).to(
            frozen.device
        )

    def losses(self, plans: Plans, progress: float) -> dict[str, torch.Tensor]:
        """Return the cross-entropies of the next token and, for a part of them, of all at once."""
        decoder: Any = self.trained
        features = self.condition(plans)
        tokens, counted = self.tokens(self.taught(features))
        condition = decoder.condition(features)
        cut = round(self.at_once * len(tokens))
        first, rest = tokens[:cut], tokens[cut:]
        hidden = decoder.hidden(decoder.after_begin(self.disturbed(rest)), condition[cut:])
        losses = {'next': self.entropy(decoder.logits(hidden), rest, counted[cut:])}
        if cut:
            empty = torch.full_like(first, decoder.empty)
            hidden = decoder.hidden(empty, condition[:cut], causal=False)
            losses['at_once'] = self.entropy(decoder.logits(hidden), first, counted[:cut])
        return losses

    def measures(self, plans: Plans) -> dict[str, float]:
        """Return the action losses of both ways to decode and of rounding alone."""
        decoder: Any = self.trained
        features = self.condition(plans, 0.0)
        condition = decoder.condition(features)
        tokens, counted = self.tokens(self.taught(features))
        hidden = decoder.hidden(decoder.after_begin(tokens), condition)
        said = greedy(decoder, features, self.tokenizer.end).tokens
        found = {
            'decoded': self.chunks_of(said),
            'rounded': self.chunks_of(tokens),
        }
        if self.tokenizer.end is None:
            empty = torch.full_like(tokens, decoder.empty)
            logits = decoder.logits(decoder.hidden(empty, condition, causal=False))
            found['at_once'] = self.chunks_of(logits.argmax(-1))
        entropy = self.entropy(decoder.logits(hidden), tokens, counted).item()
        return self.action_losses(found, plans) | {'next': entropy}

    def taught(self, features: torch.Tensor) -> torch.Tensor:
        """Return the chunks [B, H, A] of the regression head for features [B, F]."""
        with torch.no_grad():
            return self.frozen.single.chunk_of(features).float()

    def tokens(self, chunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens [B, L] of chunks, and which of the slots count."""
        longest = self.tokenizer.length
        # A chunk unlike all that the length was fitted on loses its highest frequencies.
        lines = [line[:longest] for line in self.tokenizer.encode(chunk.cpu())]
        lengths = torch.tensor([len(line) for line in lines])
        lines = [line + [line[-1]] * (longest - len(line)) for line in lines]
        counted = torch.arange(longest) < lengths[:, None]
        device = self.frozen.device
        return torch.tensor(lines, device=device), counted.to(device)

    def chunks_of(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the chunks [B, H, A] of tokens [B, L]."""
        chunks = [self.tokenizer.decode(line)[0] for line in tokens.tolist()]
        return torch.stack(chunks).to(self.frozen.device)

    def disturbed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens some of which are empty, a different share in each line."""
        share = torch.rand(len(tokens), 1, device=tokens.device)
        empty: Any = self.trained.empty
        return torch.where(torch.rand(tokens.shape, device=tokens.device) < share, empty, tokens)

    def entropy(
        self, logits: torch.Tensor, tokens: torch.Tensor, counted: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean cross-entropy [nat] of the slots that count."""
        return functional.cross_entropy(logits.float()[counted], tokens[counted])


class BinRecipe(TokenRecipe):
    """Uniform bins."""

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Fit the bins; no weight of the decoder is updated, so ``rank`` says nothing."""
        card = frozen.card
        chunks = frozen.targets(features.data.chunk[features.frames]).cpu()
        low, high = limits(chunks.numpy())
        self.shape = {'horizon': card.horizon, 'low': low, 'high': high, 'bins': BINS}
        super().__init__(frozen, features, BinTokenizer(**self.shape))
        self.soft = soft_bins(BINS).to(frozen.device)

    def disturbed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens some of which are a few bins off or empty."""
        device, count = tokens.device, len(tokens)
        drift = DRIFT * torch.randn(count, 1, self.actions, device=device)
        drift = drift.expand(-1, self.horizon, -1).flatten(1)
        off = JITTER * torch.randn(tokens.shape, device=device) + drift
        share = torch.rand(count, 1, device=device)
        drawn = torch.rand(tokens.shape, device=device)
        wrong = (tokens + off.round().long()).clamp(0, BINS - 1)
        return super().disturbed(torch.where(drawn < share, wrong, tokens))

    def entropy(
        self, logits: torch.Tensor, tokens: torch.Tensor, counted: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean cross-entropy [nat] with bins beside the right one counting a little."""
        return functional.cross_entropy(logits.float().flatten(0, -2), self.soft[tokens.flatten()])


class FastRecipe(TokenRecipe):
    """Cosine transform and byte pairs.

    Which coefficients a token stands for follows from all tokens before it: it can neither be named
    at once with the others nor after tokens that are wrong.
    """

    at_once = 0.0

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Learn the byte pairs of demonstrations and lessons; ``rank`` says nothing here."""
        chunks = frozen.targets(features.data.chunk[features.frames]).cpu()
        states = frozen.state(features.data.state[features.frames])
        with torch.no_grad():
            said = frozen.single(features.latents.to(frozen.device).float(), states).float()
        chunks = torch.cat([chunks, said.cpu()])
        low, high = limits(chunks.numpy())
        scale = [FAST_SCALE] * (len(low) - 1) + [FAST_GRIPPER_SCALE]
        self.shape = fit(chunks, low, high, scale, FAST_FALLOFF, FAST_VOCABULARY)
        super().__init__(frozen, features, FastTokenizer(**self.shape))

    def disturbed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the tokens as they are."""
        return tokens


class ConsistencyRecipe(BinRecipe):
    """The decoder of bins, taught to jump to the end of its own Jacobi trajectories."""

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Start from the add-on ``bins``, and collect what it does."""
        super().__init__(frozen, features, rank)
        teacher = addons.read(frozen.folder, 'bins', frozen.sha256)
        self.shape = teacher.shape
        self.tokenizer = BinTokenizer(**self.shape)
        teacher.fill(self.trained)
        rng = np.random.default_rng(0)
        frames = rng.permutation(len(features))[:TEACHER_FRAMES]
        self._given = self.condition(features.plans(frames), 0.0)
        self._ends, self._iterates = self._collect()
        right = self.taught(self._given)
        off = (self.chunks_of(self._ends) - right).abs().mean((1, 2)) > ACTION_LIMIT
        self._labels = torch.where(off[:, None], self.tokens(right)[0], self._ends)

    def losses(self, plans: Plans, progress: float) -> dict[str, torch.Tensor]:
        """Return the divergence of an iterate's answer from the end's, and that of labels.

        The plans are those whose trajectories were collected; of ``plans`` only the count is used.
        """
        decoder: Any = self.trained
        some = torch.randint(len(self._ends), (len(plans.chunk),))
        which = torch.randint(self._iterates.shape[1], (len(some),))
        condition = decoder.condition(self._given[some])
        labels = self._labels[some]
        iterate = decoder.after_begin(self._iterates[some, which])
        loose = decoder.logits(decoder.hidden(iterate, condition)).float()
        tight = decoder.logits(decoder.hidden(decoder.after_begin(labels), condition)).float()
        with torch.no_grad():
            goal = (tight.detach() / TEMPERATURE).softmax(-1)
        return {
            'consistency': functional.cross_entropy(loose.flatten(0, 1), goal.flatten(0, 1)),
            'next': NEXT_WEIGHT * self.entropy(tight, labels, torch.ones_like(labels)),
        }

    @torch.no_grad()
    def _collect(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens that decoding ends with [N, L], and the first iterates [N, J, L]."""
        decoder: Any = self.trained
        ends, iterates = [], []
        parts = torch.arange(len(self._given)).split(COLLECTED)
        for part in track(parts, 'Jacobi trajectories'):
            given = self._given[part]
            ends.append(greedy(decoder, given, None).tokens)
            condition = decoder.condition(given)
            current = torch.full_like(ends[-1], decoder.empty)
            seen = [current]
            for _ in range(TRAJECTORY - 1):
                hidden = decoder.hidden(decoder.after_begin(current), condition)
                current = decoder.logits(hidden).argmax(-1)
                seen.append(current)
            iterates.append(torch.stack(seen, 1))
        return torch.cat(ends), torch.cat(iterates)


def soft_bins(count: int) -> torch.Tensor:
    """Return the target of each bin, [count, count], a bell around it."""
    place = torch.arange(count, dtype=torch.float32)
    bell = (-0.5 * ((place - place[:, None]) / SPREAD).square()).exp()
    return bell / bell.sum(1, keepdim=True)
