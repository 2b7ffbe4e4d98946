# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""MoLE: a router picks the layers that run, once for each frame and sentence (arXiv 2503.20384).

Image and text pass one projection; S is a two-layer network on the mean of the image, T the mean of
a small transformer over the words; both give a number a layer and are added, scaled by how much the
text asks for (alpha, a sigmoid). The layers with the largest numbers run, each for all tokens.

Not as in the paper: the first and the last layer always run, and the sizes are those of a small
policy. As it is known here from descriptions of the paper, so are the details of the router.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.reasoning.depth import DepthSettings
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.runner import Route
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import weights_mb


class LayerRouter(nn.Module):
    """Visual tokens and words -> a number for each layer."""

    def __init__(self, layers: int, width: int, size: int = 32) -> None:
        """Rate ``layers`` layers from tokens of ``width`` numbers, projected to ``size``."""
        super().__init__()
        self.project = nn.Linear(width, size)
        self.image = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, layers))
        self.words = nn.TransformerEncoderLayer(
            size, 4, 2 * size, dropout=0.0, activation='gelu', batch_first=True
        )
        self.text = nn.Linear(size, layers)
        self.weight = nn.Linear(size, 1)

    def forward(self, visual: torch.Tensor, text: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Map tokens [B, V, D] and words [B, L, D], real where ``mask`` says so, to [B, layers]."""
        image = self.image(self.project(visual.float()).mean(1))
        read = self.words(self.project(text.float()), src_key_padding_mask=~mask)
        shown = mask[..., None].float()
        mean = (read * shown).sum(1) / shown.sum(1)
        return self.weight(mean).sigmoid() * (image + self.text(mean))


def picked(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Return which ``count`` layers run by scores [B, layers], bool; first and last always do."""
    inner = scores[:, 1:-1]
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    chosen[:, 0] = chosen[:, -1] = True
    best = inner.topk(min(max(0, count - 2), inner.shape[1])).indices + 1
    return chosen.scatter(1, best, True)


class RouterRoute(Route):
    """One pass through the layers that were picked; see ``runner.Route``."""

    latents: torch.Tensor | None = None

    def __init__(self, chosen: Sequence[int], depth: int) -> None:
        """Run the layers ``chosen`` of ``depth``, increasing."""
        self.chosen, self._depth = tuple(chosen), depth
        self.skipped = frozenset(range(depth)) - set(chosen)

    def leaves(self, layer: int, hidden: torch.Tensor) -> bool:
        """Return that the pass goes on."""
        return False

    @property
    def whole(self) -> bool:
        """Whether all layers of the decoder ran."""
        return not self.skipped

    def left(self, layers: Layers) -> Layers:
        """Return the layers of which those that were picked are whole."""
        return layers.only([place for place in self.chosen if place in layers.whole])

    def spent(self) -> str:
        """Say in words which layers ran."""
        return f'mole ran layers {", ".join(map(str, self.chosen))} of {self._depth}'


class RouterPilot:
    """The router of a policy; see ``pilot.Pilot``."""

    def __init__(self, router: LayerRouter, left: Layers) -> None:
        """Route through a decoder with the layers ``left``; it has to have all of them."""
        rated = router.text.out_features
        if rated != left.depth:
            raise InvalidSettingError(
                f'depth.method mole has a router for {rated} layers; the decoder has {left.depth}. '
                'Train it again: efficient-vla train --method mole --install.'
            )
        self._router, self._depth = router, left.depth
        self._count = left.depth
        self.parameters_mb = weights_mb(router)

    def configure(self, settings: DepthSettings) -> None:
        """Take the number of layers that run."""
        self._count = settings.count(self._depth)

    def reset(self) -> None:
        """Start a new episode, which is routed as the last one was."""

    def route(
        self, visual: torch.Tensor, text: torch.Tensor, state: np.ndarray | None
    ) -> RouterRoute:
        """Return the route of a frame."""
        mask = torch.ones(1, len(text), dtype=torch.bool, device=text.device)
        chosen = picked(self._router(visual[None], text[None], mask), self._count)[0]
        return RouterRoute(chosen.nonzero()[:, 0].tolist(), self._depth)


def balance(scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return how unevenly a batch [B, layers] is spread over the inner layers; 1 is evenly.

    The layers' shares of the picks times their mean probabilities, summed, times their number (as
    in Switch, arXiv 2101.03961).
    """
    inner = chosen[:, 1:-1].float()
    shares = inner.mean(0) / inner.mean(0).sum().clamp(min=1e-6)
    probability = F.softmax(scores[:, 1:-1], -1).mean(0)
    return inner.shape[1] * (shares * probability).sum()
