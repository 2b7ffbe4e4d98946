# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train the words and the subgoal beside a plan (ECoT, arXiv 2407.08693) on the experts' phases."""

import numpy as np
import torch
from torch.nn import functional

from efficient_vla.errors import UsageError
from efficient_vla.reasoning.ecot.thinker import PARTS, Thinker
from efficient_vla.training.dataset import Demonstrations, Frames
from efficient_vla.training.features import Features, Samples, noisy
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.phases import NOTHING, STILL, Annotations, annotate, vocabulary
from efficient_vla.training.recipes.recipe import Recipe

BATCH = 256
"""Plans a step; they were made before and cost no pass of the decoder."""
GOAL_WEIGHT = 5.0
LEAST_SPAN_M = 1e-3


class EcotRecipe(Recipe):
    """The thinker alone."""

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Annotate the demonstrations; ``rank`` is not used, the decoder stays as it is."""
        super().__init__(frozen)
        self.features = features
        self.shape = {
            'queries': frozen.card.queries,
            'width': frozen.width,
            'words': vocabulary(),
        }
        self.trained = Thinker(**self.shape).to(frozen.device)
        self._known: dict[int, Annotations] = {}
        goals = self._annotations(features.data).subgoal
        goals = goals[np.isfinite(goals).all(1)]
        if not len(goals):
            raise UsageError(
                'no demonstration moves an object or reaches its goal, so that there is no '
                'waypoint to learn. Record some with efficient-vla data.'
            )
        with torch.no_grad():
            self.trained.low.copy_(torch.from_numpy(goals.min(0)))
            self.trained.high.copy_(torch.from_numpy(goals.max(0) + LEAST_SPAN_M))

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of plans drawn from all that were made, in place of ``samples``."""
        chosen = torch.randint(len(self.features), (BATCH,)).numpy()
        latents = noisy(self.features.plans(chosen).latents)
        frames, fit = self.features.frames[chosen], self.features.fit[chosen]
        words, goal, known = self._targets(self.features.data, frames, fit)
        spoken = sum(
            functional.cross_entropy(
                self.trained.logits(latents, torch.full_like(fit_ids[:, 0], part), fit_ids)
                .float()
                .flatten(0, 1),
                _silent_after_end(fit_ids).flatten(),
                ignore_index=-1,
            )
            for part, fit_ids in enumerate(words)
        )
        span = self.trained.high - self.trained.low
        error = (self.trained.subgoal(latents) - goal)[known] / span
        missed = functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)
        return {'words': torch.as_tensor(spoken), 'subgoal': GOAL_WEIGHT * missed}

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the shares of phrases said in full, and the error of the subgoal [m]."""
        latents = samples.latents.float()
        fit = samples.fit.cpu().numpy()
        told = self._annotations(samples.data)
        _, goal, known = self._targets(samples.data, samples.frames, fit)
        right = dict.fromkeys(PARTS, 0)
        for index, frame in enumerate(samples.frames):
            said = self.trained.say(latents[index], list(PARTS))
            for part, phrase in zip(PARTS, said, strict=True):
                right[part] += phrase == _phrase(told, part, frame, bool(fit[index]))
        distance = (self.trained.subgoal(latents) - goal)[known].norm(dim=1)
        return {part: count / len(fit) for part, count in right.items()} | {
            'subgoal_error_m': distance.mean().item() if len(distance) else 0.0
        }

    def _annotations(self, data: Frames) -> Annotations:
        if id(data) not in self._known:
            assert isinstance(data, Demonstrations)
            self._known[id(data)] = annotate(data)
        return self._known[id(data)]

    def _targets(
        self, data: Frames, frames: np.ndarray, fit: np.ndarray
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        """Return word numbers [B, L] a part, subgoals [B, 3], and where there is one, bool [B]."""
        told, device = self._annotations(data), self.frozen.device
        words = []
        for part in PARTS:
            phrases = [
                self.trained.ids(_phrase(told, part, frame, bool(fits)))
                for frame, fits in zip(frames, fit, strict=True)
            ]
            longest = max(map(len, phrases))
            padded = [phrase + [0] * (longest - len(phrase)) for phrase in phrases]
            words.append(torch.tensor(padded, device=device))
        goal = told.subgoal[frames]
        known = np.isfinite(goal).all(1) & fit
        goals = torch.from_numpy(np.nan_to_num(goal)).to(device)
        return words, goals, torch.from_numpy(known).to(device)


def _phrase(told: Annotations, part: str, frame: int, fit: bool) -> str:
    if not fit:
        return NOTHING if part == 'subtask' else STILL
    return getattr(told, part)[frame]


def _silent_after_end(words: torch.Tensor) -> torch.Tensor:
    """Return the words with -1 behind the end of each phrase, where nothing is asked."""
    ended = (words == 0).cumsum(1) > 1
    return words.masked_fill(ended, -1)
