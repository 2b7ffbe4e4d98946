# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Shapes of published vision-language models, as their config.json say, and small ones of a kind.

The small ones keep images, patches and so the count of tokens, and shrink everything else.
"""

from collections.abc import Callable, Mapping
from typing import Any

from transformers import (
    BartConfig,
    CLIPVisionConfig,
    Florence2Config,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPTNeoXConfig,
    LlamaConfig,
    LlavaConfig,
    MambaConfig,
    PaliGemmaConfig,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
    SiglipVisionConfig,
    SmolVLMConfig,
)

from efficient_vla.openvla.vision import VitShape

SMALL_TEXT = {
    'hidden_size': 64,
    'intermediate_size': 128,
    'num_hidden_layers': 3,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'vocab_size': 512,
}
SMALL_VISION = {
    'hidden_size': 64,
    'intermediate_size': 128,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
}


def text(small: bool, **sizes: Any) -> dict[str, Any]:
    """Return the sizes of a decoder: hidden, ffn, layers, heads, key heads, words, and more."""
    names = ('hidden', 'ffn', 'layers', 'heads', 'key_heads', 'words')
    given = zip(SMALL_TEXT, (sizes.pop(name) for name in names), strict=True)
    if not small:
        return {**dict(given), **sizes}
    return {**SMALL_TEXT, **{k: 16 if k == 'head_dim' else v for k, v in sizes.items()}}


def vision(
    small: bool, hidden: int, ffn: int, layers: int, heads: int, **sizes: Any
) -> dict[str, Any]:
    """Return the sizes of a vision tower."""
    own = dict(zip(SMALL_VISION, (hidden, ffn, layers, heads), strict=True))
    return {**(SMALL_VISION if small else own), **sizes}


def siglip(small: bool, image: int, **more: Any) -> SiglipVisionConfig:
    """Return SigLIP so400m with patches of 14 pixels."""
    sizes = vision(small, 1152, 4304, 27, 16, image_size=image, patch_size=14)
    return SiglipVisionConfig(**sizes, vision_use_head=False, **more)


def smolvlm2(small: bool) -> SmolVLMConfig:
    """Return SmolVLM2-500M, an image of 512 pixels without tiles."""
    sizes = text(small, hidden=960, ffn=2560, layers=32, heads=15, key_heads=5, words=49280)
    return SmolVLMConfig(
        vision_config=vision(small, 768, 3072, 12, 12, image_size=512, patch_size=16),
        text_config=LlamaConfig(**sizes),
        scale_factor=4,
    )


def qwen(small: bool, **more: Any) -> dict[str, Any]:
    """Return what both generations of Qwen's tower share, without depth and width."""
    width = 64 if small else more.pop('width')
    more.pop('width', None)
    return {
        'depth': 2 if small else more.pop('depth'),
        'hidden_size': width,
        'intermediate_size': 128 if small else more.pop('ffn'),
        'num_heads': 4 if small else 16,
        'out_hidden_size': 64 if small else 2048,
        **{k: v for k, v in more.items() if k not in ('depth', 'ffn')},
    }


def qwen2_5_vl(small: bool) -> Qwen2_5_VLConfig:
    """Return Qwen2.5-VL-3B, the model of NORA."""
    rope = {
        'rope_type': 'default',
        'rope_theta': 1e6,
        'mrope_section': [2, 3, 3] if small else [16, 24, 24],
    }
    sizes = text(small, hidden=2048, ffn=11008, layers=36, heads=16, key_heads=2, words=151936)
    return Qwen2_5_VLConfig(
        vision_config=qwen(
            small,
            width=1280,
            depth=32,
            ffn=3420,
            patch_size=14,
            window_size=112,
            fullatt_block_indexes=[1] if small else [7, 15, 23, 31],
        ),
        text_config={**sizes, 'rope_parameters': rope},
        tie_word_embeddings=True,
    )


def qwen3_vl(small: bool) -> Qwen3VLConfig:
    """Return Qwen3-VL-2B, with features for three layers of the decoder."""
    rope = {
        'rope_type': 'default',
        'rope_theta': 5e6,
        'mrope_section': [3, 3, 2] if small else [24, 20, 20],
    }
    sizes = text(
        small, hidden=2048, ffn=6144, layers=28, heads=16, key_heads=8, words=151936, head_dim=128
    )
    return Qwen3VLConfig(
        vision_config=qwen(
            small,
            width=1024,
            depth=24,
            ffn=4096,
            patch_size=16,
            num_position_embeddings=2304,
            deepstack_visual_indexes=[0, 1] if small else [5, 11, 17],
        ),
        text_config={**sizes, 'rope_parameters': rope},
    )


def paligemma(small: bool) -> PaliGemmaConfig:
    """Return PaliGemma-3B at 224 pixels."""
    return of_gemma(GemmaConfig, small, hidden=2048, ffn=16384, layers=18, key_heads=1)


def paligemma2(small: bool) -> PaliGemmaConfig:
    """Return PaliGemma 2-3B at 224 pixels."""
    return of_gemma(Gemma2Config, small, hidden=2304, ffn=9216, layers=26, key_heads=4)


def of_gemma(kind: Callable[..., Any], small: bool, **given: int) -> PaliGemmaConfig:
    """Return a PaliGemma around a decoder of this kind."""
    sizes = text(small, heads=8, words=257216, head_dim=256, **given)
    width = sizes['hidden_size']
    return PaliGemmaConfig(
        vision_config=siglip(small, 224, projection_dim=width),
        text_config=kind(**sizes),
        projection_dim=width,
    )


