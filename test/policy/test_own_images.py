# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Tiles and rectangular grids: what the models' own processors and the whole models give."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image
from tiny_policy import CARD
from tiny_vlm_policy import SENTENCE, tokenizer_of, write_policy_beside
from transformers import AutoModelForImageTextToText
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from efficient_vla import checkpoint
from efficient_vla.assembly import load_perception, load_reasoner
from efficient_vla.errors import CheckpointError
from efficient_vla.image_processor import own_images
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts
from efficient_vla.prompts import TEMPLATES
from efficient_vla.reasoning.layout import arranged
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.words import prompt_words
from efficient_vla.settings import build
from efficient_vla.types import Frame, InvalidRecordError

WIDE, HIGH = (60, 90), (90, 60)
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


def noise(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return an image whose pixels differ from each other everywhere."""
    return np.random.default_rng(seed).integers(0, 255, (*shape, 3), np.uint8)


def cutter(longest: int = 96, tile: int = 32, split: bool = True, kind=SmolVLMImageProcessorPil):
    return kind(
        size={'longest_edge': longest},
        max_image_size={'longest_edge': tile},
        do_image_splitting=split,
        image_mean=MEAN,
        image_std=STD,
    )


def keeper(least: int = 16 * 16, most: int = 40 * 64, patch: int = 8):
    return Qwen2VLImageProcessorPil(
        patch_size=patch, min_pixels=least, max_pixels=most, image_mean=MEAN, image_std=STD
    )


def found_in(folder: Path, processor, kind: str, shape: tuple[int, ...]):
    processor.save_pretrained(folder)
    return own_images(folder, kind, shape)


SHAPES = ((60, 90), (90, 60), (64, 64), (17, 96), (33, 32), (480, 640), (100, 37), (16, 90))


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize(
    ('longest', 'tile', 'split'),
    [(96, 32, True), (70, 32, True), (35, 35, True), (30, 32, True), (96, 32, False)],
)
def test_tiles_are_those_of_the_processor(tmp_path, shape, longest, tile, split):
    kind = Idefics3ImageProcessorPil if longest == 70 else SmolVLMImageProcessorPil
    processor, image = cutter(longest, tile, split, kind), noise(shape)
    own = found_in(tmp_path, processor, 'smolvlm', shape)
    made = processor(
        Image.fromarray(image), do_normalize=False, do_rescale=False, return_row_col_info=True
    )
    assert own.cut.tiles == (made['rows'][0][0], made['cols'][0][0])
    stock = np.asarray(made['pixel_values'])[0].transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(np.stack(own.views(image)), stock)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize(('least', 'most'), [(256, 1 << 20), (256, 2560), (20_000, 40_000)])
def test_a_rectangle_is_that_of_the_processor(tmp_path, shape, least, most):
    processor = keeper(least, most)
    own = found_in(tmp_path, processor, 'qwen3_vl', shape)
    grid = processor(Image.fromarray(noise(shape)))['image_grid_thw'][0]
    assert own.cut.view == (8 * grid[1], 8 * grid[2])


PROCESSORS = {
    'smolvlm': cutter,
    'idefics3': lambda: cutter(kind=Idefics3ImageProcessorPil),
    'qwen2_5_vl': keeper,
    'qwen3_vl': keeper,
}
TOKENS = {'smolvlm': 7 * 4, 'idefics3': 7 * 4, 'qwen2_5_vl': 2 * 3, 'qwen3_vl': 2 * 3}


def inputs(kind: str, processor, images: list[np.ndarray]) -> dict:
    """Return what transformers makes of images and the sentence."""
    tokenizer, pictures = tokenizer_of(kind), [Image.fromarray(image) for image in images]
    if kind in ('smolvlm', 'idefics3'):
        made = dict(processor([pictures], return_row_col_info=True, return_tensors='pt'))
        cuts = zip(made.pop('rows')[0], made.pop('cols')[0], strict=True)
        marks = '<fake_token_around_image>', '<image>', '<global-img>'
        shown = ''.join(get_image_prompt_string(*cut, 4, *marks) for cut in cuts)
    else:
        made = dict(processor(pictures, return_tensors='pt'))
        counts = (made['image_grid_thw'].prod(-1) // 4).tolist()
        shown = ''.join(f'<|vision_start|>{"<|image_pad|>" * n}<|vision_end|>' for n in counts)
    text = TEMPLATES[kind].text.replace('{images}', shown).replace('{sentence}', SENTENCE)
    encoded = tokenizer(text, return_tensors='pt')
    ids = {name: encoded[name] for name in ('input_ids', 'attention_mask')}
    if kind.startswith('qwen'):
        pad = tokenizer.convert_tokens_to_ids('<|image_pad|>')
        ids['mm_token_type_ids'] = (ids['input_ids'] == pad).int()
    return ids | made


@pytest.fixture(scope='module', params=[(k, s) for k in PROCESSORS for s in (WIDE, HIGH)])
def policy(request, tmp_path_factory):
    """Return a policy on a model that is given images as its own processor makes them."""
    kind, shape = request.param
    folder = tmp_path_factory.mktemp(kind)
    torch.manual_seed(0)
    config = getattr(tiny_models, kind)()
    config.image_token_id = tokenizer_of(kind).convert_tokens_to_ids(TEMPLATES[kind].marker)
    model = AutoModelForImageTextToText.from_config(config).eval()
    for weight in model.parameters():
        # As they are made, layers hardly change what they are given.
        torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    processor = PROCESSORS[kind]()
    processor.save_pretrained(folder)
    card = dataclasses.replace(
        CARD,
        cameras=('left', 'right'),
        image_size=32,
        image_shape=shape,
        tokens_per_camera=TOKENS[kind],
        stem='patch',
        prompt=kind,
        image_mean=tuple(MEAN),
        image_std=tuple(STD),
    )
    write_policy_beside(folder, card, 24)
    images = [noise(shape, seed) for seed in (1, 2)]
    frame = Frame(
        dict(zip(card.cameras, images, strict=True)),
        np.array([0.0, 0.6, 0.2, 1.0], np.float32),
        0.0,
    )
    return SimpleNamespace(
        kind=kind, folder=folder, card=card, model=model, frame=frame, shape=shape,
        given=inputs(kind, processor, images),
    )  # fmt: skip


@torch.inference_mode()
def test_tokens_and_hidden_states_are_those_of_processor_and_whole_model(policy):
    """From the cameras' images to the last layer, the prompt included."""
    tokens = load_perception(policy.folder, PerceptionSettings()).encode(policy.frame)
    given = {n: v for n, v in policy.given.items() if n.startswith(('pixel', 'image'))}
    stock = policy.model.model.get_image_features(**given).pooler_output
    stock = torch.cat([*stock]).reshape(len(tokens.features), -1)
    torch.testing.assert_close(torch.from_numpy(tokens.features[:, :24]), stock, atol=1e-4, rtol=0)

    reasoner = load_reasoner(policy.folder, ReasonerSettings())
    trunk, card = reasoner.trunk, policy.card
    tiles = checkpoint.images_of(policy.folder, card).cut.tiles
    words = prompt_words(tokenizer_of(policy.kind), policy.kind, 2, SENTENCE, tiles)
    positions, layout = arranged(trunk.parts, tokens, 2 * card.tokens_per_camera, words)
    text = words.ids[None]
    seen = torch.ones_like(text, dtype=torch.bool)
    visual = torch.from_numpy(tokens.features)[None]
    latents, result = trunk(visual, positions, text, seen, layout)
    whole = policy.model.model(**policy.given).last_hidden_state
    torch.testing.assert_close(result.hidden[:, : whole.shape[1]], whole, atol=1e-4, rtol=0)
    plan = reasoner.plan(tokens, SENTENCE)
    np.testing.assert_allclose(plan.latents, latents[0].numpy(), atol=1e-4)


def test_a_token_stands_where_it_is_in_the_image(policy):
    """A bright square in one corner of the last camera shows in the tokens of that corner."""
    stage = load_perception(policy.folder, PerceptionSettings(signals=False))
    images = {name: np.full((*policy.shape, 3), 60, np.uint8) for name in policy.card.cameras}
    before = stage.encode(Frame(images, policy.frame.state, 0.0))
    images['right'] = images['right'].copy()
    images['right'][: policy.shape[0] // 4, -policy.shape[1] // 4 :] = 255
    after = stage.encode(Frame(images, policy.frame.state, 0.1))
    moved = np.abs(after.features - before.features).sum(1)
    place = int(moved.argmax())
    rows, columns = after.grid
    assert rows / columns == pytest.approx(policy.shape[0] / policy.shape[1], rel=0.01)
    assert after.camera[place] == 1
    assert after.row[place] < rows / 2
    assert after.column[place] >= columns / 2
    assert not moved[after.camera == 0].any()


FEW = pytest.mark.parametrize('policy', [('smolvlm', WIDE), ('qwen3_vl', WIDE)], indirect=True)
TECHNIQUES = (
    {'pruning.method': 'fastv', 'pruning.layer': 1, 'pruning.keep': 0.5},
    {'pruning.method': 'fastv', 'pruning.layer': 1, 'pruning.protect.coverage': 1.0},
    {'pruning.method': 'sp_vla', 'pruning.layer': 0, 'pruning.camera_weights': [1.0, 2.0]},
)


@pytest.mark.parametrize('values', TECHNIQUES)
def test_tokens_are_dropped_as_of_any_image(policy, values):
    signals = 'sp_vla' in values.values()
    stage = load_perception(policy.folder, PerceptionSettings(signals=signals))
    settings = build(ReasonerSettings, {**values, 'pruning.min_tokens': 1})
    reasoner = load_reasoner(policy.folder, settings)
    tokens = stage.encode(policy.frame)
    if signals and policy.kind.startswith('qwen'):
        assert len(tokens.contour) == len(tokens.position)
        with pytest.raises(
            InvalidRecordError, match=r'sp_vla needs contours and saliency.*Qwen-VL'
        ):
            reasoner.plan(tokens, SENTENCE)
        return
    plan = reasoner.plan(tokens, SENTENCE)
    assert 0 < len(plan.kept) <= round(0.5 * len(tokens.position))
    assert plan.tokens_total == 2 * policy.card.tokens_per_camera
    if signals:
        per_camera = [tokens.saliency[tokens.camera == camera].sum() for camera in (0, 1)]
        np.testing.assert_allclose(per_camera, 1.0, rtol=1e-5)


@FEW
def test_keys_and_values_are_reused_and_the_plan_stays(policy):
    tokens = load_perception(policy.folder, PerceptionSettings()).encode(policy.frame)
    reasoner = load_reasoner(policy.folder, build(ReasonerSettings, {'reuse.method': 'vla_cache'}))
    first = reasoner.plan(tokens, SENTENCE)
    second = reasoner.plan(tokens, SENTENCE)
    assert len(second.reused) > 0
    np.testing.assert_allclose(second.latents, first.latents, atol=1e-5)


def test_of_an_image_that_changed_in_one_place_few_patches_are_computed(policy):
    settings = build(PerceptionSettings, {'cache.method': 'patch', 'cache.max_error': 100.0})
    stage = load_perception(policy.folder, settings)
    first = stage.encode(policy.frame)
    images = {name: image.copy() for name, image in policy.frame.images.items()}
    images['left'][:20, :20] = 255 - images['left'][:20, :20]
    later = stage.encode(Frame(images, policy.frame.state, 0.1))
    fresh = load_perception(policy.folder, PerceptionSettings())
    whole = fresh.encode(Frame(images, policy.frame.state, 0.1))
    if not stage.tower.can_update:
        assert later.refresh_reason == 'vision tower has no partial pass'
        np.testing.assert_allclose(later.features, whole.features, atol=1e-5)
        return
    assert stage.last.computed < stage.last.patches / 2
    right = later.camera == 1
    np.testing.assert_array_equal(later.features[right], first.features[right])
    corner = (later.camera == 0) & (later.row < 2) & (later.column < 2)
    assert (later.age[corner] == 0).any()
    assert np.abs(later.features - whole.features)[corner].mean() < np.abs(
        first.features - whole.features
    )[corner].mean()  # fmt: skip


def test_the_whole_policy_acts_and_says_what_it_was_trained_on(policy):
    single = Policy.from_pretrained(policy.folder, actor_architecture='single')
    assert single.act(policy.frame, SENTENCE).actions.shape == (5, 4)
    facts = folder_facts(policy.folder)
    assert set(facts.trained_sizes.values()) == {policy.shape}


def test_an_image_of_another_shape_is_refused_and_one_with_the_same_grid_is_seen(policy):
    stage = load_perception(policy.folder, PerceptionSettings())
    rows, columns = policy.shape
    larger = {name: noise((2 * rows, 2 * columns)) for name in policy.card.cameras}
    assert stage.encode(Frame(larger, policy.frame.state, 0.0)) is not None
    turned = {name: noise((columns, rows)) for name in policy.card.cameras}
    with pytest.raises(InvalidRecordError, match=rf'{columns} rows and {rows} columns.*expected'):
        stage.encode(Frame(turned, policy.frame.state, 0.0))


@pytest.fixture
def changed(policy, tmp_path):
    """Return a function that copies the folder with other values in one of its files."""

    def change(name: str, **values) -> Path:
        folder = Path(shutil.copytree(policy.folder, tmp_path / 'policy'))
        found = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(found | values))
        return folder

    return change


@FEW
@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({'image_shape': [60]}, r'image_shape is \[60\]; expected rows and columns'),
        ({'image_shape': [60, 9]}, r'image_shape is \[60, 9\]; expected rows and columns'),
        ({'image_shape': [60, 5000]}, r'image_shape is \[60, 5000\]; expected rows and columns'),
        ({'image_shape': 'wide'}, "image_shape is 'wide'; expected a list"),
        ({'image_shape': [16, 3300]}, 'tokens_per_camera|one side to be at most 200 times'),
        ({'tokens_per_camera': 5}, r'image_shape is \[\d+, \d+\], given as . of .* it makes \d+'),
        ({'image_shape': []}, 'image_size is 32 and tokens_per_camera'),
    ],
)
def test_a_card_that_does_not_fit_is_refused(changed, values, expected):
    with pytest.raises(CheckpointError, match=expected):
        load_perception(changed('policy.json', **values), PerceptionSettings())


