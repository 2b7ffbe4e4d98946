# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A finished policy whose weights stay as they are, while a method is trained beside them."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from efficient_vla import checkpoint
from efficient_vla.training.jitter import jittered


class Frozen:
    """Tower, trunk and both heads of a policy folder, and its units."""

    def __init__(self, folder: Path, device: torch.device, precision: str) -> None:
        """Load them; ``precision`` is 'bf16' (autocast) or 'fp32'."""
        self.folder, self.device, self.precision = folder, device, precision
        self.card, tower = checkpoint.load_tower(folder)
        _, trunk, self.tokenizer = checkpoint.load_trunk(folder)
        self.tower = tower.to(device).requires_grad_(False)
        self.trunk = trunk.to(device).requires_grad_(False)
        self.single = checkpoint.load_head(folder, 'single')[1].to(device).requires_grad_(False)
        self.dual = checkpoint.load_head(folder, 'dual')[1].to(device).requires_grad_(False)
        self.sha256 = checkpoint.sha256(folder)
        self.mean = torch.tensor(self.card.image_mean, device=device)[:, None, None]
        self.std = torch.tensor(self.card.image_std, device=device)[:, None, None]
        self.tokens = self.card.tokens_per_camera * len(self.card.cameras)
        self.width = self.trunk.queries.shape[1]

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the mixed-precision context of the device."""
        if self.precision == 'fp32':
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def pixels(self, images: torch.Tensor, jitter: bool) -> torch.Tensor:
        """Return uint8 [B, rows, columns, 3] as normalised floats [B, 3, rows, columns]."""
        pixels = images.to(self.device).permute(0, 3, 1, 2).float().div(255)
        pixels = (pixels - self.mean) / self.std
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
        ids = [torch.tensor(part) for part in self.tokenizer(sentences)['input_ids']]
        lengths = torch.tensor([len(part) for part in ids])
        padded = pad_sequence(ids, batch_first=True)
        mask = torch.arange(padded.shape[1]) < lengths[:, None]
        return padded.to(self.device), mask.to(self.device)

    def dense_plan(
        self, visual: torch.Tensor, text: torch.Tensor, text_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the plan [B, Q, D] of all visual tokens [B, V, D]."""
        positions = torch.arange(visual.shape[1], device=self.device).expand(len(visual), -1)
        return self.trunk(visual, positions, text, text_mask, self.tokens)[0]
