# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Configurations of vision-language models that are small enough to be made in a test."""

from transformers import (
    CLIPVisionConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GemmaConfig,
    Idefics3Config,
    LlamaConfig,
    LlavaConfig,
    MistralConfig,
    PaliGemmaConfig,
    Qwen2_5_VLConfig,
    Qwen2Config,
    Qwen3VLConfig,
    SiglipVisionConfig,
    SmolVLMConfig,
)

VISION = {
    'hidden_size': 32,
    'intermediate_size': 48,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'image_size': 32,
    'patch_size': 8,
}
TEXT = {
    'hidden_size': 24,
    'intermediate_size': 32,
    'num_hidden_layers': 3,
    'num_attention_heads': 2,
    'num_key_value_heads': 1,
    'vocab_size': 400,
}


def smolvlm():
    return SmolVLMConfig(
        vision_config=VISION, text_config=LlamaConfig(**TEXT), scale_factor=2, image_token_id=399
    )


def llava():
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=Qwen2Config(**TEXT),
        image_token_index=399,
    )


def paligemma():
    return PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**VISION, projection_dim=24),
        text_config=GemmaConfig(**TEXT, head_dim=12),
        projection_dim=24,
        image_token_index=399,
    )


def qwen2_5_vl():
    vision = {
        'depth': 2,
        'hidden_size': 32,
        'intermediate_size': 48,
        'num_heads': 2,
        'patch_size': 8,
        'window_size': 16,
        'fullatt_block_indexes': [1],
        'out_hidden_size': 24,
    }
    rope = {'rope_type': 'default', 'rope_theta': 1e4, 'mrope_section': [2, 2, 2]}
    return Qwen2_5_VLConfig(
        vision_config=vision, text_config={**TEXT, 'rope_parameters': rope}, image_token_id=399
    )


def qwen3_vl():
    vision = {
        'depth': 3,
        'hidden_size': 32,
        'intermediate_size': 48,
        'num_heads': 2,
        'patch_size': 8,
        'num_position_embeddings': 9,
        'deepstack_visual_indexes': [0, 1],
        'out_hidden_size': 24,
    }
    rope = {'rope_type': 'default', 'rope_theta': 1e4, 'mrope_section': [2, 2, 2]}
    text = {**TEXT, 'head_dim': 12, 'rope_parameters': rope}
    return Qwen3VLConfig(vision_config=vision, text_config=text, image_token_id=399)


def paligemma2():
    text = Gemma2Config(
        **TEXT,
        head_dim=12,
        query_pre_attn_scalar=20,
        sliding_window=6,
        attn_logit_softcapping=0.5,
    )
    return PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**VISION, projection_dim=24),
        text_config=text,
        projection_dim=24,
        image_token_index=399,
    )


def gemma3():
    text = Gemma3TextConfig(
        **TEXT,
        head_dim=12,
        query_pre_attn_scalar=20,
        sliding_window=6,
        layer_types=['sliding_attention', 'full_attention', 'sliding_attention'],
    )
    return Gemma3Config(
        vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=text,
        mm_tokens_per_image=4,
        image_token_index=399,
    )


def idefics3():
    return Idefics3Config(
        vision_config=VISION, text_config=LlamaConfig(**TEXT), scale_factor=2, image_token_id=399
    )


def llava_with_a_window():
    text = MistralConfig(**TEXT, sliding_window=6)
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION), text_config=text, image_token_index=399
    )


def llava_of_siglip():
    vision = SiglipVisionConfig(**VISION, vision_use_head=False)
    options = {'vision_feature_layer': -1, 'vision_feature_select_strategy': 'full'}
    return LlavaConfig(
        vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_index=399, **options
    )