def gemma3(small: bool) -> Gemma3Config:
    """Return Gemma 3-4B, an image of 896 pixels without crops."""
    sizes = text(
        small, hidden=2560, ffn=10240, layers=34, heads=8, key_heads=4, words=262208, head_dim=256
    )
    return Gemma3Config(
        vision_config=siglip(small, 896),
        text_config=Gemma3TextConfig(**sizes, sliding_window=1024),
        mm_tokens_per_image=256,
    )


def behind_clip(small: bool, decoder: Any) -> LlavaConfig:
    """Return a decoder that reads CLIP ViT-L at 336 pixels, as LLaVA-1.5 does."""
    sizes = vision(small, 1024, 4096, 24, 16, image_size=336, patch_size=14)
    return LlavaConfig(vision_config=CLIPVisionConfig(**sizes), text_config=decoder)


def llava(small: bool) -> LlavaConfig:
    """Return LLaVA-1.5-7B."""
    sizes = text(small, hidden=4096, ffn=11008, layers=32, heads=32, key_heads=32, words=32064)
    return behind_clip(small, LlamaConfig(**sizes))


def openflamingo(small: bool) -> LlavaConfig:
    """Return a Llama of as many layers and channels as the MPT-1B of OpenFlamingo-3B, from memory.

    It stands behind CLIP, without the layers of cross-attention in between.
    """
    sizes = text(small, hidden=2048, ffn=5461, layers=24, heads=16, key_heads=16, words=50434)
    return behind_clip(small, LlamaConfig(**sizes))


def behind_siglip(small: bool) -> LlavaConfig:
    """Return the Llama of OpenVLA-7B behind the second of its towers, without DINOv2."""
    return LlavaConfig(
        vision_config=siglip(small, 224),
        text_config=openvla_text(small),
        vision_feature_layer=-2,
        vision_feature_select_strategy='full',
    )


def florence2(small: bool) -> Florence2Config:
    """Return Florence-2-large at 224 pixels, without its decoder."""
    sizes = {'d_model': 1024, 'encoder_layers': 12, 'encoder_attention_heads': 16}
    sizes |= {'encoder_ffn_dim': 4096, 'vocab_size': 51289, 'max_position_embeddings': 4096}
    tower: dict[str, Any] = {'embed_dim': (256, 512, 1024, 2048), 'num_heads': (8, 16, 32, 64)}
    tower |= {'num_groups': (8, 16, 32, 64), 'projection_dim': 1024}
    if small:
        sizes |= {'d_model': 64, 'encoder_layers': 3, 'encoder_attention_heads': 4}
        sizes |= {'encoder_ffn_dim': 128, 'vocab_size': 512}
        tower = {'embed_dim': (16, 32, 32, 64), 'num_heads': (2, 2, 4, 4)}
        tower |= {'num_groups': (2, 2, 4, 4), 'projection_dim': 64}
    decoder = {'decoder_layers': 0, 'decoder_attention_heads': 4, 'dropout': 0.0}
    return Florence2Config(vision_config=tower, text_config=BartConfig(**sizes, **decoder))


def tinyvla(small: bool) -> LlavaConfig:
    """Return TinyVLA-H's Llava-Pythia-1.3B: Pythia-1.4B behind a tower of CLIP.

    Its configuration allows SigLIP as well; that the tower is ViT-L at 336 pixels is from memory.
    """
    sizes = text(small, hidden=2048, ffn=8192, layers=24, heads=16, key_heads=16, words=50304)
    sizes.pop('num_key_value_heads')
    return behind_clip(small, GPTNeoXConfig(**sizes, rotary_pct=0.25))


def robomamba(small: bool) -> LlavaConfig:
    """Return RoboMamba: Mamba-2.8B behind CLIP; the side of its image is from memory."""
    sizes = {'hidden_size': 2560, 'num_hidden_layers': 64, 'vocab_size': 50280}
    if small:
        sizes = {name: SMALL_TEXT[name] for name in sizes}
    return behind_clip(small, MambaConfig(**sizes))


def openvla_text(small: bool) -> LlamaConfig:
    """Return the language model of OpenVLA-7B."""
    return LlamaConfig(
        **text(small, hidden=4096, ffn=11008, layers=32, heads=32, key_heads=32, words=32064)
    )


def openvla_towers(small: bool) -> tuple[VitShape, VitShape]:
    """Return DINOv2 ViT-L and SigLIP so400m at 224 pixels, one block of each not walked."""
    sizes = ((64, 2, 4, 128), (64, 2, 4, 128))
    first, second = sizes if small else ((1024, 23, 16, 4096), (1152, 26, 16, 4304))
    return VitShape(*first, 14, 256, 5, True), VitShape(*second, 14, 256, 0, False)


MODELS: Mapping[str, tuple[Callable[[bool], Any], int]] = {
    'SmolVLM2-500M': (smolvlm2, 512),
    'Qwen2.5-VL-3B': (qwen2_5_vl, 224),
    'Qwen3-VL-2B': (qwen3_vl, 256),
    'PaliGemma-3B': (paligemma, 224),
    'PaliGemma2-3B': (paligemma2, 224),
    'Gemma3-4B': (gemma3, 896),
    'LLaVA-1.5-7B': (llava, 336),
    'TinyVLA-H': (tinyvla, 336),
    'RoboMamba-2.8B': (robomamba, 336),
}
"""Name -> its configuration, and the side of its image [pixels]."""
