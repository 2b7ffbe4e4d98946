# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Diffusion Policy (arXiv 2303.04137) as LeRobot trains it: observations and noise -> chunk."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.lerobot.features import STATE
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.layers import constant, linear
from efficient_vla.lerobot.noise_schedule import NoiseSchedule
from efficient_vla.lerobot.resnet import AS_LISTED, BLOCKS, ResNet
from efficient_vla.lerobot.unet import UNet
from efficient_vla.lerobot.weights import Tensors

Size = tuple[int, int]


class CameraEncoder(nn.Module):
    """Images [B, 3, H, W] -> where the feature map looks like each keypoint, [B, 2 K]."""

    def __init__(self, tensors: Tensors, config: Fields, size: Size) -> None:
        """Read the encoder of a camera with images of ``size``."""
        super().__init__()
        self._resize, self._crop = _sizes(config, size)
        rows, columns = self._crop or self._resize or size
        name = config.word('vision_backbone')
        if name not in BLOCKS:
            raise config.error('vision_backbone', name, ' or '.join(BLOCKS))
        grouped = config.flag('use_group_norm', False)
        self.backbone = ResNet(tensors.at('backbone'), name, AS_LISTED, grouped=grouped)
        points, channels = config.integer('spatial_softmax_num_keypoints'), self.backbone.channels
        self.weight = constant(tensors.take('pool.nets.weight', points, channels, 1, 1))
        # What is added to a whole map changes no softmax over it.
        tensors.without_effect([r'pool\.nets\.bias'])
        pixels = self.backbone.side(rows) * self.backbone.side(columns)
        self.grid = constant(tensors.take('pool.pos_grid', pixels, 2))
        self.out = linear(tensors, 'out', 2 * points, 2 * points)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the policy is told of the images."""
        if self._resize:
            images = F.interpolate(
                images, self._resize, mode='bilinear', align_corners=False, antialias=True
            )
        if self._crop:
            rows, columns = self._crop
            top, left = (
                round((side - part) / 2)
                for side, part in zip(images.shape[2:], self._crop, strict=True)
            )
            images = images[:, :, top : top + rows, left : left + columns]
        maps = F.conv2d(self.backbone(images), self.weight).flatten(2)  # [B, K, h * w]
        points = (maps.softmax(-1) @ self.grid).flatten(1)
        return F.relu(self.out(points))


def _sizes(config: Fields, size: Size) -> tuple[Size | None, Size | None]:
    """Return to what size images are brought, and what of their middle is cut out."""
    resize: Size | None = None
    crop: Size | None = None
    if config.raw('resize_shape', None) is not None:
        rows, columns = config.integers('resize_shape', 2)
        resize = (rows, columns)
        share = config.number('crop_ratio', 1.0, 0, 1)
        if share < 1:
            crop = (int(rows * share), int(columns * share))
    elif config.raw('crop_shape', None) is not None:
        rows, columns = config.integers('crop_shape', 2)
        crop = (rows, columns)
    if crop and not all(0 < part <= side for part, side in zip(crop, resize or size, strict=True)):
        raise config.error('crop_shape', list(crop), f'at most {list(resize or size)} pixels')
    return resize, crop


class DiffusionNetwork(nn.Module):
    """Several observations, each a time apart, and noise -> normalised actions."""

    def __init__(
        self,
        config: Fields,
        cameras: Mapping[str, Size],
        states: int,
        actions: int,
        tensors: Tensors,
    ) -> None:
        """Read all tensors of the policy; ``cameras`` have the rows and columns of training."""
        super().__init__()
        self.observations = config.integer('n_obs_steps', high=64)
        self.horizon = config.integer('horizon', high=4096)
        self.rows = config.integer('n_action_steps', high=self.horizon - self.observations + 1)
        halvings = 2 ** len(config.integers('down_dims'))
        if self.horizon % halvings:
            raise config.error('horizon', self.horizon, f'a multiple of {halvings}, by down_dims')
        if len(set(cameras.values())) > 1:
            raise config.error('input_features', dict(cameras), 'images of one size')
        self.cameras = tuple(cameras)
        each = config.flag('use_separate_rgb_encoder_per_camera')
        parts = [
            tensors.at(f'rgb_encoder.{n}') if each else tensors.at('rgb_encoder')
            for n in range(len(cameras))
        ]
        size = next(iter(cameras.values()))
        made = [CameraEncoder(part, config, size) for part in (parts if each else parts[:1])]
        self.encoders = nn.ModuleList(made if each else made * len(parts))
        points = config.integer('spatial_softmax_num_keypoints')
        seen = self.observations * (states + 2 * points * len(cameras))
        self.unet = UNet(tensors.at('unet'), config, actions, seen)
        self.schedule = NoiseSchedule(config)

    def describe(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return what the policy is told of one observation, [1, F]."""
        images = zip(self.encoders, self.cameras, strict=True)
        return torch.cat([batch[STATE], *(encode(batch[name]) for encode, name in images)], -1)

    def forward(
        self,
        described: Sequence[torch.Tensor],
        noise: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the actions from the newest observation on, [1, ``rows``, A].

        ``described`` are the observations, the newest last; ``noise`` is [1, horizon, A].
        """
        seen = torch.cat(list(described), -1)
        made = self.schedule.sample(lambda x, time: self.unet(x, time, seen), noise, generator)
        first = self.observations - 1
        return made[:, first : first + self.rows]
