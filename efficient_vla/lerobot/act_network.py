# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""ACT, the action chunking transformer (arXiv 2304.13705), as LeRobot trains it.

At run time its latent is zero: the encoder of its variational part, and the weight by which the
latent enters, have no effect.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.lerobot.features import STATE
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.layers import constant, layer_norm, linear
from efficient_vla.lerobot.resnet import AS_NAMED, BLOCKS, DEEP, ResNet
from efficient_vla.lerobot.weights import Tensors

WITHOUT_EFFECT = (r'vae_encoder.*', r'encoder_latent_input_proj\.weight')
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {'relu': F.relu, 'gelu': F.gelu}
TEMPERATURE = 10_000


class Attention(nn.Module):
    """Attention of several heads, as ``nn.MultiheadAttention`` stores it."""

    def __init__(self, tensors: Tensors, width: int, heads: int) -> None:
        super().__init__()
        self.weight = constant(tensors.take('in_proj_weight', 3 * width, width))
        self.bias = constant(tensors.take('in_proj_bias', 3 * width))
        self.out = linear(tensors, 'out_proj', width, width)
        self._heads = heads

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return [B, N, D] for queries [B, N, D], keys and values [B, M, D]."""
        parts = zip((q, k, v), self.weight.chunk(3), self.bias.chunk(3), strict=True)
        # [B, heads, N, D / heads]
        split = (F.linear(*part).unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(*split)
        return self.out(mixed.transpose(1, 2).flatten(2))


class FirstAttention(nn.Module):
    """Attention to rows of zeros, whose values are the bias alone, whatever looks at which."""

    def __init__(self, tensors: Tensors, width: int) -> None:
        super().__init__()
        bias = tensors.take('in_proj_bias', 3 * width).chunk(3)[2]
        self.same = constant(linear(tensors, 'out_proj', width, width)(bias))
        tensors.without_effect(['in_proj_weight'])

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return the one row [D] that all are."""
        return self.same


