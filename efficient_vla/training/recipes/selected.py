# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Judge a selector: losses of the plan that is made of the tokens it keeps."""

from collections.abc import Mapping

import torch

from efficient_vla.reasoning.pruning import load
from efficient_vla.reasoning.pruning.budget import budget, choose
from efficient_vla.reasoning.pruning.view import View, token_map
from efficient_vla.reasoning.settings import PruningSettings
from efficient_vla.training.features import Samples
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import plan_measures

KEEPS = (0.5, 0.25)
"""Fractions of the tokens at which selectors are judged."""


def view(
    frozen: Frozen, tokens: torch.Tensor, text: torch.Tensor, count: int, scorer: object
) -> View:
    """Return what a selector sees of one frame of the policy."""
    return View(
        tokens=tokens.float(),
        text=text.float(),
        count=count,
        grid=frozen.places.grid,
        settings=PruningSettings(),
        protected=torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device),
        scorer=scorer,
        generator=torch.Generator().manual_seed(0),
        **token_map(frozen.places, tokens.device),
    )


def plan(
    frozen: Frozen, samples: Samples, method: str, keep: float, scorer: object
) -> tuple[torch.Tensor, float]:
    """Return the plans [B, Q, D] of the tokens kept before layer 0, and how many that are."""
    trunk = frozen.trunk
    settings = PruningSettings()
    count = budget(samples.tokens.shape[1], keep, settings.min_tokens)
    plans, left = [], 0
    for index in range(len(samples.tokens)):
        text = samples.text[index, samples.text_mask[index]][None]
        tokens = samples.tokens[index]
        seen = view(frozen, tokens, trunk.parts.embed(text)[0], count, scorer)
        kept = choose(load(method)(seen), seen)
        left += len(kept)
        mask = torch.ones_like(text, dtype=torch.bool)
        plans.append(trunk(tokens[kept][None], kept[None], text, mask, frozen.tokens)[0])
    return torch.cat(plans), left / len(plans)


def measures(frozen: Frozen, samples: Samples, methods: Mapping[str, object]) -> dict[str, float]:
    """Return losses at every ``KEEPS`` of methods, each with its scorer, and of the dense plan."""
    found = {}
    for method, scorer in methods.items():
        for keep in KEEPS:
            latents, left = plan(frozen, samples, method, keep, scorer)
            found[f'{method}_{keep}_tokens'] = left
            for name, value in plan_measures(frozen, latents, samples).items():
                found[name if 'dense' in name else f'{method}_{keep}_{name}'] = value
    return found
