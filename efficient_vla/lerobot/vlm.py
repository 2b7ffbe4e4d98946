# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The halves of the vision-language models inside LeRobot's prefix policies, from their tensors.

The folder does not hold the configuration of the model; nearly all of it follows from the shapes of
the tensors. Layers are made empty, and filled one after the other.
"""

import math
from typing import Any

import torch
from torch import nn
from transformers import GemmaConfig, LlamaConfig, SiglipVisionConfig, SmolVLMConfig
from transformers.models.gemma.modeling_gemma import GemmaDecoderLayer, GemmaRotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding
from transformers.models.siglip.modeling_siglip import SiglipVisionModel
from transformers.models.smolvlm.modeling_smolvlm import (
    SmolVLMConnector,
    SmolVLMVisionTransformer,
)

from efficient_vla.lerobot.vlm_heads import SIGLIP, SMALL_SIGLIP, Heads
from efficient_vla.lerobot.weights import Tensors
from efficient_vla.perception.tower import VisionTower
from efficient_vla.reasoning.fused import FusedLayer, KeysValuesLayer
from efficient_vla.tensors import give_back

ROPE_BASE = 10_000.0
"""SmolVLA rotates by a base of its own, whatever the configuration of its model says."""


def smolvlm_tower(tensors: Tensors, heads: Heads) -> VisionTower:
    """Return the vision tower of SmolVLM2, whose tokens are scaled as SmolVLA has them.

    Its projection has no bias, so that its weights are scaled instead: an engine would fold the
    factor into a copy of them.
    """
    vision = tensors.at('vision_model')
    width, projected = tensors.shape('connector.modality_projection.proj.weight')
    sizes = _vision_sizes(vision) | {'num_attention_heads': heads.vision}
    config = SmolVLMConfig(
        vision_config=sizes,
        text_config={'model_type': 'llama', 'hidden_size': width},
        scale_factor=math.isqrt(projected // sizes['hidden_size']),
    )
    with torch.device('meta'):
        encoder = SmolVLMVisionTransformer(config.vision_config)
        connector = SmolVLMConnector(config)
    _fill(encoder, vision)
    _fill(connector, tensors.at('connector'))
    connector.modality_projection.proj.weight.data.mul_(width**0.5)
    return VisionTower(encoder, connector).eval()


def paligemma_tower(tensors: Tensors) -> VisionTower:
    """Return the vision tower of PaliGemma with its projection."""
    vision = tensors.at('vision_tower.vision_model')
    sizes = _vision_sizes(vision)
    heads = SIGLIP.get(sizes['hidden_size'], SMALL_SIGLIP)
    config = SiglipVisionConfig(**sizes, num_attention_heads=heads, vision_use_head=False)
    shape = tensors.shape('multi_modal_projector.linear.weight')
    with torch.device('meta'):
        encoder = SiglipVisionModel(config)
        connector = nn.Linear(shape[1], shape[0])
    places = encoder.embeddings.num_positions
    encoder.embeddings.position_ids = torch.arange(places)[None]
    _fill(encoder, vision)
    _fill(connector, tensors.at('multi_modal_projector.linear'))
    return VisionTower(encoder, connector).eval()


def _vision_sizes(vision: Tensors) -> dict[str, Any]:
    """Return the shape of a tower of SigLIP's kind, without its heads."""
    width, _, patch, _ = vision.shape('embeddings.patch_embedding.weight')
    places = vision.shape('embeddings.position_embedding.weight')[0]
    return {
        'hidden_size': width,
        'intermediate_size': vision.shape('encoder.layers.0.mlp.fc1.weight')[0],
        'num_hidden_layers': vision.at('encoder.layers').numbered(),
        'image_size': math.isqrt(places) * patch,
        'patch_size': patch,
        'hidden_act': 'gelu_pytorch_tanh',
        'layer_norm_eps': 1e-6,
    }


UNUSED_OF_LAST = r'(self_attn\.[qo]_proj|mlp\.(gate|up|down)_proj|post_attention_layernorm)'
"""Pattern of what the last layer of a prefix does not need."""


class PrefixDecoder(nn.Module):
    """The layers of a decoder, of whose last one nothing but keys and values is there."""

    def __init__(self, config: Any, layers: list[nn.Module], rotary: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(layers)
        self.rotary_emb = rotary
        self.norm = nn.Identity()


def llama_decoder(tensors: Tensors, heads: Heads) -> PrefixDecoder:
    """Return the decoder of SmolVLM2, as many layers as the folder holds."""
    config = LlamaConfig(
        **_text_sizes(tensors, heads.width),
        rms_norm_eps=1e-5,
        rope_parameters={'rope_type': 'default', 'rope_theta': ROPE_BASE},
        attention_bias=False,
    )
    return _decoder(tensors, config, LlamaDecoderLayer, LlamaRotaryEmbedding(config))


def gemma_decoder(tensors: Tensors) -> PrefixDecoder:
    """Return the decoder of PaliGemma, which has one key head."""
    width = tensors.shape('layers.0.self_attn.k_proj.weight')[0]
    config = GemmaConfig(
        **_text_sizes(tensors, width),
        rms_norm_eps=1e-6,
        rope_parameters={'rope_type': 'default', 'rope_theta': ROPE_BASE},
        hidden_activation='gelu_pytorch_tanh',
        hidden_act='gelu_pytorch_tanh',
        attention_bias=False,
    )
    return _decoder(tensors, config, GemmaDecoderLayer, GemmaRotaryEmbedding(config))


def _text_sizes(tensors: Tensors, head: int) -> dict[str, Any]:
    projection = 'layers.0.self_attn.{}_proj.weight'
    queries, width = tensors.shape(projection.format('q'))
    return {
        'hidden_size': width,
        'intermediate_size': tensors.shape('layers.0.mlp.up_proj.weight')[0],
        'num_hidden_layers': tensors.at('layers').numbered(),
        'num_attention_heads': queries // head,
        'num_key_value_heads': tensors.shape(projection.format('k'))[0] // head,
        'head_dim': head,
        'vocab_size': 1,  # words are looked up in the file
        'pad_token_id': 0,
        'bos_token_id': 0,
        'eos_token_id': 0,
    }


def _decoder(tensors: Tensors, config: Any, kind: Any, rotary: nn.Module) -> PrefixDecoder:
    layers: list[nn.Module] = []
    depth = config.num_hidden_layers
    for index in range(depth):
        with torch.device('meta'):
            stock = kind(config, index)
        part = tensors.at(f'layers.{index}')
        if index < depth - 1:
            _fill(stock, part)
            layers.append(FusedLayer(stock))
            del stock
            give_back(cycles=False)  # what was joined, before more is read
            continue
        for name in ('input_layernorm', 'self_attn.k_proj', 'self_attn.v_proj'):
            _fill(stock.get_submodule(name), part.at(name))
        layers.append(KeysValuesLayer.of_stock(stock))
    return PrefixDecoder(config, layers, rotary).eval()


def _fill(module: nn.Module, tensors: Tensors) -> None:
    """Read the tensors of a module that was made empty."""
    shapes = {name: empty.shape for name, empty in module.state_dict().items()}
    found = {name: tensors.take(name, *shape) for name, shape in shapes.items()}
    module.load_state_dict(found, assign=True)
    module.requires_grad_(False)
