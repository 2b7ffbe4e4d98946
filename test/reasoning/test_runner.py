# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The decoder runner gives what the stock model of transformers gives, and drops what it says."""

import pytest
import torch
from transformers import AutoModel
from transformers import LlamaConfig
from transformers import MistralConfig
from transformers import Qwen2Config

from efficient_vla.reasoning import attention_scores
from efficient_vla.reasoning import runner

SIZES = {
    'hidden_size': 32,
    'intermediate_size': 48,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'vocab_size': 40,
}
FAMILIES = {'llama': LlamaConfig, 'qwen2': Qwen2Config, 'mistral': MistralConfig}
VISUAL, TEXT = 9, 4


@pytest.fixture(params=FAMILIES)
def decoder(request):
    torch.manual_seed(0)
    return AutoModel.from_config(FAMILIES[request.param](**SIZES)).eval()


def inputs():
    torch.manual_seed(1)
    embeddings = torch.randn(1, VISUAL + TEXT, SIZES['hidden_size'])
    positions = torch.arange(VISUAL + TEXT)[None]
    mask = runner.causal_mask(torch.ones(1, VISUAL + TEXT, dtype=torch.bool))
    return embeddings, positions, mask


@torch.inference_mode()
def test_identity_without_drop_is_the_stock_forward(decoder):
    embeddings, positions, mask = inputs()
    stock = decoder(inputs_embeds=embeddings, position_ids=positions).last_hidden_state
    ours, kept = runner.run(runner.prepare(decoder), embeddings, positions, mask, VISUAL)
    torch.testing.assert_close(ours, stock, atol=1e-5, rtol=0)
    assert kept.tolist() == list(range(VISUAL + TEXT))


@torch.inference_mode()
@pytest.mark.parametrize('method', ['fastv', 'uniform', 'random'])
def test_identity_keeping_all_tokens_is_dense(decoder, method):
    embeddings, positions, mask = inputs()
    runner.prepare(decoder)
    dense, _ = runner.run(decoder, embeddings, positions, mask, VISUAL)
    drop = runner.Drop(method, 2, VISUAL)
    ours, _ = runner.run(decoder, embeddings, positions, mask, VISUAL, drop, torch.Generator())
    assert torch.equal(ours, dense)


@torch.inference_mode()
def test_drop_before_layer_0_is_the_stock_forward_on_the_kept_tokens(decoder):
    embeddings, positions, mask = inputs()
    drop = runner.Drop('uniform', 0, 4)
    ours, kept = runner.run(runner.prepare(decoder), embeddings, positions, mask, VISUAL, drop)
    allowed = runner.causal_mask(torch.ones(1, len(kept), dtype=torch.bool))
    stock = decoder(
        inputs_embeds=embeddings[:, kept], position_ids=positions[:, kept], attention_mask=allowed
    ).last_hidden_state
    torch.testing.assert_close(ours, stock, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_drop_after_layer_k_leaves_earlier_layers_dense(decoder):
    embeddings, positions, mask = inputs()
    layer = 2
    ours, kept = runner.run(
        runner.prepare(decoder),
        embeddings,
        positions,
        mask,
        VISUAL,
        runner.Drop('uniform', layer, 3),
    )
    hidden = embeddings
    for index, block in enumerate(decoder.layers):
        if index == layer:
            hidden, positions = hidden[:, kept], positions[:, kept]
            mask = mask[:, :, kept][:, :, :, kept]
        rotary = decoder.rotary_emb(hidden, position_ids=positions)
        hidden = block(
            hidden, attention_mask=mask, position_ids=positions, position_embeddings=rotary
        )
    torch.testing.assert_close(ours, decoder.norm(hidden), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_scores_are_those_of_eager_attention(decoder):
    embeddings, positions, mask = inputs()
    decoder.config._attn_implementation = 'eager'
    eager = decoder(
        inputs_embeds=embeddings, position_ids=positions, output_attentions=True
    ).attentions[1]
    runner.prepare(decoder)
    with attention_scores.probing(decoder.layers[1].self_attn, slice(-2, None)) as probe:
        runner.run(decoder, embeddings, positions, mask, VISUAL)
    torch.testing.assert_close(probe.scores, eager[:, :, -2:].mean(1), atol=1e-5, rtol=0)


def test_padding_is_invisible():
    attend = torch.tensor([[True, False, True]])
    mask = runner.causal_mask(attend)[0, 0]
    assert mask.tolist() == [[True, False, False], [True, True, False], [True, False, True]]
