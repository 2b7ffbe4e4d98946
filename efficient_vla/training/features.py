# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the frozen parts of a policy make of the demonstrations, computed once and kept.

A method that works on visual tokens needs the tower's tokens as input and the dense trunk's plan as
its teacher. Both cost more than a step of the method and never change.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save_file

from efficient_vla.training.dataset import MAX_PLAN_AGE_S, Frames
from efficient_vla.training.frozen import Frozen

COMPUTE_BATCH = 64
PLAN_NOISE = 0.05
"""Standard deviation of what is added to plans that train, so that their exact numbers say nothing:
those of fewer tokens, or of codes, are a little off."""


@dataclass(slots=True)
class Plans:
    """A batch for what reads plans alone."""

    latents: torch.Tensor
    """The dense plan, [B, Q, D]."""
    state: torch.Tensor
    """Normalised, [B, S]."""
    chunk: torch.Tensor
    """In the network's units, [B, H, A]."""
    fit: torch.Tensor
    """bool [B]: whether the sentence asks for what the chunk does."""

    @property
    def target(self) -> torch.Tensor:
        """The chunk, or stillness where the sentence does not fit."""
        return self.chunk * self.fit[:, None, None]


@dataclass(slots=True)
class Samples(Plans):
    """A batch: what a plan is made from too, and what it should lead to."""

    tokens: torch.Tensor
    """The tower's tokens, [B, V, D]."""
    text: torch.Tensor
    """Token ids, int64 [B, L]."""
    text_mask: torch.Tensor
    image: torch.Tensor
    """The slow frame, uint8 [B, rows, columns, 3]."""
    fast_pixels: torch.Tensor
    """A later frame, normalised, [B, 3, rows, columns]."""
    fast_state: torch.Tensor
    fast_chunk: torch.Tensor
    data: Frames
    frames: np.ndarray
    """Which frames of ``data`` the slow ones are."""
    later: np.ndarray
    """Which the fast ones are."""

    @property
    def elapsed(self) -> torch.Tensor:
        """Rows from the slow frame to the fast one, int64 [B]."""
        passed = self.data.step[self.later] - self.data.step[self.frames]
        return torch.from_numpy(passed.astype(np.int64)).to(self.latents.device)


class Features:
    """Tokens and dense plans of some frames of a set of demonstrations."""

    def __init__(
        self,
        frozen: Frozen,
        data: Frames,
        frames: int,
        seed: int,
        jitter: bool,
        cache: Path | None = None,
    ) -> None:
        """Compute them, or read them from ``cache`` where it holds those of the same choice.

        ``frames`` of the data are drawn; ``jitter`` varies gain and brightness of their images.
        """
        self.frozen, self.data = frozen, data
        rng = np.random.default_rng([seed, len(data)])
        count = min(frames, len(data))
        self.frames = np.sort(rng.permutation(len(data))[:count])
        self.sentences, self.fit = data.sentences(self.frames, rng)
        card = frozen.card
        given = f'{card.image_size} {list(card.image_shape)} {card.prompt}'
        key = f'{frozen.sha256} {given} {data.episodes} {len(data)} {count} {seed} {jitter}'
        stored = _read(cache, key) if cache is not None else None
        if stored is None:
            stored = self._compute(jitter)
            if cache is not None:
                save_file(stored, cache, metadata={'key': key})
        self.tokens, self.latents = stored['tokens'], stored['latents']

    def __len__(self) -> int:
        return len(self.frames)

    def samples(
        self,
        chosen: np.ndarray,
        rng: np.random.Generator,
        jitter: bool,
        lag_s: float = MAX_PLAN_AGE_S,
    ) -> Samples:
        """Return the samples at places ``chosen`` of the drawn frames.

        The fast frame of each is drawn from those up to ``lag_s`` later.
        """
        frozen, data = self.frozen, self.data
        slow = self.frames[chosen]
        fast = data.later_frames(slow, rng, lag_s)
        text, text_mask = frozen.text([self.sentences[place] for place in chosen])
        plans = self.plans(chosen)
        return Samples(
            plans.latents,
            plans.state,
            plans.chunk,
            plans.fit,
            tokens=self.tokens[chosen].to(frozen.device).float(),
            text=text,
            text_mask=text_mask,
            image=data.image[slow],
            fast_pixels=frozen.pixels(data.image[fast], jitter),
            fast_state=frozen.state(data.state[fast]),
            fast_chunk=frozen.targets(data.chunk[fast]),
            data=data,
            frames=slow,
            later=fast,
        )

    def plans(self, chosen: np.ndarray) -> Plans:
        """Return the plans at places ``chosen`` of the drawn frames, without tokens and images."""
        frozen, frames = self.frozen, self.frames[chosen]
        return Plans(
            latents=self.latents[chosen].to(frozen.device).float(),
            state=frozen.state(self.data.state[frames]),
            chunk=frozen.targets(self.data.chunk[frames]),
            fit=torch.from_numpy(self.fit[chosen]).to(frozen.device),
        )

    def _compute(self, jitter: bool) -> dict[str, torch.Tensor]:
        tokens, latents = [], []
        places = np.arange(len(self.frames))
        parts = np.array_split(places, max(1, len(places) // COMPUTE_BATCH))
        for part in track(parts, 'tokens and dense plans', disable=len(parts) == 1):
            with torch.inference_mode(), self.frozen.autocast():
                visual = self.frozen.visual(self.data.image[self.frames[part]], jitter)
                text = self.frozen.text([self.sentences[place] for place in part])
                plan = self.frozen.dense_plan(visual, *text)
            tokens.append(visual.half().cpu())
            latents.append(plan.half().cpu())
        return {'tokens': torch.cat(tokens), 'latents': torch.cat(latents)}


def noisy(latents: torch.Tensor, noise: float = PLAN_NOISE) -> torch.Tensor:
    """Return plans that are a little off."""
    return latents + noise * torch.randn_like(latents)


def _read(cache: Path, key: str) -> dict[str, torch.Tensor] | None:
    if not cache.exists():
        return None
    with safe_open(cache, 'pt') as file:
        if file.metadata().get('key') != key:
            return None
        return {name: file.get_tensor(name) for name in ('tokens', 'latents')}
