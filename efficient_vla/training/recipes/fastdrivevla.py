# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train FastDriveVLA's scorer by reconstruction (arXiv 2507.23318, section 3).

Tokens scored above 0 must suffice to draw the foreground, the others the background; the hard mask
has the gradient of the sigmoid. Each half mixes squared error and structural similarity, 0.2 of the
latter; that it is this way round is an assumption. The decoder that draws has two layers, not six,
and is thrown away.

The paper's foreground is that of a street, cut out by Grounded-SAM. Here it is what the plan
depends on: the patches whose tokens have the largest gradient of a random projection of the dense
plan. The neighbourhoods of hand, object and goal did worse: the decoder also reads the
surroundings. A batch draws its own share of foreground, so that scores learn an order.
"""

import torch
from torch import nn
from torch.nn import functional

from efficient_vla.errors import UsageError
from efficient_vla.reasoning.pruning.fastdrivevla import ReconPruner
from efficient_vla.reasoning.resampling.layers import places_of, sincos
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.recipes import selected
from efficient_vla.training.recipes.recipe import Recipe

FOREGROUND = (1 / 8, 1 / 2)
"""Least and largest share of the patches that are foreground."""
SSIM_SHARE = 0.2
WINDOW, STRIDE = 7, 4
"""Side of the windows of structural similarity and distance between them [pixels]."""


class Painter(nn.Module):
    """Tokens, of which some are zero, to an image."""

    def __init__(self, features: int, patch: int, width: int = 96) -> None:
        """Make a small encoder with a linear map to the pixels of each patch."""
        super().__init__()
        self.enter = nn.Linear(features, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 2 * width, dropout=0.0, activation='gelu', batch_first=True
            )
            for _ in range(2)
        )
        self.leave = nn.Linear(width, 3 * patch * patch)
        self.patch = patch

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Map tokens [B, V, D] of one square grid to an image [B, 3, H, W]."""
        hidden = self.enter(tokens)
        hidden = hidden + sincos(places, hidden.shape[-1])
        for layer in self.layers:
            hidden = layer(hidden)
        side = round(tokens.shape[1] ** 0.5)
        pixels = self.leave(hidden).transpose(1, 2).unflatten(2, (side, side))
        return functional.pixel_shuffle(pixels, self.patch)


class FastDriveRecipe(Recipe):
    """The scorer and, while it is trained, the painter."""

    bare = True

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Make both; the decoder of the policy takes no part, so ``rank`` is not used."""
        card = frozen.card
        if len(card.cameras) != 1:
            raise UsageError(
                f'{card.name} has cameras {", ".join(card.cameras)}; the scorer is trained by '
                'drawing the image of one. Choose a policy with one camera.'
            )
        if card.image_shape:
            raise UsageError(
                f'{card.name} has image_shape {list(card.image_shape)}; the scorer is trained by '
                'drawing the square that a tower sees. Choose a policy without image_shape.'
            )
        super().__init__(frozen)
        self.places = places_of(frozen.places, frozen.device)
        self.side = round(card.tokens_per_camera**0.5)
        self.shape = {'features': frozen.width}
        self.module = ReconPruner(**self.shape)
        painter = Painter(frozen.width, card.image_size // self.side)
        self.trained = nn.ModuleDict({'scorer': self.module, 'painter': painter})
        self.trained.to(frozen.device)

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return how badly kept tokens draw the foreground, and the others the background."""
        soft = self.module(samples.tokens).float().sigmoid()[..., None]
        kept = (soft > 0.5).float() + soft - soft.detach()
        painter = self.trained['painter']
        front = painter(samples.tokens * kept, self.places).float()
        back = painter(samples.tokens * (1 - kept), self.places).float()
        image = self.frozen.pixels(samples.image, False)
        mask = self._foreground(samples).float().unflatten(1, (1, self.side, self.side))
        mask = functional.interpolate(mask, image.shape[-2:])
        return {
            'foreground': 0.5 * _difference(front, image, mask),
            'background': 0.5 * _difference(back, image, 1 - mask),
        }

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses of the plan beside those of the controls."""
        methods = {'fastdrivevla': self.module, 'uniform': None, 'random': None}
        return selected.measures(self.frozen, samples, methods)

    def _foreground(self, samples: Samples) -> torch.Tensor:
        """Return which patches the plan depends on most, bool [B, V]."""
        tokens = samples.tokens.clone().requires_grad_()
        with torch.enable_grad():
            plan = self.frozen.dense_plan(tokens, samples.text, samples.text_mask)
            (gradient,) = torch.autograd.grad((plan * torch.randn_like(plan)).sum(), tokens)
        saliency = torch.linalg.vector_norm(gradient, dim=-1)
        least, most = FOREGROUND
        share = least + (most - least) * torch.rand(1).item()
        count = round(share * saliency.shape[1])
        return saliency >= saliency.topk(count, 1).values[:, -1:]


def _difference(drawn: torch.Tensor, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mixed error of images [B, 3, H, W] inside a mask [B, 1, H, W]."""
    area = mask.mean().clamp(min=1e-6)
    squared = ((drawn - image).square() * mask).mean() / area
    unlike = (1 - _similarity(drawn * mask, image * mask)) * _windows(mask)
    unlike = unlike.mean() / _windows(mask).mean().clamp(min=1e-6)
    return (1 - SSIM_SHARE) * squared + SSIM_SHARE * unlike


def _similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return structural similarity by window; intensities span 2 (Wang et al., 2004)."""
    mean_a, mean_b = _windows(a), _windows(b)
    variance_a = _windows(a * a) - mean_a.square()
    variance_b = _windows(b * b) - mean_b.square()
    covariance = _windows(a * b) - mean_a * mean_b
    low, high = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    return ((2 * mean_a * mean_b + low) * (2 * covariance + high)) / (
        (mean_a.square() + mean_b.square() + low) * (variance_a + variance_b + high)
    )


def _windows(values: torch.Tensor) -> torch.Tensor:
    """Return the means of windows, [B, C, rows, columns]."""
    return functional.avg_pool2d(values, WINDOW, STRIDE)