class ActLayer(nn.Module):
    """A layer of the encoder, and one of the decoder where it looks at ``memory``."""

    def __init__(self, tensors: Tensors, config: Fields, looks: bool, first: bool = False) -> None:
        """Read a layer; the ``first`` of the decoder is given zeros."""
        super().__init__()
        width, heads = config.integer('dim_model'), config.integer('n_heads')
        hidden = config.integer('dim_feedforward')
        self._before = config.flag('pre_norm', False)
        own = tensors.at('self_attn')
        if first and self._before:
            tensors.without_effect([r'norm1\.weight'])
        still = first and not self._before
        self.attention = FirstAttention(own, width) if still else Attention(own, width, heads)
        self.look = Attention(tensors.at('multihead_attn'), width, heads) if looks else None
        self.norms = nn.ModuleList(
            layer_norm(tensors, f'norm{place + 1}', width) for place in range(3 if looks else 2)
        )
        self.widen = linear(tensors, 'linear1', hidden, width)
        self.narrow = linear(tensors, 'linear2', width, hidden)
        self._activation = ACTIVATIONS[
            config.word('feedforward_activation', 'relu', tuple(ACTIVATIONS))
        ]

    def forward(
        self,
        x: torch.Tensor,
        places: torch.Tensor,
        memory: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return [B, N, D]; ``places`` are added to queries and keys, ``memory`` has its own."""

        def itself(y: torch.Tensor) -> torch.Tensor:
            at = y + places
            return self.attention(at, at, y)

        def other(y: torch.Tensor) -> torch.Tensor:
            assert memory is not None
            assert self.look is not None
            seen, seen_places = memory
            return self.look(y + places, seen + seen_places, seen)

        def feed(y: torch.Tensor) -> torch.Tensor:
            return self.narrow(self._activation(self.widen(y)))

        parts = (itself, feed) if memory is None else (itself, other, feed)
        for norm, part in zip(self.norms, parts, strict=True):
            x = x + part(norm(x)) if self._before else norm(x + part(x))
        return x


class ActNetwork(nn.Module):
    """State and images of one moment -> normalised chunk."""

    def __init__(
        self,
        config: Fields,
        cameras: Mapping[str, tuple[int, int]],
        states: int,
        actions: int,
        tensors: Tensors,
    ) -> None:
        """Read all tensors of the policy; ``cameras`` have the rows and columns of training."""
        super().__init__()
        width, backbone = config.integer('dim_model'), config.word('vision_backbone')
        if backbone not in BLOCKS:
            raise config.error('vision_backbone', backbone, ' or '.join(BLOCKS))
        heads = config.integer('n_heads')
        if width % heads or width % 4:
            raise config.error('dim_model', width, f'a multiple of 4 and of n_heads {heads}')
        dilated = config.flag('replace_final_stride_with_dilation', False)
        if dilated and backbone not in DEEP:
            raise config.error('replace_final_stride_with_dilation', True, f'false for {backbone}')
        chunk = config.integer('chunk_size')
        self.cameras = tuple(cameras)
        self.backbone = ResNet(tensors.at('backbone'), backbone, AS_NAMED, dilated=dilated)
        channels = self.backbone.channels
        weight = tensors.take('encoder_img_feat_input_proj.weight', width, channels, 1, 1)
        self.project_weight = constant(weight)
        self.project_bias = constant(tensors.take('encoder_img_feat_input_proj.bias', width))
        self.state = (
            linear(tensors, 'encoder_robot_state_input_proj', width, states) if states else None
        )
        # A latent of zeros leaves the bias.
        self.latent = constant(tensors.take('encoder_latent_input_proj.bias', width))
        self.encoder = nn.ModuleList(
            ActLayer(tensors.at(f'encoder.layers.{place}'), config, looks=False)
            for place in range(config.integer('n_encoder_layers', low=0))
        )
        self.decoder = nn.ModuleList(
            ActLayer(tensors.at(f'decoder.layers.{place}'), config, looks=True, first=not place)
            for place in range(config.integer('n_decoder_layers', low=0))
        )
        self.encoded = None
        if config.flag('pre_norm', False):
            self.encoded = layer_norm(tensors, 'encoder.norm', width)
        self.decoded = layer_norm(tensors, 'decoder.norm', width)
        self.head = linear(tensors, 'action_head', actions, width)
        first = 2 if states else 1
        self.queries = constant(tensors.take('decoder_pos_embed.weight', chunk, width))
        places = tensors.take('encoder_1d_feature_pos_embed.weight', first, width)
        grids = [
            grid_places(self.backbone.side(rows), self.backbone.side(columns), width)
            for rows, columns in cameras.values()
        ]
        self.register_buffer('places', torch.cat([places, *grids])[None])  # [1, N, D]
        tensors.without_effect(WITHOUT_EFFECT)
        self.inputs = ((STATE,) if states else ()) + self.cameras
        """Keys of what the network looks at."""
        self.whole: nn.Module | None = None
        """The network as one graph of an engine, where there is one."""

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the chunk [1, H, A] for normalised state [1, S] and images [1, 3, H, W]."""
        if self.whole is not None:
            return self.whole(*(batch[key] for key in self.inputs))
        return self.run(batch)

    def run(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Do the same by the layers, whatever executes the whole."""
        tokens = [self.latent[None, None]]
        if self.state is not None:
            tokens.append(self.state(batch[STATE])[:, None])
        for camera in self.cameras:
            features = self.backbone(batch[camera])
            pixels = F.conv2d(features, self.project_weight, self.project_bias)
            tokens.append(pixels.flatten(2).transpose(1, 2))  # [1, h * w, D]
        x = torch.cat(tokens, 1)
        for layer in self.encoder:
            x = layer(x, self.places)
        if self.encoded is not None:
            x = self.encoded(x)
        y = torch.zeros_like(self.queries)[None]
        for layer in self.decoder:
            y = layer(y, self.queries, (x, self.places))
        found: torch.Tensor = self.head(self.decoded(y))
        return found


class ActPass(nn.Module):
    """A pass of the network as a module of tensors alone, in the order of its ``inputs``."""

    def __init__(self, network: ActNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        """Return the chunk [1, H, A]."""
        return self.network.run(dict(zip(self.network.inputs, given, strict=True)))


def grid_places(rows: int, columns: int, width: int) -> torch.Tensor:
    """Return sines and cosines of the place of each pixel, rows before columns, [h * w, D]."""
    half = width // 2
    frequency = TEMPERATURE ** (2 * (torch.arange(half, dtype=torch.float32) // 2) / half)
    axes = []
    for count in (rows, columns):
        # Counted from 1, the last at one full turn.
        turn = torch.arange(1, count + 1, dtype=torch.float32) / (count + 1e-6) * 2 * math.pi
        angle = turn[:, None] / frequency
        axes.append(torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], -1).flatten(1))
    down, across = axes[0][:, None], axes[1][None]
    both = [down.expand(rows, columns, -1), across.expand(rows, columns, -1)]
    return torch.cat(both, -1).flatten(0, 1)
