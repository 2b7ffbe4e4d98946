# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a decoder says behind a prefix is what transformers says, also where layers have windows."""

import copy
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
)
from transformers.models.qwen2_5_vl import Qwen2_5_VLTextConfig, Qwen2_5_VLTextModel

from efficient_vla.reasoning import runner
from efficient_vla.reasoning.continuation import Continuation, LanguagePrefix
from efficient_vla.reasoning.decoders import Decoder

SIZES: dict[str, Any] = {
    'hidden_size': 32,
    'intermediate_size': 48,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'vocab_size': 40,
    'pad_token_id': 0,
}
MIXED = ['sliding_attention', 'full_attention'] * 2
GEMMA = {'head_dim': 8, 'query_pre_attn_scalar': 20, 'sliding_window': 4}
WINDOWS: dict[str, Any] = {
    'none': LlamaConfig(**SIZES),
    'all layers': MistralConfig(**SIZES, sliding_window=4),
    'some layers': Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=5, max_window_layers=2
    ),
    'gemma2': Gemma2Config(**SIZES, **GEMMA),
    'gemma3': Gemma3TextConfig(**SIZES, **GEMMA, layer_types=MIXED),
}
WORDS, SAID = 11, 8
EXACT = {'atol': 1e-4, 'rtol': 0}


class Fixed:
    """A selection that keeps some tokens before some layers."""

    scored = outputs = frozenset[int]()

    def __init__(self, kept: dict[int, list[int]]) -> None:
        self.kept, self.layers = kept, frozenset(kept)

    def choose(self, entering: runner.LayerInput) -> torch.Tensor:
        """Return the places of those to keep in what remains."""
        return torch.tensor(self.kept[entering.layer])


def loud(model: Any) -> Any:
    """Return a model whose tokens depend on all that it sees."""
    torch.manual_seed(1)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def made(window: str, **given: str) -> Any:
    return loud(AutoModelForCausalLM.from_config(copy.deepcopy(WINDOWS[window]), **given))


def sequence_of(decoder: Decoder, words: torch.Tensor) -> runner.Sequence:
    place = torch.arange(words.shape[1])
    mask = runner.causal_mask(torch.ones(words.shape, dtype=torch.bool))
    return runner.Sequence(decoder.embed(words), place[None], mask, place[1:7], place[7:])


def behind(decoder: Decoder, sequence: runner.Sequence, head: Any, kept: Any = None):
    slots, result = runner.run_keeping(decoder, sequence, kept)
    prefix = LanguagePrefix.of(decoder, slots, result, sequence.positions)
    return Continuation(decoder, prefix, result.hidden[0, -1], head, SAID, 0)


def one_by_one(line: Continuation) -> tuple[list[int], list[torch.Tensor]]:
    """Return the likeliest tokens, and the logits of their slots."""
    store, condition = line.store(1), line.condition(line.last)
    said, scores = [line.begin], []
    for slot in range(SAID):
        before = torch.tensor([said[-1:]])
        scores.append(line.logits(line.hidden(before, condition, slot, store))[0, -1])
        said.append(int(scores[-1].argmax()))
    return said[1:], scores


@pytest.mark.parametrize('window', WINDOWS)
@torch.inference_mode()
def test_what_follows_is_what_transformers_generates(window: str) -> None:
    stock, ours = made(window, attn_implementation='eager'), made(window)
    words = torch.randint(1, 40, (1, WORDS), generator=torch.Generator().manual_seed(0))
    expected = stock.generate(words, max_new_tokens=SAID, do_sample=False, eos_token_id=None)
    whole = stock(expected).logits[0, WORDS - 1 : -1]
    decoder = Decoder(ours.model)
    line = behind(decoder, sequence_of(decoder, words), ours.lm_head)
    said, scores = one_by_one(line)
    assert said == expected[0, WORDS:].tolist()
    cap = getattr(stock.config, 'final_logit_softcapping', None)
    found = torch.stack(scores)
    torch.testing.assert_close(cap * (found / cap).tanh() if cap else found, whole, **EXACT)
    # All slots in one pass, as decodings ask that guess.
    before = line.after_begin(torch.tensor([said]))
    together = line.logits(line.hidden(before, line.condition(line.last)))[0]
    torch.testing.assert_close(together, found, **EXACT)


@pytest.mark.parametrize('window', WINDOWS)
@torch.inference_mode()
def test_rows_that_were_dropped_still_count_for_the_window(window: str) -> None:
    model = made(window)
    decoder = Decoder(model.model)
    words = torch.randint(1, 40, (1, WORDS + SAID), generator=torch.Generator().manual_seed(2))
    kept = Fixed({0: [0, 2, 3, 5], 2: [1, 3]})
    whole = runner.run(decoder, sequence_of(decoder, words), kept).hidden[0, -SAID - 1 :]
    line = behind(decoder, sequence_of(decoder, words[:, :WORDS]), model.lm_head, kept)
    before = line.after_begin(torch.cat([words[:, WORDS:], words[:, :1]], 1))
    told = line.hidden(before, line.condition(line.last))[0]
    torch.testing.assert_close(told, whole, **EXACT)


@torch.inference_mode()
def test_positions_of_three_axes_tell_no_distance_and_places_do() -> None:
    """The stock model counts places, however far the axes of an image take positions."""
    rope = {'rope_type': 'default', 'rope_theta': 1e4, 'mrope_section': [1, 1, 2]}
    config = Qwen2_5_VLTextConfig(
        **SIZES, rope_parameters=rope, use_sliding_window=True, sliding_window=5, layer_types=MIXED
    )
    words = torch.randint(1, 40, (1, WORDS + SAID), generator=torch.Generator().manual_seed(3))
    model = loud(Qwen2_5_VLTextModel._from_config(config))
    grid = torch.stack([torch.zeros(6), torch.arange(6) // 3, torch.arange(6) % 3]).long()
    after = 4 + torch.arange(WORDS + SAID - 7)
    positions = torch.cat([torch.zeros(3, 1).long(), 1 + grid, after.expand(3, -1)], 1)[:, None]
    stock = loud(Qwen2_5_VLTextModel._from_config(config, attn_implementation='eager'))
    whole = stock(input_ids=words, position_ids=positions).last_hidden_state[0, WORDS - 1 :]
    decoder = Decoder(model)
    sequence = sequence_of(decoder, words[:, :WORDS])
    sequence.positions = positions[..., :WORDS]
    line = behind(decoder, sequence, None)
    before = line.after_begin(torch.cat([words[:, WORDS:], words[:, :1]], 1))
    torch.testing.assert_close(line.hidden(before, line.condition(line.last))[0], whole, **EXACT)
