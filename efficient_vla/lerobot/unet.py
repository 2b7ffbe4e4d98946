# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The one-dimensional U-Net of Diffusion Policy (arXiv 2303.04137), as LeRobot trains it."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.layers import Conv1d, group_norm, linear
from efficient_vla.lerobot.weights import Tensors

LAST_GROUPS = 8
"""Of the norm before the output, whatever ``n_groups`` says."""


class ConvBlock(nn.Module):
    """Convolution, group norm, Mish."""

    def __init__(
        self, tensors: Tensors, outputs: int, inputs: int, kernel: int, groups: int
    ) -> None:
        super().__init__()
        self.convolution = Conv1d(tensors, '0', outputs, inputs, kernel)
        self.norm = group_norm(tensors, '1', groups, outputs)
        if groups == outputs:
            # A norm of each channel alone takes away what was added to it.
            tensors.without_effect([r'0\.bias'])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [B, outputs, T]."""
        return F.mish(self.norm(self.convolution(x)))


class Residual(nn.Module):
    """Two such blocks, the first modulated by the condition (FiLM, arXiv 1709.07871)."""

    def __init__(
        self, tensors: Tensors, config: Fields, outputs: int, inputs: int, condition: int
    ) -> None:
        super().__init__()
        kernel, groups = config.integer('kernel_size'), config.integer('n_groups')
        self._scales = config.flag('use_film_scale_modulation')
        wide = 2 * outputs if self._scales else outputs
        self.first = ConvBlock(tensors.at('conv1.block'), outputs, inputs, kernel, groups)
        self.second = ConvBlock(tensors.at('conv2.block'), outputs, outputs, kernel, groups)
        self.film = linear(tensors, 'cond_encoder.1', wide, condition)
        self.skip = None
        if inputs != outputs:
            self.skip = Conv1d(tensors, 'residual_conv', outputs, inputs, 1)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return [B, outputs, T] for ``x`` [B, inputs, T] and the condition [B, C]."""
        said = self.film(F.mish(condition))[..., None]
        y = self.first(x)
        if self._scales:
            scale, shift = said.chunk(2, 1)
            y = scale * y + shift
        else:
            y = y + said
        return self.second(y) + (x if self.skip is None else self.skip(x))


class UnetStage(nn.Module):
    """Two residual blocks, then half or twice the length of time."""

    def __init__(
        self,
        tensors: Tensors,
        config: Fields,
        outputs: int,
        inputs: int,
        condition: int,
        resized: Conv1d | None,
    ) -> None:
        super().__init__()
        self.first = Residual(tensors.at('0'), config, outputs, inputs, condition)
        self.second = Residual(tensors.at('1'), config, outputs, outputs, condition)
        self.resized = resized

    def forward(
        self, x: torch.Tensor, condition: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the two blocks make of [B, inputs, T], and that at another length."""
        x = self.second(self.first(x, condition), condition)
        return x, x if self.resized is None else self.resized(x)


class UNet(nn.Module):
    """Noisy actions, a time, and a condition -> what the network was trained to tell."""

    def __init__(self, tensors: Tensors, config: Fields, actions: int, seen: int) -> None:
        """Read all tensors; ``seen`` numbers describe the observations."""
        super().__init__()
        widths, embedding = config.integers('down_dims'), config.integer('diffusion_step_embed_dim')
        if embedding % 2 or embedding < 4:
            raise config.error('diffusion_step_embed_dim', embedding, 'an even number from 4 up')
        groups = config.integer('n_groups')
        if any(width % groups for width in widths) or widths[0] % LAST_GROUPS:
            raise config.error(
                'down_dims',
                list(widths),
                f'multiples of n_groups {groups}, the first one of {LAST_GROUPS} too',
            )
        if not config.integer('kernel_size') % 2:
            raise config.error('kernel_size', config.raw('kernel_size'), 'an odd number')
        condition, last = embedding + seen, len(widths) - 1
        step = tensors.at('diffusion_step_encoder')
        self.widen = linear(step, '1', 4 * embedding, embedding)
        self.narrow = linear(step, '3', embedding, 4 * embedding)
        self.down = nn.ModuleList()
        for place, (inputs, outputs) in enumerate(zip((actions, *widths), widths, strict=False)):
            part = tensors.at(f'down_modules.{place}')
            half = Conv1d(part, '2', outputs, outputs, 3, 2) if place < last else None
            self.down.append(UnetStage(part, config, outputs, inputs, condition, half))
        self.middle = nn.ModuleList(
            Residual(tensors.at(f'mid_modules.{n}'), config, widths[-1], widths[-1], condition)
            for n in range(2)
        )
        self.up = nn.ModuleList()
        for place, (inputs, outputs) in enumerate(zip(widths[:0:-1], widths[-2::-1], strict=True)):
            part = tensors.at(f'up_modules.{place}')
            twice = Conv1d(part, '2', outputs, outputs, 4, 2, up=True)
            self.up.append(UnetStage(part, config, outputs, 2 * inputs, condition, twice))
        kernel = config.integer('kernel_size')
        end = tensors.at('final_conv')
        self.last = ConvBlock(end.at('0.block'), widths[0], widths[0], kernel, LAST_GROUPS)
        self.out = Conv1d(end, '1', actions, widths[0], 1)
        frequency = torch.arange(embedding // 2) * -(math.log(10_000) / (embedding // 2 - 1))
        self.register_buffer('frequency', frequency.exp())

    def forward(self, x: torch.Tensor, time: int, seen: torch.Tensor) -> torch.Tensor:
        """Return [B, H, A] for noisy actions [B, H, A] at a step ``time`` of training."""
        angle = time * self.frequency
        moment = torch.cat([angle.sin(), angle.cos()])[None]
        moment = self.narrow(F.mish(self.widen(moment)))
        condition = torch.cat([moment.expand(len(x), -1), seen], -1)
        x, kept = x.transpose(1, 2), []
        for stage in self.down:
            whole, x = stage(x, condition)
            kept.append(whole)
        for block in self.middle:
            x = block(x, condition)
        for stage in self.up:
            _, x = stage(torch.cat([x, kept.pop()], 1), condition)
        found: torch.Tensor = self.out(self.last(x)).transpose(1, 2)
        return found
