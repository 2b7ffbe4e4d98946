# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keys and values of a prefix, and the hooks that two threads have on the same layers."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

from efficient_vla.attention import Hook, KeyValues, attention_with_hooks, hooked
from efficient_vla.lerobot.vlm import PrefixDecoder
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.fused import FusedLayer, KeysValuesLayer
from efficient_vla.reasoning.prefix import Markers, Prefix

WIDTH, DEPTH = 32, 3
CONFIG = LlamaConfig(
    hidden_size=WIDTH,
    intermediate_size=48,
    num_hidden_layers=DEPTH,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=8,
)


def decoders():
    """Return a stock decoder, and one of the same weights whose last layer ends at the values."""
    torch.manual_seed(0)
    stock = [LlamaDecoderLayer(CONFIG, n).requires_grad_(False).eval() for n in range(DEPTH)]
    rotary = LlamaRotaryEmbedding(CONFIG)
    short = [*map(FusedLayer, stock[:-1]), KeysValuesLayer.of_stock(stock[-1])]
    whole = list(map(FusedLayer, stock))
    return [PrefixDecoder(CONFIG, layers, rotary) for layers in (whole, short)]


def words(ids):
    return torch.arange(WIDTH)[None].sin() * (1.0 + ids[:, None])


def made(decoder, markers=None):
    torch.manual_seed(1)
    return Prefix(decoder, words, nn.Linear(6, WIDTH).requires_grad_(False), markers)


def given(count=5):
    draw = torch.Generator().manual_seed(2)
    visual = torch.randn(count, WIDTH, generator=draw)
    camera = np.arange(count) // 3
    return visual, camera, torch.tensor([3, 1]), torch.randn(1, 4, generator=draw)


def test_the_last_layer_gives_the_keys_and_values_of_a_whole_one():
    whole, short = (made(decoder)(*given())[0] for decoder in decoders())
    assert len(short.keys) == DEPTH
    for found, expected in zip(short.keys + short.values, whole.keys + whole.values, strict=True):
        assert torch.equal(found, expected)


def test_the_state_sees_all_and_is_seen_by_itself_alone():
    prefix = made(decoders()[1])
    sequence = prefix.sequence(*given())
    mask = sequence.mask[0, 0]
    assert mask[-1].all()
    assert not mask[:-1, -1].any()
    assert mask[:-1, :-1].all()
    assert (sequence.visual.tolist(), sequence.text.tolist()) == ([0, 1, 2, 3, 4], [5, 6])


def test_markers_stand_around_each_camera_and_for_those_that_are_missing():
    before, after = torch.full((2, WIDTH), 7.0), torch.full((1, WIDTH), 9.0)
    prefix = made(decoders()[1], Markers(before, after, cameras=4, blanks=1))
    sequence = prefix.sequence(*given())
    rows = sequence.embeddings[0]
    assert sequence.visual.tolist() == [2, 3, 4, 8, 9]
    assert torch.equal(rows[sequence.visual], given()[0])
    # Two cameras are there, one of the two others is a blank: before, after; then words and state.
    assert rows[:, 0].eq(7.0).nonzero()[:, 0].tolist() == [0, 1, 6, 7, 11, 12]
    assert rows[:, 0].eq(9.0).nonzero()[:, 0].tolist() == [5, 10, 13]
    assert len(rows) == 5 + 3 * 3 + 2 + 1


def test_a_state_is_renewed_in_layers_of_different_lengths():
    class Drop:
        layers, scored, outputs = frozenset({1}), frozenset(), frozenset()

        def choose(self, entering: runner.LayerInput) -> torch.Tensor:
            return torch.tensor([0, 3])

    prefix, (visual, camera, ids, state) = made(decoders()[1]), given()
    newer = state + 1.0
    cache, _ = prefix(visual, camera, ids, state, Drop())
    expected, _ = prefix(visual, camera, ids, newer, Drop())
    found = cache.renewed(newer)
    assert [part.shape[2] for part in found.keys] == [8, 5, 5]
    assert (found.length, found.state) == (8, newer)
    for one, other in zip(found.keys + found.values, expected.keys + expected.values, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_slots_that_a_later_frame_writes_to_are_not_handed_out():
    prefix, frame = made(decoders()[1]), given()
    reuse = runner.Reuse([KeyValues(8) for _ in prefix.parts.layers])
    cache, _ = prefix(*frame, None, reuse)
    kept = [part.clone() for part in cache.keys]
    prefix(frame[0] + 1.0, *frame[1:], None, runner.Reuse(reuse.slots, {0: torch.tensor([1, 2])}))
    assert all(map(torch.equal, kept, cache.keys))
    assert not torch.equal(reuse.slots[0].keys, kept[0])


def test_a_hook_is_that_of_its_thread():
    module = nn.Module()
    module.is_causal, module.num_key_value_groups = False, 1
    draw = torch.randn(3, 1, 1, 4, 8)
    inside, leave = threading.Event(), threading.Event()
    mine, other = (Hook(keep_output=True, slots=None) for _ in range(2))

    def elsewhere() -> None:
        with hooked(module, other):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert inside.wait(10)
    with hooked(module, mine):
        attention_with_hooks(module, *draw, None)
    attention_with_hooks(module, *draw, None)
    leave.set()
    thread.join()
    assert (len(mine.output), len(other.output)) == (4, 0)


@pytest.mark.parametrize('rows', [[0], [2, 0]])
def test_slots_take_rows_of_a_module_that_does_not_attend(rows):
    layer = decoders()[1].layers[-1]
    cos, sin = torch.ones(1, 1, len(rows), 8), torch.zeros(1, 1, len(rows), 8)
    slots = KeyValues(3)
    hidden = torch.randn(1, len(rows), WIDTH)
    with hooked(layer.self_attn, Hook(slots=slots, rows=torch.tensor(rows))):
        assert layer(hidden, None, (cos, sin)) is hidden
    expected = layer.enter.kv(layer.enter.norm(hidden))[0, :, :8]
    assert torch.equal(slots.keys[0, 0, rows], expected)


def test_layers_left_out_of_a_prefix_give_keys_and_values_of_what_enters_them():
    decoder = decoders()[1]
    prefix, dense = made(decoder), made(decoders()[1])
    prefix.keep_layers((0,))
    assert isinstance(decoder.layers[1], KeysValuesLayer)
    cache, expected = prefix(*given())[0], dense(*given())[0]
    first = dense.parts.layers[0]
    for found, whole in zip(
        (cache.keys[0], cache.values[0]), (expected.keys[0], expected.values[0]), strict=True
    ):
        torch.testing.assert_close(found, whole)
    # The second layer's values are linear in what leaves the first one.
    sequence = dense.sequence(*given())
    rotary = dense.parts.rotary(sequence.embeddings, sequence.positions)
    states = first(sequence.embeddings, sequence.mask, next(iter(rotary.values())))
    second = dense.parts.layers[1]
    values = second.enter.qkv(second.enter.norm(states))[..., -16:]
    torch.testing.assert_close(cache.values[1][0].transpose(0, 1).flatten(1), values[0])
    assert not torch.allclose(cache.values[2], expected.values[2], atol=1e-3)


def test_identity_a_prefix_that_keeps_all_layers_is_dense():
    prefix, dense = made(decoders()[1]), made(decoders()[1])
    prefix.keep_layers(tuple(range(DEPTH)))
    for found, whole in zip(prefix(*given())[0].values, dense(*given())[0].values, strict=True):
        torch.testing.assert_close(found, whole)
