# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The towers in timm's names, against the formula written out, and pass by pass."""

import math

import pytest
import torch
from tiny_openvla import DEPTH, GRID, MLPS, PATCH, SIDE, WIDTHS, tensors
from torch.nn.functional import conv2d, gelu, layer_norm

from efficient_vla.openvla.vision import FusedTower, VitShape

HEADS = 16
SHAPES = tuple(
    VitShape(width, DEPTH - 1, HEADS, mlp, PATCH, GRID**2, leading, scaled)
    for width, mlp, leading, scaled in zip(WIDTHS, MLPS, (5, 0), (True, False), strict=True)
)


def reference_tower(w: dict[str, torch.Tensor], name: str, image: torch.Tensor) -> torch.Tensor:
    """Return the patches behind the second last block, [1, T, D], of an image [3, H, W]."""
    at = {key.removeprefix(f'{name}.'): v for key, v in w.items() if key.startswith(f'{name}.')}
    x = conv2d(image[None], at['patch_embed.proj.weight'], at['patch_embed.proj.bias'], PATCH)
    x = x[0].flatten(1).T + at['pos_embed'][0]
    leading = torch.zeros(0, x.shape[1])
    if 'cls_token' in at:
        leading = torch.cat([at['cls_token'][0], at['reg_token'][0]])
    x = torch.cat([leading, x])
    width = x.shape[1]
    for index in range(DEPTH - 1):
        block = {k.split('.', 2)[2]: v for k, v in at.items() if k.startswith(f'blocks.{index}.')}
        y = layer_norm(x, (width,), block['norm1.weight'], block['norm1.bias'], 1e-6)
        q, k, v = (y @ block['attn.qkv.weight'].T + block['attn.qkv.bias']).split(width, 1)
        heads = []
        for head in range(HEADS):
            part = slice(head * width // HEADS, (head + 1) * width // HEADS)
            weights = (q[:, part] @ k[:, part].T / math.sqrt(width / HEADS)).softmax(1)
            heads.append(weights @ v[:, part])
        y = torch.cat(heads, 1) @ block['attn.proj.weight'].T + block['attn.proj.bias']
        x = x + y * block.get('ls1.scale_factor', 1.0)
        y = layer_norm(x, (width,), block['norm2.weight'], block['norm2.bias'], 1e-6)
        y = gelu(y @ block['mlp.fc1.weight'].T + block['mlp.fc1.bias'])
        y = y @ block['mlp.fc2.weight'].T + block['mlp.fc2.bias']
        x = x + y * block.get('ls2.scale_factor', 1.0)
    return x[len(leading) :]


def reference_tokens(w: dict[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """Return the projected tokens [T, D] of one image [6, H, W]."""
    first = reference_tower(w, 'vision_backbone.featurizer', pixels[:3])
    second = reference_tower(w, 'vision_backbone.fused_featurizer', pixels[3:])
    x = torch.cat([first, second], 1)
    for name in ('fc1', 'fc2', 'fc3'):
        x = x @ w[f'projector.{name}.weight'].T + w[f'projector.{name}.bias']
        x = x if name == 'fc3' else gelu(x)
    return x


@pytest.fixture(scope='module')
def tower() -> FusedTower:
    made = tensors()
    tower = FusedTower(*SHAPES, 4 * sum(WIDTHS), made['projector.fc3.bias'].shape[0])
    own = {name.removeprefix('vision_backbone.'): value for name, value in made.items()}
    tower.load_state_dict({name: own[name] for name in tower.state_dict()})
    return tower.requires_grad_(False).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 6, SIDE, SIDE, generator=torch.Generator().manual_seed(7))


def test_tokens_are_those_of_the_formula(tower, images):
    expected = torch.stack([reference_tokens(tensors(), image) for image in images])
    assert (tower(images) - expected).abs().max() < 2e-6 * expected.abs().max()


def test_an_image_that_is_kept_gives_the_same_tokens(tower, images):
    memory = tower.encode(images[0], slots=True, scores=True)
    assert torch.allclose(tower.project(memory), tower(images[:1])[0], atol=1e-5)


def test_all_patches_again_are_a_pass_of_the_new_image(tower, images):
    memory = tower.encode(images[0], slots=True, scores=False)
    tower.update(memory, images[1], torch.arange(GRID**2))
    assert torch.allclose(tower.project(memory), tower(images[1:])[0], atol=1e-5)


def test_patches_that_are_not_computed_again_keep_their_states(tower, images):
    memory = tower.encode(images[0], slots=True, scores=False)
    before = [part.hidden.clone() for part in memory]
    patches = torch.tensor([1, 5])
    change = tower.update(memory, images[1], patches)
    rest = torch.ones(GRID**2, dtype=torch.bool)
    rest[patches] = False
    for part, old, leading in zip(memory, before, (5, 0), strict=True):
        assert torch.equal(part.hidden[0, leading:][rest], old[0, leading:][rest])
        assert not torch.isclose(part.hidden[0, leading:][patches], old[0, leading:][patches]).all()
    assert change.shape == (2,)
    assert (change > 0.01).all()


def test_an_unchanged_patch_reports_no_change(tower, images):
    memory = tower.encode(images[0], slots=True, scores=False)
    assert tower.update(memory, images[0], torch.tensor([0, 8])).max() < 1e-5


def test_saliency_is_the_attention_that_patches_receive(tower, images):
    memory = tower.encode(images[0], slots=False, scores=True)
    received = tower.saliency(memory)
    assert received.shape == (GRID**2,)
    assert received.sum() == pytest.approx(1.0, abs=1e-5)
    by_hand = []
    for part, leading in zip(memory, (5, 0), strict=True):
        assert part.attention.sum(1) == pytest.approx(torch.ones(len(part.attention)), abs=1e-5)
        share = part.attention.mean(0)[leading:]
        by_hand.append(share / share.sum())
    assert torch.allclose(received, (by_hand[0] + by_hand[1]) / 2)
