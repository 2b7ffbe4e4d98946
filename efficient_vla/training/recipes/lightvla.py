# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train LightVLA's votes through the action losses (arXiv 2509.12594).

Each of the n queries hands one token to the decoder, with the gradient of a softmax; noise on the
votes falls from 1 to 0. The authors train low-rank updates of the whole model, tower included,
which moves both sides of the vote. Here tower and decoder stay as they are, and what is trained is
the text's side of the vote (``TextSide``), so that the same decoder serves every other method too.
A batch shows the decoder a third of the queries: a step then costs a third, and the decoder has
seen such gaps before. What is handed on is sorted by place, duplicates included.
"""

import torch
from torch.nn import functional as F

from efficient_vla.reasoning.pruning.lightvla import TextSide, normalized
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import plan_losses
from efficient_vla.training.recipes import selected
from efficient_vla.training.recipes.recipe import Recipe

SHOWN = 1 / 3
"""Share of the queries whose tokens a batch shows the decoder."""


class LightRecipe(Recipe):
    """The text's side of the vote."""

    bare = True

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Start from the instruction as it is, beside the action queries; no decoder updates."""
        super().__init__(frozen)
        self.shape = {'width': frozen.width, 'extra': len(frozen.trunk.queries)}
        self.trained = TextSide(**self.shape).to(frozen.device)
        with torch.no_grad():
            self.trained.extra.copy_(frozen.trunk.queries)

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of the plan of the tokens that a third of the queries vote for."""
        trunk, tokens = self.frozen.trunk, samples.tokens
        words = self.trained(trunk.parts.embed(samples.text))
        added = samples.text_mask.new_ones(len(words), self.shape['extra'])
        mask = torch.cat([samples.text_mask, added], 1)
        voted = select_soft(tokens, words, mask, 1 - progress)
        shown = torch.randperm(voted.shape[1])[: round(SHOWN * voted.shape[1])]
        voted = voted[:, shown.to(voted.device)]
        places = torch.cdist(voted.detach().float(), tokens).argmin(-1)
        places, order = places.sort(1)
        voted = voted.gather(1, order[..., None].expand_as(voted))
        latents = trunk(voted, places, samples.text, samples.text_mask, self.frozen.tokens)[0]
        return plan_losses(self.frozen, latents, samples)

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses of the plan beside those of the controls and of untrained votes."""
        found = selected.measures(self.frozen, samples, {'lightvla': None})
        found = {name.replace('lightvla', 'untrained'): value for name, value in found.items()}
        trained = {'lightvla': self.trained, 'uniform': None, 'random': None}
        return found | selected.measures(self.frozen, samples, trained)


def select_soft(
    tokens: torch.Tensor,
    text: torch.Tensor,
    mask: torch.Tensor,
    noise: float,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Return what each query votes for, [B, n, D], with gradients as if the vote were soft.

    ``tokens`` [B, n, D], ``text`` [B, L, D], ``mask`` bool [B, L] marks real text. The length stays
    n, with duplicates. ``noise`` scales uniform noise on the products; training lets it fall from
    1 to 0.
    """
    patches, words = normalized(tokens), normalized(text)
    queries = F.scaled_dot_product_attention(patches, words, words, attn_mask=mask[:, None])
    products = normalized(queries) @ patches.transpose(1, 2) * tokens.shape[2] ** -0.5
    if noise:
        uniform = torch.rand(products.shape, generator=generator)
        products = products + noise * uniform.to(products)
    soft = products.softmax(-1)
    hard = torch.zeros_like(soft).scatter_(-1, products.argmax(-1, keepdim=True), 1.0)
    return (hard + soft - soft.detach()) @ tokens
