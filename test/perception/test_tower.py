# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The walk through the stock layers, whole and in parts."""

import pytest
import torch
from torch.nn import functional as F
from vision_towers import FAMILIES, encoder, stem_tower, tower

from efficient_vla.perception.conv_stem import ConvStem
from efficient_vla.perception.tower import WholeTower


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def images(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def stock_tokens(family: str, walked: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    config, layer, skip = FAMILIES[family]
    model = encoder(config)
    output = model(pixel_values=pixels, output_hidden_states=True)
    hidden = output.last_hidden_state if layer is None else output.hidden_states[layer]
    return walked.connector(hidden[:, skip:])


@pytest.mark.parametrize('family', FAMILIES)
def test_identity_walk_equals_the_stock_forward(family):
    walked = tower(family)
    assert walked.can_update
    assert torch.allclose(walked(images()), stock_tokens(family, walked, images()), atol=1e-5)


@pytest.mark.parametrize('family', FAMILIES)
def test_identity_encode_of_one_camera_equals_the_stock_forward(family):
    walked, pixels = tower(family), images()
    memory = walked.encode(pixels[1], slots=True, scores=True)
    expected = stock_tokens(family, walked, pixels)[1]
    assert torch.allclose(walked.project(memory), expected, atol=1e-5)


@pytest.mark.parametrize('family', FAMILIES)
def test_identity_update_of_all_patches_equals_the_stock_forward(family):
    walked, (old, new) = tower(family), images()
    memory = walked.encode(old, slots=True, scores=False)
    walked.update(memory, new, torch.arange(64))
    expected = stock_tokens(family, walked, new[None])[0]
    assert torch.allclose(walked.project(memory), expected, atol=1e-5)


@pytest.mark.parametrize('family', FAMILIES)
def test_identity_update_without_a_change_changes_nothing(family):
    walked, (image, _) = tower(family), images()
    memory = walked.encode(image, slots=True, scores=True)
    before, saliency = walked.project(memory), walked.saliency(memory)
    change = walked.update(memory, image, torch.tensor([0, 9, 40]))
    assert change.max() < 1e-5
    assert torch.allclose(walked.project(memory), before, atol=1e-5)
    assert torch.allclose(walked.saliency(memory), saliency, atol=1e-6)


def test_update_equals_an_explicit_computation_with_stale_keys_and_values():
    walked = tower('siglip')
    old, new = images()
    rows = torch.tensor([2, 17, 18, 63])
    memory = walked.encode(old, slots=True, scores=True)
    change = walked.update(memory, new, rows)
    vision = walked.encoder

    def embed(image):
        patches = F.conv2d(
            image[None],
            vision.embeddings.patch_embedding.weight,
            vision.embeddings.patch_embedding.bias,
            stride=8,
        )
        return patches[0].flatten(1).T + vision.embeddings.position_embedding.weight

    def heads(projection, states):
        return projection(states).view(-1, 4, 8).transpose(0, 1)

    stale, fresh = embed(old), embed(new)[rows]
    old_attention = new_attention = torch.zeros(0)
    for layer in vision.encoder.layers:
        module = layer.self_attn
        keys, values = (
            heads(projection, layer.layer_norm1(stale))
            for projection in (module.k_proj, module.v_proj)
        )
        queries = heads(module.q_proj, layer.layer_norm1(stale))
        old_attention = (queries @ keys.transpose(1, 2) / 8**0.5).softmax(-1)
        stale_output = (old_attention @ values).transpose(0, 1).flatten(1)
        keys, values = keys.clone(), values.clone()
        keys[:, rows] = heads(module.k_proj, layer.layer_norm1(fresh))
        values[:, rows] = heads(module.v_proj, layer.layer_norm1(fresh))
        queries = heads(module.q_proj, layer.layer_norm1(fresh))
        new_attention = (queries @ keys.transpose(1, 2) / 8**0.5).softmax(-1)
        fresh_output = (new_attention @ values).transpose(0, 1).flatten(1)
        stale = stale + module.out_proj(stale_output)
        stale = stale + layer.mlp(layer.layer_norm2(stale))
        fresh = fresh + module.out_proj(fresh_output)
        fresh = fresh + layer.mlp(layer.layer_norm2(fresh))
    stale, fresh = vision.post_layernorm(stale), vision.post_layernorm(fresh)
    expected = stale.clone()
    expected[rows] = fresh
    assert torch.allclose(memory.hidden[0], expected, atol=1e-4)
    moved = (fresh - stale[rows]).norm(dim=1) / stale[rows].norm(dim=1)
    assert torch.allclose(change, moved, rtol=1e-3)
    attention = old_attention.mean(0)
    attention[rows] = new_attention.mean(0)
    assert torch.allclose(walked.saliency(memory), attention.mean(0), atol=1e-5)


@pytest.mark.parametrize('family', FAMILIES)
def test_saliency_sums_to_one_without_the_class_token(family):
    walked = tower(family)
    saliency = walked.saliency(walked.encode(images()[0], slots=False, scores=True))
    assert saliency.shape == (64,)
    assert saliency.sum() == pytest.approx(1.0, abs=1e-5)
    assert saliency.std() > 0


@pytest.mark.parametrize(
    'cells',
    [[0], [7], [63], [27], [27, 28, 36], [0, 63], [2, 27, 28, 36, 55, 56], list(range(64))],
    ids=str,
)
def test_identity_stem_of_some_cells_equals_those_of_the_whole_stem(cells):
    # In double precision, so that another blocking of the convolution does not show.
    stem = stem_tower()._stem.double()
    image, cell = images(1, 96)[0].double(), torch.tensor(cells)
    whole = stem(image[None])[0].flatten(1).T
    part = stem.cells(image, cell // 8, cell % 8)
    assert torch.allclose(part, whole[cell], atol=1e-12)


def test_stem_reaches_seven_pixels_before_and_four_after_its_cell():
    stem = ConvStem(8).eval()
    assert stem.reach == (7, 4)
    image = images(1, 96)
    whole = stem(image)
    for pixel, cell in ((12 * 4 - 7, 4), (12 * 5 + 3, 4)):
        changed = image.clone()
        changed[:, :, pixel] += 1
        assert not torch.equal(stem(changed)[:, :, cell], whole[:, :, cell])
    for pixel, cell in ((12 * 4 - 8, 4), (12 * 5 + 4, 4)):
        changed = image.clone()
        changed[:, :, pixel] += 1
        assert torch.equal(stem(changed)[:, :, cell], whole[:, :, cell])


def test_identity_folded_stem_equals_the_stem():
    walked, pixels = stem_tower(), images(2, 96)
    for norm in (m for m in walked.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    dense = walked(pixels)
    walked.fuse()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in walked.modules())
    assert torch.allclose(walked(pixels), dense, atol=1e-5)
    cells = torch.tensor([0, 9, 10, 63])
    part = walked._stem.cells(pixels[0], cells // 8, cells % 8)
    assert torch.allclose(part, walked._stem(pixels[:1])[0].flatten(1).T[cells], atol=1e-5)


def test_identity_update_with_a_convolutional_stem_equals_dense():
    walked, (old, new) = stem_tower(), images(2, 96)
    memory = walked.encode(old, slots=True, scores=False)
    walked.update(memory, new, torch.arange(64))
    assert torch.allclose(walked.project(memory), walked(new[None])[0], atol=1e-4)


def test_positions_follow_weights_that_are_loaded_later():
    walked, pixels = tower('siglip'), images()
    before = walked(pixels)
    weight = walked.encoder.embeddings.position_embedding.weight
    weight *= -1
    after = walked(pixels)
    assert not torch.allclose(before, after, atol=1e-2)
    expected = walked.connector(walked.encoder(pixel_values=pixels).last_hidden_state)
    assert torch.allclose(after, expected, atol=1e-5)


def test_encoder_of_an_unknown_type_runs_as_a_whole():
    walked = tower('siglip')
    walked.encoder.config.model_type = 'another'
    again = type(walked)(walked.encoder, walked.connector)
    assert not again.can_update
    assert torch.allclose(again(images()), walked(images()), atol=1e-5)


def test_training_reaches_all_weights_of_the_walk():
    walked = tower('smolvlm').train()
    with torch.enable_grad():
        walked(images()).square().mean().backward()
    assert all(weight.grad is not None for weight in walked.parameters())


def test_the_whole_tower_walks_although_an_engine_stands_for_it():
    walked = tower('siglip')
    pixels = images(1)
    whole = WholeTower(walked, pixels)
    expected = walked(pixels)
    walked.whole = whole  # as torch.compile, which calls what it was given
    torch.testing.assert_close(whole(pixels), expected)
    torch.testing.assert_close(walked(pixels), expected)
    at_once = torch.compile(whole, backend='eager', fullgraph=True)  # fails where it is in parts
    torch.testing.assert_close(at_once(pixels), expected)