@FEW
@pytest.mark.parametrize('shape', ['wide', [60], [60, 'x'], 60])
def test_a_shape_that_is_none_is_refused_before_the_weights_are_read(changed, shape):
    with pytest.raises(CheckpointError, match=r'policy\.json cannot be read'):
        folder_facts(changed('policy.json', image_shape=shape))


@FEW
@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({'size': {'longest_edge': 0}, 'min_pixels': 0}, 'size.longest_edge 0|min_pixels 0'),
        ({'size': 'large', 'min_pixels': 'few'}, 'size.longest_edge None|min_pixels .few'),
        ({'max_image_size': {}, 'merge_size': 0.5}, 'max_image_size.longest_edge None|merge_size'),
        ({'do_image_splitting': 'yes', 'patch_size': None}, 'do_image_splitting|patch_size'),
        ({'resample': 9}, 'resample 9; expected a number of a filter'),
        ({'do_resize': False}, 'do_resize False; expected true'),
        ({'max_image_size': {'longest_edge': 20}, 'patch_size': 12}, 'does not fit'),
    ],
)
def test_a_processor_that_cannot_be_is_refused(changed, values, expected):
    with pytest.raises(CheckpointError, match=expected):
        load_perception(changed('preprocessor_config.json', **values), PerceptionSettings())


def test_bounds_of_the_pixels_in_the_wrong_order_are_refused(tmp_path):
    keeper(least=4096, most=1024).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match='at least 4096 and at most 1024 pixels; expected'):
        own_images(tmp_path, 'qwen2_5_vl', WIDE)


@pytest.mark.parametrize('kind', ['llava', 'paligemma', 'gemma3'])
def test_models_that_are_given_squares_refuse_another_shape(tmp_path, kind):
    assert own_images(tmp_path, kind, ()) is None
    with pytest.raises(CheckpointError, match=f'a model of type {kind}, whose processor makes squ'):
        own_images(tmp_path, kind, WIDE)
