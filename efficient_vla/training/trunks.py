# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Trunks of the published kinds, in a size that learns from nothing; importing this loads no torch.

All stand behind the same vision tower and in front of the same heads, so that policies that are
trained on the same frames differ in the trunk alone. A layer has 12 numbers for each pair of
channels, or close to that, whatever the kind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TrunkSizes:
    """What kinds have in common."""

    width: int
    layers: int
    """Of 12 width x width numbers each."""
    words: int
    """Tokens of the vocabulary."""

    @property
    def heads(self) -> int:
        """Heads of 64 channels, or of 32 where the width asks for that."""
        return self.width // (64 if self.width % 64 == 0 else 32)

    @property
    def attending(self) -> dict[str, int]:
        """Return the sizes as most configurations of transformers name them."""
        return {
            'hidden_size': self.width,
            'intermediate_size': self.width * 8 // 3,
            'num_hidden_layers': self.layers,
            'num_attention_heads': self.heads,
            'num_key_value_heads': self.heads,
            'vocab_size': self.words,
            'max_position_embeddings': LONGEST,
        }


LONGEST = 512
"""Positions of a sequence."""
SPECIALS: Mapping[str, Any] = {'pad_token_id': 0, 'bos_token_id': None, 'eos_token_id': None}


def llama(sizes: TrunkSizes) -> dict[str, Any]:
    """Return a Llama, as in SmolVLM2 and LLaVA."""
    return {**sizes.attending, **SPECIALS}


def qwen2_5_vl(sizes: TrunkSizes) -> dict[str, Any]:
    """Return the decoder of Qwen2.5-VL: keys for all heads, positions of three axes (M-RoPE)."""
    half = sizes.width // sizes.heads // 2
    axes = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
    rope = {'rope_type': 'default', 'rope_theta': 1e4, 'mrope_section': axes}
    return {**sizes.attending, **SPECIALS, 'num_key_value_heads': 1, 'rope_parameters': rope}


def gpt_neox(sizes: TrunkSizes) -> dict[str, Any]:
    """Return a GPT-NeoX as Pythia has it: attention and feed-forward side by side."""
    named = {**sizes.attending, **SPECIALS, 'intermediate_size': 4 * sizes.width}
    named.pop('num_key_value_heads')
    rope = {'rope_type': 'default', 'rope_theta': 1e4, 'partial_rotary_factor': 0.25}
    return {**named, 'rope_parameters': rope}


def mamba(sizes: TrunkSizes) -> dict[str, Any]:
    """Return a Mamba of twice as many layers, each of which has half the numbers."""
    return {
        'hidden_size': sizes.width,
        'num_hidden_layers': 2 * sizes.layers,
        'vocab_size': sizes.words,
        **SPECIALS,
    }


def bart(sizes: TrunkSizes) -> dict[str, Any]:
    """Return the encoder of a BART, the language half of Florence-2; its decoder has no layers."""
    return {
        'd_model': sizes.width,
        'encoder_layers': sizes.layers,
        'decoder_layers': 0,
        'encoder_attention_heads': sizes.heads,
        'decoder_attention_heads': sizes.heads,
        'encoder_ffn_dim': 4 * sizes.width,
        'decoder_ffn_dim': 4 * sizes.width,
        'vocab_size': sizes.words,
        'max_position_embeddings': LONGEST,
        'dropout': 0.0,
        **SPECIALS,
    }


@dataclass(frozen=True, slots=True)
class TrunkKind:
    """One kind of trunk."""

    about: str
    config: Callable[[TrunkSizes], dict[str, Any]]
    """TrunkSizes -> what the configuration of transformers is given."""
    model_type: str
    """Of that configuration."""


TRUNKS = {
    'llama': TrunkKind('causal, as in SmolVLA, OpenVLA, LCB and HiRT', llama, 'llama'),
    'gpt_neox': TrunkKind('causal, as in TinyVLA', gpt_neox, 'gpt_neox'),
    'qwen2_5_vl': TrunkKind('causal, as in NORA', qwen2_5_vl, 'qwen2_5_vl_text'),
    'mamba': TrunkKind('a state space, as in RoboMamba', mamba, 'mamba'),
    'bart': TrunkKind('an encoder that sees both ways, as in FLOWER', bart, 'bart'),
}
"""Name -> its kind."""
