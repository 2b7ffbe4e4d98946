# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy such as evla-nano while it is trained: all stages, with auxiliary outputs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, SmolVLMConfig

from efficient_vla.action.policies import DualPolicy, SinglePolicy, SpatialSoftmax
from efficient_vla.checkpoint import Card
from efficient_vla.perception.conv_stem import ConvStem
from efficient_vla.perception.tower import VisionTower
from efficient_vla.reasoning.decoders import reading_half
from efficient_vla.reasoning.layout import arranged
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.reasoning.words import Words
from efficient_vla.training.trunks import TRUNKS, TrunkSizes
from efficient_vla.types import VisualTokens, grid_map


def nano_config(
    vocabulary: int, width: int = 192, layers: int = 8, image_size: int = 144, trunk: str = 'llama'
) -> SmolVLMConfig:
    """Return the shape of evla-nano's vision-language model, around a trunk of another kind.

    ``layers`` are those of a decoder; ``trunk`` is one of ``TRUNKS``.
    """
    sizes, kind = TrunkSizes(width, layers, vocabulary), TRUNKS[trunk]
    return SmolVLMConfig(
        vision_config={
            'hidden_size': width,
            'intermediate_size': 2 * width,
            'num_hidden_layers': 2,
            'num_attention_heads': sizes.heads,
            'image_size': image_size,
            'patch_size': 12,
        },
        text_config=AutoConfig.for_model(kind.model_type, **kind.config(sizes)),
        scale_factor=1,
        image_token_id=vocabulary - 1,
    )


class EvlaNano(nn.Module):
    """Tower, trunk, both heads and the auxiliary read-outs."""

    def __init__(self, card: Card, config: SmolVLMConfig, labels: int = 9) -> None:
        """Make all of them; ``labels`` numbers are read out beside the actions."""
        super().__init__()
        model = AutoModel.from_config(config)
        width = config.text_config.hidden_size
        model.vision_model.embeddings.patch_embedding = ConvStem(width)
        self.tower = VisionTower(model.vision_model, model.connector)
        self.trunk = Trunk(reading_half(model.text_model), card.queries)
        half = '.encoder' if config.text_config.is_encoder_decoder else ''
        self.text_model = f'text_model{half}'
        self.single, self.dual = SinglePolicy(card.shape(width)), DualPolicy(card.shape(width))
        self.plan_labels = nn.Linear(card.queries * width, labels)
        self.stem_labels = nn.Sequential(SpatialSoftmax(width), nn.Linear(2 * width, labels))
        self.point_labels = nn.Linear(2 * 64, labels)

    @property
    def stem(self) -> nn.Module:
        """The convolutional stem of the vision tower."""
        encoder: Any = self.tower.encoder
        return encoder.embeddings.patch_embedding

    def plan(
        self,
        pixels: torch.Tensor,
        text: torch.Tensor,
        text_mask: torch.Tensor,
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return plan latents [B, Q, D]; ``keep`` [V'] drops visual tokens as augmentation."""
        visual = self.tower(pixels)
        total = visual.shape[1]
        keep = torch.arange(total, device=visual.device) if keep is None else keep
        words = Words(text[0], None, torch.arange(text.shape[1]))
        positions, layout = arranged(self.trunk.parts, self._places(total, keep), total, words)
        positions = positions.expand(*positions.shape[:-2], len(visual), -1)
        latents, _ = self.trunk(visual[:, keep], positions, text, text_mask, layout)
        return latents

    def _places(self, total: int, keep: torch.Tensor) -> VisualTokens:
        """Return where the tokens ``keep`` of ``total`` are in the image."""
        kept, side = keep.cpu().numpy(), round(total**0.5)
        return VisualTokens(
            features=np.zeros((len(kept), 1), np.float32),
            age=np.zeros(len(kept), np.float32),
            grid=(side, side),
            stamp=0.0,
            **{name: part[kept] for name, part in grid_map(total, (side, side)).items()},
        )

    def deployed(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the tensors of a checkpoint under the names that ``checkpoint`` reads."""
        parts = {
            'vision_model': self.tower.encoder,
            'connector': self.tower.connector,
            self.text_model: self.trunk.decoder,
            'single': self.single,
            'dual': self.dual,
        }
        for prefix, part in parts.items():
            for name, tensor in part.state_dict().items():
                yield f'{prefix}.{name}', tensor
        yield 'queries', self.trunk.queries
