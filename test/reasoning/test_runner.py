# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The decoder runner gives what the stock models of transformers give, and drops what it says."""

import copy
import math
from dataclasses import dataclass

import pytest
import torch
from transformers import (
    AutoModel,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.qwen2_5_vl import Qwen2_5_VLTextConfig, Qwen2_5_VLTextModel
from transformers.models.qwen3_vl import Qwen3VLTextConfig, Qwen3VLTextModel

from efficient_vla.attention import KeyValues, rows_of_attention
from efficient_vla.compression.quantization import quantize
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.types import InvalidRecordError

WIDTH, DEPTH = 32, 4
SIZES = {
    'hidden_size': WIDTH,
    'intermediate_size': 48,
    'num_hidden_layers': DEPTH,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'vocab_size': 40,
    'initializer_range': 0.1,
}
LEAD, VISUAL, TEXT = 2, 9, 4
LENGTH = LEAD + VISUAL + TEXT
EXACT = {'atol': 1e-5, 'rtol': 0}


def qwen_vl():
    rope = {'rope_type': 'default', 'rope_theta': 1e4, 'mrope_section': [1, 1, 2]}
    config = Qwen2_5_VLTextConfig(**SIZES, rope_parameters=rope)
    return Qwen2_5_VLTextModel._from_config(config)


def qwen3_vl():
    rope = {'rope_type': 'default', 'rope_theta': 1e4, 'mrope_section': [2, 1, 1]}
    config = Qwen3VLTextConfig(**SIZES, head_dim=8, rope_parameters=rope)
    return Qwen3VLTextModel._from_config(config)


def neox():
    sizes = {k: v for k, v in SIZES.items() if k != 'num_key_value_heads'}
    return AutoModel.from_config(GPTNeoXConfig(**sizes))


def mamba():
    return AutoModel.from_config(
        MambaConfig(hidden_size=WIDTH, num_hidden_layers=DEPTH, vocab_size=40, state_size=4)
    )


WINDOWS = {
    'qwen2': Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=4, max_window_layers=2),
    'qwen3': Qwen3Config(
        **SIZES,
        head_dim=8,
        use_sliding_window=True,
        sliding_window=4,
        layer_types=['full_attention', 'sliding_attention'] * 2,
    ),
    'gemma2': Gemma2Config(
        **SIZES,
        head_dim=8,
        query_pre_attn_scalar=20,
        sliding_window=4,
        attn_logit_softcapping=0.5,
    ),
    'gemma3': Gemma3TextConfig(
        **SIZES,
        head_dim=8,
        query_pre_attn_scalar=20,
        sliding_window=4,
        layer_types=['sliding_attention', 'full_attention'] * 2,
    ),
}
"""Decoders with a window in some layers."""
BY_KIND = ('qwen2', 'qwen2_5_vl_text', 'qwen3', 'gemma2', 'gemma3_text')
"""Types of transformers that are given one mask a kind of layer."""


ATTENDING = {
    'llama': lambda: AutoModel.from_config(LlamaConfig(**SIZES)),
    'qwen2': lambda: AutoModel.from_config(Qwen2Config(**SIZES)),
    'mistral': lambda: AutoModel.from_config(MistralConfig(**SIZES)),
    'gemma': lambda: AutoModel.from_config(GemmaConfig(**SIZES, head_dim=8)),
    'gpt_neox': neox,
    'qwen2_5_vl': qwen_vl,
    'qwen3_vl': qwen3_vl,
    'qwen3': lambda: AutoModel.from_config(copy.deepcopy(WINDOWS['qwen3'])),
    'gemma2': lambda: AutoModel.from_config(copy.deepcopy(WINDOWS['gemma2'])),
    'gemma3': lambda: AutoModel.from_config(copy.deepcopy(WINDOWS['gemma3'])),
}
ALL = {**ATTENDING, 'mamba': mamba}


