# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A finished policy whose weights stay as they are, while a method is trained beside them."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate
from torch.nn.utils.rnn import pad_sequence

from efficient_vla import checkpoint
from efficient_vla.reasoning.layout import arranged
from efficient_vla.reasoning.words import Words, prompt_words
from efficient_vla.types import VisualTokens, grid_map

GAIN, SHIFT = 0.15, 0.08
"""Standard deviations of the gain a colour and of the brightness."""


class Inputs:
    """What a policy is given and is to give, in its units, on the device where it is trained."""

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
        """Return uint8 [B, rows, columns, 3] as normalised floats [B, 3, rows, columns]."""
        pixels = images.to(self.device).permute(0, 3, 1, 2).float().div(255)
        size = self.card.image_size
        if pixels.shape[-1] != size:
            pixels = interpolate(pixels, (size, size), mode='bilinear', antialias=True)
        mean, std = (
            torch.tensor(part, device=self.device)[:, None, None]
            for part in (self.card.image_mean, self.card.image_std)
        )
        pixels = (pixels - mean) / std
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
        return prompt_words(self.tokenizer, self.card.prompt, len(self.card.cameras), sentence)


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
        self.places = _places(self.tokens, self.card.tokens_per_camera)

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


def jittered(pixels: torch.Tensor) -> torch.Tensor:
    """Return normalised pixels [B, 3, H, W], each image with another gain and brightness."""
    gain = 1 + GAIN * torch.randn(len(pixels), 3, 1, 1, device=pixels.device).clamp(-2, 2)
    return pixels * gain + SHIFT * torch.randn(len(pixels), 1, 1, 1, device=pixels.device)


def _places(count: int, per_camera: int) -> VisualTokens:
    """Return where the tokens of a whole frame are, one square grid a camera."""
    side = round(per_camera**0.5)
    return VisualTokens(
        features=np.zeros((count, 1), np.float32),
        age=np.zeros(count, np.float32),
        grid=(side, side),
        stamp=0.0,
        **grid_map(count, (side, side)),
    )
