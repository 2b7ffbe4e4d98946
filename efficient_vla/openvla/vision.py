# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The two vision transformers of OpenVLA and their projector, in the names that timm gives them.

DINOv2 and SigLIP see the same image, each normalised in its own way. The patches that leave their
second last block, without a last norm, are put side by side and projected into the language model
(Prismatic VLMs, arXiv 2402.07865). The last block and what follows it are therefore not built.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.attention import Hook, KeyValues, attention_with_hooks, hooked

EPS = 1e-6
"""Of timm's LayerNorm."""


class VitShape(NamedTuple):
    """Sizes of a vision transformer."""

    width: int
    blocks: int
    """Blocks that are walked, one less than the network has."""
    heads: int
    mlp: int
    patch: int
    patches: int
    leading: int
    """Tokens before those of the patches: class token and registers."""
    scaled: bool
    """Whether its residual branches have a learned scale (LayerScale)."""


class TowerAttention(nn.Module):
    """Self-attention whose queries, keys and values come from one linear layer."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Map [B, n, D] to [B, n, D]."""
        query, key, value = (
            self.qkv(states).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        output, _ = attention_with_hooks(self, query, key, value, None, is_causal=False)
        return self.proj(output.flatten(2))


class Mlp(nn.Module):
    """Two linear layers with the exact GELU."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.width, shape.mlp)
        self.fc2 = nn.Linear(shape.mlp, shape.width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Map [B, n, D] to [B, n, D]."""
        return self.fc2(F.gelu(self.fc1(states)))


class LayerScale(nn.Module):
    """One learned factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(torch.ones(width))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the scaled states."""
        return states * self.scale_factor


class TowerBlock(nn.Module):
    """Norm and attention, norm and MLP, each beside what enters it."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(shape.width, eps=EPS) for _ in range(2))
        self.attn, self.mlp = TowerAttention(shape), Mlp(shape)
        self.ls1, self.ls2 = (
            LayerScale(shape.width) if shape.scaled else nn.Identity() for _ in range(2)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Map [B, n, D] to [B, n, D]."""
        states = states + self.ls1(self.attn(self.norm1(states)))
        return states + self.ls2(self.mlp(self.norm2(states)))


class PatchEmbed(nn.Module):
    """The convolution that makes a token of each patch."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, shape.width, shape.patch, stride=shape.patch)


@dataclass(slots=True)
class VitMemory:
    """What is kept of one image, so that a part of it can be computed again."""

    hidden: torch.Tensor
    """States behind the last block, [1, N, D], with leading tokens."""
    slots: list[KeyValues]
    """One a block; empty where nothing is going to be computed again."""
    attention: torch.Tensor
    """Of the last block, mean over heads, [N, N], or [0, 0] where it is not kept."""


class Vit(nn.Module):
    """A vision transformer up to its second last block."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbed(shape)
        self.pos_embed = nn.Parameter(torch.zeros(1, shape.patches, shape.width))
        if shape.leading:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
            self.reg_token = nn.Parameter(torch.zeros(1, shape.leading - 1, shape.width))
        self.blocks = nn.ModuleList(TowerBlock(shape) for _ in range(shape.blocks))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map [B, 3, H, W] to the states of the patches [B, patches, D]."""
        states = self._embed(pixels)
        for block in self.blocks:
            states = block(states)
        return states[:, self.shape.leading :]

    def encode(self, pixels: torch.Tensor, slots: bool, scores: bool) -> VitMemory:
        """Encode one image [3, H, W], keeping keys and values and the attention where wanted."""
        states = self._embed(pixels[None])
        length = states.shape[1]
        memory = VitMemory(
            states,
            [KeyValues(length) for _ in self.blocks] if slots else [],
            states.new_zeros((length, length) if scores else (0, 0), dtype=torch.float32),
        )
        everything = torch.arange(length, device=states.device)
        memory.hidden = self._walk(memory, states, everything)
        return memory

    def update(self, memory: VitMemory, pixels: torch.Tensor, patches: torch.Tensor) -> None:
        """Compute ``patches`` int64 [n] of the image [3, H, W] again, with the leading tokens."""
        leading, size = self.shape.leading, self.shape.patch
        proj = self.patch_embed.proj
        tiles = pixels.to(proj.weight.dtype).unfold(1, size, size).unfold(2, size, size)
        row, column = patches // tiles.shape[2], patches % tiles.shape[2]
        flat = tiles[:, row, column].transpose(0, 1).flatten(1)  # [n, 3 p p]
        embedded = F.linear(flat, proj.weight.flatten(1), proj.bias) + self.pos_embed[0, patches]
        rows = torch.cat((torch.arange(leading, device=patches.device), patches + leading))
        memory.hidden[:, rows] = self._walk(memory, self._led(embedded[None]), rows)

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what enters the first block, [B, N, D]."""
        proj = self.patch_embed.proj
        patches = proj(pixels.to(proj.weight.dtype)).flatten(2).transpose(1, 2)
        return self._led(patches + self.pos_embed)

    def _led(self, patches: torch.Tensor) -> torch.Tensor:
        """Put class token and registers before patches [B, n, D]; they have no position."""
        if not self.shape.leading:
            return patches
        leading = torch.cat((self.cls_token, self.reg_token), 1).expand(len(patches), -1, -1)
        return torch.cat((leading, patches), 1)

    def _walk(self, memory: VitMemory, states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Run the blocks over ``rows`` [n] of one image, [1, n, D], and fill its memory."""
        for index, block in enumerate(self.blocks):
            hook = Hook()
            if memory.slots:
                hook.slots, hook.rows = memory.slots[index], rows
            if memory.attention.numel() and index == len(self.blocks) - 1:
                hook.score_rows = torch.arange(len(rows), device=rows.device)
            with hooked(block.attn, hook):
                states = block(states)
            if hook.score_rows is not None:
                memory.attention[rows] = hook.scores
        return states


class Projector(nn.Module):
    """Features of both towers [..., 2 x D] -> tokens in the width of the language model."""

    def __init__(self, features: int, middle: int, width: int) -> None:
        """Make the layers; ``middle`` is four times ``features``."""
        super().__init__()
        self.fc1 = nn.Linear(features, middle)
        self.fc2 = nn.Linear(middle, width)
        self.fc3 = nn.Linear(width, width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the tokens."""
        return self.fc3(F.gelu(self.fc2(F.gelu(self.fc1(features)))))


class FusedTower(nn.Module):
    """Pixels [B, 6, H, W], those of DINOv2 before those of SigLIP -> tokens [B, T, D]."""

    can_update = True
    reach = (0, 0)

    def __init__(self, first: VitShape, second: VitShape, middle: int, width: int) -> None:
        """Make both towers and the projector into a decoder of ``width``."""
        super().__init__()
        self.featurizer, self.fused_featurizer = Vit(first), Vit(second)
        self.projector = Projector(first.width + second.width, middle, width)

    @property
    def patch_size(self) -> int:
        """Side of a patch [pixels]."""
        return self.featurizer.shape.patch

    @property
    def _towers(self) -> tuple[Vit, Vit]:
        return self.featurizer, self.fused_featurizer

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the tokens of all patches."""
        halves = zip(self._towers, pixels.split(3, 1), strict=True)
        return self.projector(torch.cat([tower(half) for tower, half in halves], -1))

    def encode(self, pixels: torch.Tensor, slots: bool, scores: bool) -> list[VitMemory]:
        """Encode one image [6, H, W], keeping keys and values and the attention where wanted."""
        halves = zip(self._towers, pixels.split(3), strict=True)
        return [tower.encode(half, slots, scores) for tower, half in halves]

    def update(
        self, memory: list[VitMemory], pixels: torch.Tensor, patches: torch.Tensor
    ) -> torch.Tensor:
        """Compute ``patches`` int64 [n] of the image [6, H, W] again; return their change [n].

        ``patches`` increase. The change is that of the features of both towers, relative to their
        length.
        """
        old = self._features(memory)[patches]
        for tower, part, half in zip(self._towers, memory, pixels.split(3), strict=True):
            tower.update(part, half, patches)
        change = (self._features(memory)[patches] - old).norm(dim=-1)
        return change / old.norm(dim=-1).clamp_min(1e-12)

    def project(self, memory: list[VitMemory]) -> torch.Tensor:
        """Return the tokens [T, D] of one camera."""
        return self.projector(self._features(memory))

    def saliency(self, memory: list[VitMemory]) -> torch.Tensor:
        """Return the attention that each patch receives, mean of both towers, [T], sum 1.

        Of the last block that is walked, mean over heads and queries.
        """
        shares = []
        for tower, part in zip(self._towers, memory, strict=True):
            received = part.attention.mean(0)[tower.shape.leading :]
            shares.append(received / received.sum())
        return torch.stack(shares).mean(0)

    def _features(self, memory: list[VitMemory]) -> torch.Tensor:
        """Return the features of both towers side by side, [T, 2 x D]."""
        parts = zip(self._towers, memory, strict=True)
        return torch.cat([part.hidden[0, tower.shape.leading :] for tower, part in parts], -1)