@dataclass
class Case:
    model: torch.nn.Module
    decoder: Decoder
    sequence: runner.Sequence

    def stock(self, places=None, embeddings=None):
        """Return the stock forward over ``places`` with their positions and explicit mask."""
        places = torch.arange(LENGTH) if places is None else places
        embeddings = self.sequence.embeddings if embeddings is None else embeddings
        options = {'inputs_embeds': embeddings[:, places], 'use_cache': False}
        if self.decoder.has_attention:
            mask = self.sequence.mask[:, :, places][..., places]
            masks = {'full_attention': mask}
            window = getattr(self.model.config, 'sliding_window', None)
            if window:
                far = (places[:, None] - places >= window)[None]
                hidden = far if mask.dtype is torch.bool else torch.where(far, -torch.inf, 0.0)
                masks['sliding_attention'] = mask & ~far if hidden is far else mask + hidden
            by_kind = self.model.config.model_type in BY_KIND
            options |= {
                'attention_mask': masks if by_kind else mask,
                'position_ids': self.sequence.positions[..., places],
            }
        return self.model(**options).last_hidden_state


def make(name: str) -> Case:
    """Return a case of a family, 'paligemma' or, with fused layers, 'fused FAMILY'."""
    torch.manual_seed(0)
    family = name.removeprefix('fused ')
    bidirectional = family == 'paligemma'
    model = ALL['gemma' if bidirectional else family]().eval()
    with torch.no_grad():
        for vector in (weight for weight in model.parameters() if weight.ndim == 1):
            vector.add_(0.1 * torch.randn_like(vector))
    decoder = Decoder(model)
    if family != name:
        decoder = Decoder(copy.deepcopy(model))
        decoder.fuse()
    embeddings = torch.randn(1, LENGTH, WIDTH)
    positions = torch.arange(LENGTH)[None]
    if decoder.three_axes:
        grid = torch.stack([torch.zeros(9), torch.arange(9) // 3, torch.arange(9) % 3]).long()
        text = LEAD + 3 + torch.arange(TEXT)
        ahead = torch.arange(LEAD).expand(3, -1)
        positions = torch.cat([ahead, LEAD + grid, text.expand(3, -1)], 1)[:, None]
    mask = runner.causal_mask(torch.ones(1, LENGTH, dtype=torch.bool))
    if bidirectional:
        prefix = LENGTH - 2
        mask[:, :, :prefix, :prefix] = True
    place = torch.arange(LENGTH)
    visual, text = place[LEAD : LEAD + VISUAL], place[LEAD + VISUAL : -2]
    return Case(model, decoder, runner.Sequence(embeddings, positions, mask, visual, text))


FUSED = [f'fused {name}' for name in (*ATTENDING, 'paligemma') if name != 'gpt_neox']


@pytest.fixture(params=[*ALL, 'paligemma', *FUSED])
def case(request):
    return make(request.param)


@pytest.fixture(params=[*ATTENDING, 'paligemma', *FUSED])
def attending(request):
    return make(request.param)


class Fixed:
    """Keeps the given visual tokens at the given layers."""

    def __init__(self, chosen, scored=(), outputs=()):
        self.chosen = {layer: torch.tensor(kept) for layer, kept in chosen.items()}
        self.layers = frozenset(chosen)
        self.scored, self.outputs = frozenset(scored), frozenset(outputs)
        self.entered = []

    def choose(self, entering):
        self.entered.append(entering)
        return torch.isin(entering.remaining, self.chosen[entering.layer]).nonzero()[:, 0]


@torch.inference_mode()
def test_identity_without_drop_is_the_stock_forward(case):
    result = runner.run(case.decoder, case.sequence)
    torch.testing.assert_close(result.hidden, case.stock(), **EXACT)
    assert result.rows.tolist() == list(range(LENGTH))


@torch.inference_mode()
@pytest.mark.parametrize('layer', [0, 2])
def test_identity_keeping_all_tokens_is_dense(case, layer):
    dense = runner.run(case.decoder, case.sequence)
    ours = runner.run(case.decoder, case.sequence, Fixed({layer: list(range(VISUAL))}))
    assert torch.equal(ours.hidden, dense.hidden)


@torch.inference_mode()
def test_kept_tokens_before_layer_0_are_the_stock_forward_of_those_tokens(case):
    kept = [0, 3, 4, 8]
    result = runner.run(case.decoder, case.sequence, Fixed({0: kept}))
    places = torch.cat([torch.arange(LEAD), LEAD + torch.tensor(kept), torch.arange(11, LENGTH)])
    assert result.rows.tolist() == places.tolist()
    torch.testing.assert_close(result.hidden, case.stock(places), **EXACT)


@torch.inference_mode()
def test_drop_after_layer_2_is_two_stock_layers_then_the_rest_of_those_tokens(case):
    kept = [1, 2, 7]
    result = runner.run(case.decoder, case.sequence, Fixed({2: kept}))
    places = torch.cat([torch.arange(LEAD), LEAD + torch.tensor(kept), torch.arange(11, LENGTH)])
    layers = case.model.layers
    case.model.layers = layers[:2]
    entered = []
    norm = getattr(case.model, case.decoder.family.norm)
    remember = norm.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    case.stock()
    remember.remove()
    case.model.layers = layers[2:]
    case.model.config.num_hidden_layers = 2
    torch.testing.assert_close(result.hidden, case.stock(places, entered[0]), **EXACT)
    assert result.kept.tolist() == kept


@torch.inference_mode()
def test_a_second_drop_chooses_among_what_the_first_left(attending):
    selection = Fixed({1: [0, 2, 4, 6], 3: [2, 6]}, scored=[0, 2])
    result = runner.run(attending.decoder, attending.sequence, selection)
    assert result.kept.tolist() == [2, 6]
    assert [seen.remaining.tolist() for seen in selection.entered] == [
        list(range(VISUAL)),
        [0, 2, 4, 6],
    ]
    assert selection.entered[1].attention.shape == (1, 2, 4)


@torch.inference_mode()
def test_identity_reusing_an_unchanged_frame_is_the_full_forward(attending):
    slots = [KeyValues(LENGTH) for _ in range(DEPTH)]
    full = runner.run(attending.decoder, attending.sequence, reuse=runner.Reuse(slots))
    torch.testing.assert_close(full.hidden, attending.stock(), **EXACT)
    reuse = runner.Reuse(slots, {0: torch.tensor([0, 1, 5]), 2: torch.tensor([0, 1, 4, 5, 7])})
    again = runner.run(attending.decoder, attending.sequence, reuse=reuse)
    assert again.computed.tolist() == [2, 3, 6, 8]
    assert again.kept.tolist() == list(range(VISUAL))
    torch.testing.assert_close(again.hidden, full.hidden[:, again.rows], **EXACT)


@torch.inference_mode()
def test_identity_reusing_nothing_is_dense(attending):
    slots = [KeyValues(LENGTH) for _ in range(DEPTH)]
    first = runner.run(attending.decoder, attending.sequence, reuse=runner.Reuse(slots))
    second = runner.run(attending.decoder, attending.sequence, reuse=runner.Reuse(slots))
    dense = runner.run(attending.decoder, attending.sequence)
    assert torch.equal(first.hidden, dense.hidden)
    assert torch.equal(second.hidden, dense.hidden)


@torch.inference_mode()
def test_reuse_behind_a_changed_token_is_stale_exactly_where_it_was_skipped():
    """Against the stock layers, run by hand with stale keys and values of token 5."""
    case = make('llama')
    slots = [KeyValues(LENGTH) for _ in range(DEPTH)]
    runner.run(case.decoder, case.sequence, reuse=runner.Reuse(slots))
    stale = [(kv.keys.clone(), kv.values.clone()) for kv in slots]
    case.sequence.embeddings = case.sequence.embeddings.clone()
    case.sequence.embeddings[:, LEAD + 1] += 1.0
    ours = runner.run(
        case.decoder, case.sequence, reuse=runner.Reuse(slots, {0: torch.tensor([5])})
    )
    rows = torch.tensor([i for i in range(LENGTH) if i != LEAD + 5])
    expected = hand_run(case, rows, stale)
    torch.testing.assert_close(ours.hidden, expected, **EXACT)
    dense = runner.run(case.decoder, case.sequence)
    assert not torch.allclose(ours.hidden, dense.hidden[:, rows], atol=1e-4)


def hand_run(case, rows, stale, columns=slice(None)):
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    model, hidden = case.model, case.sequence.embeddings[:, rows]
    cos, sin = model.rotary_emb(hidden, position_ids=case.sequence.positions)
    cos, sin = cos[:, rows], sin[:, rows]
    for layer, (keys, values) in zip(model.layers, stale, strict=True):
        normed, module = layer.input_layernorm(hidden), layer.self_attn
        q, k, v = (
            project(normed).view(1, len(rows), -1, module.head_dim).transpose(1, 2)
            for project in (module.q_proj, module.k_proj, module.v_proj)
        )
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        keys[:, :, rows], values[:, :, rows] = k, v
        seen = keys[:, :, columns].repeat_interleave(2, 1)
        logits = q @ seen.transpose(-1, -2) * module.head_dim**-0.5
        logits = logits.masked_fill(~case.sequence.mask[:, :, rows][..., columns], float('-inf'))
        mixed = logits.softmax(-1) @ values[:, :, columns].repeat_interleave(2, 1)
        mixed = mixed.transpose(1, 2).flatten(2)
        hidden = hidden + module.o_proj(mixed)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return model.norm(hidden)


@torch.inference_mode()
def test_reuse_after_a_drop_leaves_the_dropped_tokens_out():
    case = make('llama')
    slots = [KeyValues(LENGTH) for _ in range(DEPTH)]
    runner.run(case.decoder, case.sequence, reuse=runner.Reuse(slots))
    stale = [(kv.keys.clone(), kv.values.clone()) for kv in slots]
    kept = [0, 3, 4, 8]
    reuse = runner.Reuse(slots, {0: torch.tensor([3, 5])})
    ours = runner.run(case.decoder, case.sequence, Fixed({0: kept}), reuse)
    assert ours.kept.tolist() == kept
    assert ours.computed.tolist() == [0, 4, 8]
    # With the slots of an unchanged frame that is the stock forward of the kept tokens, but for
    # token 3, whose keys and values are those of the whole frame.
    columns = torch.cat([torch.arange(LEAD), LEAD + torch.tensor(kept), torch.arange(11, LENGTH)])
    rows = columns[columns != LEAD + 3]
    expected = hand_run(case, rows, stale, columns)
    torch.testing.assert_close(ours.hidden, expected, **EXACT)
    assert not torch.allclose(ours.hidden, hand_run(case, rows, stale), atol=1e-4)


@torch.inference_mode()
def test_a_selection_is_told_the_attention_of_the_eager_kernel(attending):
    selection = Fixed({2: list(range(VISUAL))}, scored=[1], outputs=[1])
    result = runner.run(attending.decoder, attending.sequence, selection, observe=[1])
    entering = selection.entered[0]
    attending.model.config._attn_implementation = 'eager'
    bias = torch.zeros(attending.sequence.mask.shape).masked_fill(
        ~attending.sequence.mask, float('-inf')
    )
    attending.sequence.mask, kept = bias, attending.sequence.mask
    captured = []
    module = attending.decoder.attention(attending.model.layers[1])
    hook = module.register_forward_hook(lambda m, i, out: captured.append(out[1]))
    leaving = module.dense if hasattr(module, 'dense') else module.o_proj
    projected = leaving.register_forward_pre_hook(lambda m, i: captured.append(i[0]))
    attending.stock()
    hook.remove()
    projected.remove()
    attending.sequence.mask = kept
    output, eager = captured[0][0], captured[1].mean(1)[0]
    visual, text = attending.sequence.visual, attending.sequence.text
    torch.testing.assert_close(entering.attention[0], eager[text][:, visual], **EXACT)
    torch.testing.assert_close(entering.last, eager[-1][visual], **EXACT)
    torch.testing.assert_close(entering.output, output[visual], **EXACT)
    surprise = [-sum(p * math.log(p) for p in row if p > 0) for row in eager[text].tolist()]
    assert result.entropy[1] == pytest.approx(sum(surprise) / len(surprise), abs=1e-4)


@torch.inference_mode()
def test_observed_scores_are_unknown_where_a_token_was_dropped():
    case = make('llama')
    result = runner.run(case.decoder, case.sequence, Fixed({1: [2, 5]}), observe=[0, 3])
    assert not result.scores[0].isnan().any()
    assert result.scores[3].isnan().all(0).nonzero()[:, 0].tolist() == [0, 1, 3, 4, 6, 7, 8]
    assert result.entropy[3] > 0


def test_rows_of_attention_by_hand():
    """Two heads that share one key head; row 1 sees two columns of three."""
    query = torch.tensor([[[[9.0], [1.0]], [[9.0], [0.0]]]])
    key = torch.tensor([[[[0.0], [2.0], [5.0]]]])
    mask = torch.tensor([[[[True, True, True], [True, True, False]]]])
    row = rows_of_attention(query, key, mask, torch.tensor([1]), 1.0)
    first = torch.tensor([0.0, 2.0]).softmax(0)
    expected = torch.tensor([(first[0] + 0.5) / 2, (first[1] + 0.5) / 2, 0.0])
    torch.testing.assert_close(row[0, 0], expected)


@torch.inference_mode()
def test_projections_without_rotary_are_those_of_the_layer(attending):
    layer = attending.decoder.layers[0]
    hidden = torch.randn(3, WIDTH)
    q, k = attending.decoder.project(layer, hidden, hidden[:2])
    heads = 4 if hasattr(attending.decoder.attention(layer), 'query_key_value') else 2
    assert q.shape == (3, 4, 8)
    assert k.shape == (2, heads, 8)
    # Rotary embedding at position 0 changes nothing, so a pass shows the same keys there.
    slots = [KeyValues(1) for _ in range(DEPTH)]
    alone = runner.Sequence(
        hidden[None, :1],
        torch.zeros(1, 1, dtype=torch.int64),
        torch.ones(1, 1, 1, 1, dtype=torch.bool),
        torch.arange(1),
        torch.arange(0),
    )
    runner.run(attending.decoder, alone, reuse=runner.Reuse(slots))
    torch.testing.assert_close(slots[0].keys[0, :, 0], k[0], **EXACT)


@pytest.mark.parametrize('family', ['gpt_neox', 'mamba'])
def test_a_layout_without_fused_layers_keeps_its_own(family):
    decoder = make(family).decoder
    before = list(decoder.layers)
    decoder.fuse()
    assert list(decoder.layers) == before


@torch.inference_mode()
@pytest.mark.parametrize('mode', ['bf16', 'int8_dynamic', 'int8_weight'])
def test_fused_layers_take_reduced_formats(mode):
    case, exact = make('fused qwen2'), make('qwen2').stock()
    case.decoder.model = quantize(case.decoder.model, mode)
    case.sequence.embeddings = case.sequence.embeddings.to(case.decoder.dtype)
    ours = runner.run(case.decoder, case.sequence).hidden.float()
    assert 0 < (ours - exact).norm() / exact.norm() < 0.05
    hidden = torch.randn(3, WIDTH)
    q, k = case.decoder.project(case.decoder.layers[0], hidden, hidden)
    stock = make('qwen2').decoder
    for mine, full in zip((q, k), stock.project(stock.layers[0], hidden, hidden), strict=True):
        assert (mine - full).norm() / full.norm() < 0.05


def test_an_unknown_family_is_refused():
    model = AutoModel.from_config(
        OPTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            ffn_dim=16,
            num_attention_heads=2,
            word_embed_proj_dim=16,
            vocab_size=20,
        )
    )
    with pytest.raises(InvalidRecordError, match=r'opt.*llama'):
        Decoder(model)


def test_a_decoder_that_sees_both_ways_is_refused():
    config = GemmaConfig(**SIZES, head_dim=16, use_bidirectional_attention=True)
    with pytest.raises(InvalidRecordError, match='use_bidirectional_attention; expected one whose'):
        Decoder(AutoModel.from_config(config))


def test_layers_of_another_kind_are_refused():
    config = LlamaConfig(**SIZES)
    config.layer_types = ['full_attention', 'chunked_attention'] * 2
    with pytest.raises(InvalidRecordError, match='type chunked_attention; expected full_attention'):
        Decoder(AutoModel.from_config(config))


@pytest.mark.parametrize('window', [1, 4, 64, None])
@torch.inference_mode()
def test_a_window_of_the_decoder_hides_what_lies_further_back(window):
    torch.manual_seed(0)
    model = AutoModel.from_config(MistralConfig(**SIZES, sliding_window=window)).eval()
    embeddings = torch.randn(1, LENGTH, WIDTH)
    stock = model(inputs_embeds=embeddings).last_hidden_state
    place = torch.arange(LENGTH)
    mask = runner.causal_mask(torch.ones(1, LENGTH, dtype=torch.bool))
    sequence = runner.Sequence(embeddings, place[None], mask, place[2:9], place[9:])
    result = runner.run(Decoder(model), sequence)
    torch.testing.assert_close(result.hidden, stock, **EXACT)


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('family', WINDOWS)
@torch.inference_mode()
def test_layers_of_two_kinds_are_those_of_the_eager_stock_model(family, fused):
    """The stock model makes masks, rotary embeddings and caps by itself."""
    torch.manual_seed(0)
    model = AutoModel.from_config(
        copy.deepcopy(WINDOWS[family]), attn_implementation='eager'
    ).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    embeddings = torch.randn(1, LENGTH, WIDTH)
    stock = model(inputs_embeds=embeddings).last_hidden_state
    everything = copy.deepcopy(model)
    everything.config.sliding_window = 64
    assert not torch.allclose(everything(inputs_embeds=embeddings).last_hidden_state, stock)
    decoder = Decoder(copy.deepcopy(model))
    if fused:
        decoder.fuse()
    place = torch.arange(LENGTH)
    mask = runner.causal_mask(torch.ones(1, LENGTH, dtype=torch.bool))
    sequence = runner.Sequence(embeddings, place[None], mask, place[2:9], place[9:])
    torch.testing.assert_close(runner.run(decoder, sequence).hidden, stock, **EXACT)


@torch.inference_mode()
def test_a_window_counts_what_was_dropped_in_between():
    """Token 0 is 4 positions before the first row behind it, and 1 place."""
    case = make('gemma2')
    case.decoder.model.config.layer_types = ['sliding_attention'] * DEPTH
    case.decoder.kinds = ('sliding_attention',) * DEPTH
    case.decoder.model.config.sliding_window = 4
    sequence = case.sequence
    kept = runner.run(case.decoder, sequence, Fixed({0: [0, 4]})).hidden
    sequence.embeddings = sequence.embeddings.clone()
    sequence.embeddings[:, LEAD] += 1.0
    other = runner.run(case.decoder, sequence, Fixed({0: [0, 4]})).hidden
    assert not torch.equal(other[:, LEAD], kept[:, LEAD])
    assert torch.equal(other[:, LEAD + 1 :], kept[:, LEAD + 1 :])


@torch.inference_mode()
def test_pairs_without_a_window_see_each_other_at_any_distance():
    case = make('gemma3')
    length = case.sequence.mask.shape[-1]
    case.sequence.unwindowed = torch.ones(1, 1, length, length, dtype=torch.bool)
    far = runner.run(case.decoder, case.sequence).hidden
    case.decoder.model.config.sliding_window = length
    case.sequence.unwindowed = None
    torch.testing.assert_close(far, runner.run(case.decoder, case.sequence).hidden, **EXACT)


@torch.inference_mode()
def test_what_is_added_after_early_layers_follows_its_tokens():
    """As the stock Qwen3-VL does it, of all tokens and of those that are kept."""
    case = make('qwen3_vl')
    added = torch.randn(2, 1, VISUAL, WIDTH)
    case.sequence.added = added
    for kept in (list(range(VISUAL)), [0, 3, 4, 8]):
        places = torch.cat(
            [torch.arange(LEAD), LEAD + torch.tensor(kept), torch.arange(11, LENGTH)]
        )
        seen = torch.isin(places, LEAD + torch.arange(VISUAL))[None]
        stock = case.model(
            inputs_embeds=case.sequence.embeddings[:, places],
            position_ids=case.sequence.positions[..., places],
            visual_pos_masks=seen,
            deepstack_visual_embeds=list(added[:, 0, kept]),
        ).last_hidden_state
        ours = runner.run(case.decoder, case.sequence, Fixed({0: kept}))
        torch.testing.assert_close(ours.hidden, stock, **EXACT)
