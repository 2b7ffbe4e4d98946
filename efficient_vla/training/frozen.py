# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A finished policy whose weights stay as they are, while a method is trained beside them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate, pad
from torch.nn.utils.rnn import pad_sequence

from efficient_vla import checkpoint
from efficient_vla.own_images import WHOLE, OwnImages, token_grid, token_map
from efficient_vla.reasoning.layout import arranged
from efficient_vla.reasoning.runner import Route
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.reasoning.words import Words, prompt_words
from efficient_vla.types import VisualTokens

GAIN, SHIFT = 0.15, 0.08
"""Standard deviations of the gain a colour and of the brightness."""
PASS = 64
"""Pictures that the tower is given at once."""


class Inputs:
    """What a policy is given and is to give, in its units, on the device where it is trained."""

    own: OwnImages | None = None
    """How the tower's images are prepared where they are no squares."""

    def __init__(
        self, card: checkpoint.Card, tokenizer: Any, device: torch.device, precision: str
    ) -> None:
        """Take units from ``card``; ``precision`` is 'bf16' (autocast) or 'fp32'."""
        self.card, self.tokenizer, self.device, self.precision = card, tokenizer, device, precision

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the mixed-precision context of the device."""
        if self.precision == 'fp32':
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def pixels(self, images: torch.Tensor, jitter: bool) -> torch.Tensor:
        """Return uint8 [B, rows, columns, 3] as normalised squares [B, 3, size, size]."""
        planes = images.to(self.device).permute(0, 3, 1, 2).float().div(255)
        size, (rows, columns) = self.card.image_size, planes.shape[2:]
        # A border of black makes a square of another shape, as the stages do.
        side = max(rows, columns)
        left, top = (side - columns) // 2, (side - rows) // 2
        planes = pad(planes, (left, side - columns - left, top, side - rows - top))
        if side != size:
            planes = interpolate(planes, (size, size), mode='bilinear', antialias=True)
        return self._normalised(planes, jitter)

    def _normalised(self, planes: torch.Tensor, jitter: bool) -> torch.Tensor:
        """Return intensities [B, 3, rows, columns] as the networks see them."""
        mean, std = (
            torch.tensor(part, device=self.device)[:, None, None]
            for part in (self.card.image_mean, self.card.image_std)
        )
        pixels = (planes - mean) / std
        return jittered(pixels) if jitter else pixels

    def state(self, state: torch.Tensor) -> torch.Tensor:
        """Return the normalised state."""
        mean, std = torch.tensor(self.card.state_mean), torch.tensor(self.card.state_std)
        return ((state - mean) / std).to(self.device)

    def targets(self, chunk: torch.Tensor) -> torch.Tensor:
        """Return chunks in the network's units."""
        return (chunk / torch.tensor(self.card.action_scale)).to(self.device)

    def text(self, sentences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return padded token ids and their mask, [B, L] each."""
        ids = [self._words(sentence).ids for sentence in sentences]
        lengths = torch.tensor([len(part) for part in ids])
        padded = pad_sequence(ids, batch_first=True)
        mask = torch.arange(padded.shape[1]) < lengths[:, None]
        return padded.to(self.device), mask.to(self.device)

    def _words(self, sentence: str) -> Words:
        tiles = self.own.cut.tiles if self.own else WHOLE
        return prompt_words(
            self.tokenizer, self.card.prompt, len(self.card.cameras), sentence, tiles
        )


class Frozen(Inputs):
    """Tower, trunk and both heads of a policy folder."""

    def __init__(self, folder: Path, device: torch.device, precision: str) -> None:
        """Load them; the rest is as for ``Inputs``."""
        self.folder = folder
        card, tower = checkpoint.load_tower(folder)
        _, trunk, tokenizer = checkpoint.load_trunk(folder)
        heads = [checkpoint.load_head(folder, name)[1] for name in ('single', 'dual')]
        self._keep(device, precision, card, tokenizer, tower, trunk, *heads)
        self.sha256 = checkpoint.sha256(folder)

    def _keep(
        self,
        device: torch.device,
        precision: str,
        card: checkpoint.Card,
        tokenizer: Any,
        *parts: Any,
    ) -> None:
        super().__init__(card, tokenizer, device, precision)
        self.tower, self.trunk, self.single, self.dual = (
            part.to(device).requires_grad_(False) for part in parts
        )
        self.tokens = self.card.tokens_per_camera * len(self.card.cameras)
        self.width = self.trunk.queries.shape[1]
        self.own = checkpoint.images_of(self.folder, card)
        self.places = self._places()

    def visual(self, images: torch.Tensor, jitter: bool) -> torch.Tensor:
        """Return the tower's tokens [B, V, D] of images, uint8 [B, rows, columns, 3]."""
        if self.own is None:
            return self.tower(self.pixels(images, jitter))
        views = np.stack([view for image in images.numpy() for view in self.own.views(image)])
        count, rows = self.own.cut.views, views.shape[1]
        # The pictures of one image below each other, so that they vary together.
        stacked = torch.from_numpy(views).unflatten(0, (-1, count)).flatten(1, 2)
        planes = stacked.to(self.device).permute(0, 3, 1, 2).float().div(255)
        apart = self._normalised(planes, jitter).unflatten(2, (count, rows)).transpose(1, 2)
        tokens = torch.cat([self.tower(part) for part in apart.flatten(0, 1).split(PASS)])
        return tokens.unflatten(0, (-1, count)).flatten(1, 2)

    def _places(self) -> VisualTokens:
        """Return where the tokens of a whole frame are."""
        card, own = self.card, self.own
        rows, columns = own.cut.view if own else (card.image_size,) * 2
        patches = rows // self.tower.patch_size, columns // self.tower.patch_size
        grid = token_grid(patches, card.tokens_per_camera // (own.cut.views if own else 1))
        return VisualTokens(
            features=np.zeros((self.tokens, 1), np.float32),
            age=np.zeros(self.tokens, np.float32),
            stamp=0.0,
            **token_map(self.tokens, grid, own.cut.tiles if own else WHOLE),
        )

    def dense_plan(
        self, visual: torch.Tensor, text: torch.Tensor, text_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the plan [B, Q, D] of all visual tokens [B, V, D]."""
        words = self._words('x')  # the sentence follows all images, so any will do
        after = words.after
        if after is not None:
            before = after[after < after[-1]]
            after = torch.cat([before, after[-1:].expand(text.shape[1] - len(before))])
        everything = torch.arange(text.shape[1])
        positions, layout = arranged(
            self.trunk.parts, self.places, self.tokens, Words(text[0], after, everything)
        )
        positions = positions.expand(*positions.shape[:-2], len(visual), -1)
        return self.trunk(visual, positions, text, text_mask, layout)[0]


@contextmanager
def routed(trunk: Trunk, route: Route) -> Iterator[None]:
    """Let the passes of a trunk run the layers of a route."""
    trunk.route = route
    try:
        yield
    finally:
        trunk.route = None


def jittered(pixels: torch.Tensor) -> torch.Tensor:
    """Return normalised pixels [B, 3, H, W], each image with another gain and brightness."""
    gain = 1 + GAIN * torch.randn(len(pixels), 3, 1, 1, device=pixels.device).clamp(-2, 2)
    return pixels * gain + SHIFT * torch.randn(len(pixels), 1, 1, 1, device=pixels.device)
