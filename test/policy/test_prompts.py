# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Prompts give the tokens of the models' own processors, and the whole models' hidden states."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image
from tiny_policy import CARD
from tiny_vlm_policy import SENTENCE, tokenizer_of, write_policy_beside
from transformers import AutoModelForImageTextToText
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma3.processing_gemma3 import Gemma3Processor
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
from transformers.models.llava.processing_llava import LlavaProcessor
from transformers.models.paligemma.processing_paligemma import PaliGemmaProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from efficient_vla import checkpoint
from efficient_vla.assembly import load_reasoner
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.families import FAMILIES
from efficient_vla.prompts import TEMPLATES, prompt_of
from efficient_vla.reasoning.layout import arranged
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.reasoning.words import bare_words, prompt_words
from efficient_vla.settings import build
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.recipes.lightvla import LightRecipe
from efficient_vla.types import InvalidRecordError, VisualTokens

SIZE = {'height': 32, 'width': 32}


def idefics3_inputs(tokenizer, images, split):
    size = {'longest_edge': 96 if split else 32}
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(
            size=size, max_image_size={'longest_edge': 32}, do_image_splitting=split
        ),
        tokenizer,
        image_seq_len=4,
    )
    text = (
        f'<|begin_of_text|>User:{"<image>" * len(images)}{SENTENCE}<end_of_utterance>\nAssistant:'
    )
    return processor(text=text, images=[images], add_special_tokens=False, return_tensors='pt')


def llava_inputs(tokenizer, images):
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=SIZE, crop_size=SIZE),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy='default',
        num_additional_image_tokens=1,
    )
    shown = '<image>\n' * len(images)
    text = f'USER: {shown}{SENTENCE} ASSISTANT:'
    return processor(text=text, images=images, return_tensors='pt')


def paligemma_inputs(tokenizer, images):
    pictures = SiglipImageProcessorPil(size=SIZE)
    pictures.image_seq_length = 16
    tokenizer.add_special_tokens({'bos_token': '<bos>'})
    processor = PaliGemmaProcessor(pictures, tokenizer)
    text = '<image>' * len(images) + SENTENCE
    return processor(text=[text], images=[images], return_tensors='pt')


def gemma3_inputs(tokenizer, images):
    tokenizer.boi_token, tokenizer.eoi_token = '<start_of_image>', '<end_of_image>'
    tokenizer.image_token = '<image_soft_token>'
    for name in ('boi', 'eoi', 'image'):
        token = tokenizer.convert_tokens_to_ids(getattr(tokenizer, f'{name}_token'))
        setattr(tokenizer, f'{name}_token_id', token)
    processor = Gemma3Processor(Gemma3ImageProcessorPil(size=SIZE), tokenizer, image_seq_length=4)
    text = (
        f'<bos><start_of_turn>user\n{"<start_of_image>" * len(images)}{SENTENCE}'
        '<end_of_turn>\n<start_of_turn>model\n'
    )
    return processor(text=text, images=images, return_tensors='pt')


def qwen_inputs(tokenizer, images, system=''):
    """Return what the processor makes; its class cannot be made without its video part."""
    pictures = Qwen2VLImageProcessorPil(patch_size=8, min_pixels=16, max_pixels=32 * 32)(
        images, return_tensors='pt'
    )
    counts = (pictures['image_grid_thw'].prod(-1) // 4).tolist()
    shown = ''.join(f'<|vision_start|>{"<|image_pad|>" * n}<|vision_end|>' for n in counts)
    text = f'{system}<|im_start|>user\n{shown}{SENTENCE}<|im_end|>\n<|im_start|>assistant\n'
    encoded = tokenizer(text, return_tensors='pt')
    pad = tokenizer.convert_tokens_to_ids('<|image_pad|>')
    kinds = (encoded['input_ids'] == pad).int()
    ids = {'input_ids': encoded['input_ids'], 'attention_mask': encoded['attention_mask']}
    return {**ids, **pictures, 'mm_token_type_ids': kinds}


SYSTEM = '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n'
CASES = {
    'idefics3': lambda t, i: idefics3_inputs(t, i, split=False),
    'idefics3 tiles': lambda t, i: idefics3_inputs(t, i, split=True),
    'llava': llava_inputs,
    'paligemma': paligemma_inputs,
    'paligemma2': paligemma_inputs,
    'gemma3': gemma3_inputs,
    'qwen2_5_vl': lambda t, i: qwen_inputs(t, i, SYSTEM),
    'qwen3_vl': qwen_inputs,
}
TILES = {'idefics3 tiles': (2, 3)}


def record(features: torch.Tensor, images: int, side: int) -> VisualTokens:
    """Return tokens of square images, in the order of the sequence."""
    cell = np.arange(len(features), dtype=np.int32)
    return VisualTokens(
        features=features.numpy(),
        camera=cell // (side * side) % images,
        row=cell % (side * side) // side,
        column=cell % side,
        position=cell,
        age=np.zeros(len(cell), np.float32),
        grid=(side, side),
        stamp=0.0,
    )


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """Return what a processor makes of two images, and a model that reads it."""
    name = request.param.split()[0]
    kind = 'paligemma' if name == 'paligemma2' else name
    tokenizer = tokenizer_of(kind)
    random = np.random.default_rng(0)
    shape = (64, 96, 3) if request.param in TILES else (32, 32, 3)
    images = [Image.fromarray(random.integers(0, 255, shape, np.uint8)) for _ in range(2)]
    given = CASES[request.param](tokenizer, images)
    torch.manual_seed(0)
    config = getattr(tiny_models, name)()
    config.image_token_id = config.image_token_index = tokenizer.convert_tokens_to_ids(
        TEMPLATES[kind].marker
    )
    model = AutoModelForImageTextToText.from_config(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    tiles = TILES.get(request.param, (0, 0))
    words = prompt_words(tokenizer, kind, 2, SENTENCE, tiles)
    return SimpleNamespace(
        kind=kind, tokenizer=tokenizer, given=given, model=model, words=words, tiles=tiles
    )


def test_the_tokens_are_those_of_the_processor(case):
    ids = case.given['input_ids'][0]
    image = ids == case.model.config.image_token_id
    assert case.words.ids.tolist() == ids[~image].tolist()
    own = 4 if case.kind in ('idefics3', 'gemma3', 'qwen2_5_vl', 'qwen3_vl') else 16
    assert (case.words.after * own).tolist() == image.cumsum(0)[~image].tolist()
    said = case.tokenizer.decode(case.words.ids[case.words.sentence])
    assert said.strip() == SENTENCE


@torch.inference_mode()
def test_tower_and_trunk_give_the_hidden_states_of_the_whole_model(case, tmp_path):
    case.model.save_pretrained(tmp_path)
    config, family = checkpoint.open_model(tmp_path)
    tower = checkpoint.tower_of(tmp_path, config, family, torch.float32)
    trunk: Trunk = checkpoint.trunk_of(tmp_path, config, family, 2, torch.float32).eval()
    given = dict(case.given)
    if case.kind.startswith('qwen'):
        cut = given['pixel_values'].view(2, 2, 2, 2, 2, 3, 2, 8, 8)[..., 0, :, :]
        pixels = cut.permute(0, 5, 1, 3, 6, 2, 4, 7).reshape(2, 3, 32, 32)
    else:
        pixels = given['pixel_values'].flatten(0, -4)
    given.pop('labels', None)
    features = tower(pixels).flatten(0, 1)
    side = round((len(features) / len(pixels)) ** 0.5)
    tokens = record(features, len(pixels), side)
    positions, layout = arranged(trunk.parts, tokens, len(features), case.words)
    text = case.words.ids[None]
    seen = torch.ones_like(text, dtype=torch.bool)
    _, result = trunk(features[None], positions, text, seen, layout)
    stock = case.model.model(**given).last_hidden_state
    ours = result.hidden[:, : stock.shape[1]]
    torch.testing.assert_close(ours, stock, atol=1e-5, rtol=1e-5)
    assert FAMILIES[case.model.config.model_type] is family


@torch.inference_mode()
def test_a_token_that_is_missing_leaves_the_others_their_positions():
    """Positions of words and of the second image, with the first image's last token left out."""
    tokenizer = tokenizer_of('idefics3')
    words = prompt_words(tokenizer, 'idefics3', 2, SENTENCE)
    parts = SimpleNamespace(
        device=torch.device('cpu'),
        three_axes=False,
        visual_positions=lambda tokens: torch.from_numpy(tokens.position).long()[None],
    )
    whole = record(torch.randn(8, 24), 2, 2)
    kept = np.array([0, 1, 2, 4, 5, 6, 7])
    fewer = VisualTokens(
        features=whole.features[kept],
        camera=whole.camera[kept],
        row=whole.row[kept],
        column=whole.column[kept],
        position=whole.position[kept],
        age=whole.age[kept],
        grid=(2, 2),
        stamp=0.0,
    )
    full, layout = arranged(parts, whole, 8, words)
    gap, narrow = arranged(parts, fewer, 8, words)
    assert gap[0].tolist() == full[0, kept].tolist()
    assert narrow.positions.tolist() == layout.positions.tolist()
    gone = int(layout.visual[3])
    places = layout.visual[kept].tolist()
    assert narrow.visual.tolist() == [place - int(place > gone) for place in places]
    assert layout.end == len(words.ids) + 8


@pytest.fixture(scope='module', params=['idefics3', 'qwen3_vl', 'gemma3'])
def prompted(request, tmp_path_factory):
    """Return the folder of a policy with two cameras and the prompt of its model."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('prompted')
    config = getattr(tiny_models, request.param)()
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    card = dataclasses.replace(
        CARD,
        cameras=('left', 'right'),
        image_size=32,
        tokens_per_camera=4,
        stem='patch',
        prompt=request.param,
    )
    write_policy_beside(folder, card, 24)
    return folder


@torch.inference_mode()
def test_training_and_stage_put_a_sentence_into_the_same_prompt(prompted):
    """Also in a batch, where the shorter prompt is padded."""
    frozen = Frozen(prompted, torch.device('cpu'), 'fp32')
    stage = load_reasoner(prompted, ReasonerSettings())
    sentences = [SENTENCE, 'open the drawer and close it again']
    features = torch.randn(2, 8, stage.trunk.token_width)
    latents = frozen.dense_plan(features, *frozen.text(sentences))
    for row, sentence in enumerate(sentences):
        plan = stage.plan(record(features[row], 2, 2), sentence)
        np.testing.assert_allclose(plan.latents, latents[row].numpy(), atol=1e-5)
        bare = frozen.trunk(
            features[row : row + 1],
            frozen.trunk.parts.visual_positions(record(features[row], 2, 2)),
            bare_words(frozen.tokenizer, sentence).ids[None],
            torch.ones(1, len(bare_words(frozen.tokenizer, sentence).ids), dtype=torch.bool),
            8,
        )[0]
        assert not np.allclose(plan.latents, bare[0].numpy(), atol=1e-3)


def test_tokens_are_dropped_and_reused_inside_a_prompt(prompted):
    settings = build(ReasonerSettings, {'pruning.method': 'fastv', 'pruning.layer': 1})
    few = dataclasses.replace(settings.pruning, keep=0.5, min_tokens=1)
    stage = load_reasoner(prompted, dataclasses.replace(settings, pruning=few))
    features = torch.randn(8, stage.trunk.token_width)
    assert len(stage.plan(record(features, 2, 2), SENTENCE).kept) == 4
    dense = load_reasoner(prompted, ReasonerSettings()).plan(record(features, 2, 2), SENTENCE)
    again = load_reasoner(prompted, build(ReasonerSettings, {'reuse.method': 'vla_cache'}))
    again.plan(record(features, 2, 2), SENTENCE)
    plan = again.plan(record(features, 2, 2), SENTENCE)
    assert len(plan.reused) > 0
    np.testing.assert_allclose(plan.latents, dense.latents, atol=1e-5)


def test_methods_that_were_made_for_the_bare_sentence_refuse_a_prompt(prompted):
    frozen = Frozen(prompted, torch.device('cpu'), 'fp32')
    with pytest.raises(UsageError, match=f'prompt {frozen.card.prompt!r} and . levels'):
        LightRecipe(frozen, None, 0)


def test_the_bare_sentence_is_in_lower_case_and_behind_all_images():
    words = bare_words(lambda text: {'input_ids': [ord(letter) for letter in text]}, ' Open ')
    assert bytes(words.ids.tolist()) == b'open'
    assert words.after is None


def test_a_marker_in_the_sentence_is_refused():
    with pytest.raises(InvalidRecordError, match=r"makes 2 images of 1; expected no '<image>'"):
        prompt_words(tokenizer_of('llava'), 'llava', 1, 'open the <image>')


def test_a_tokenizer_without_the_marker_is_refused():
    with pytest.raises(CheckpointError, match=r"no token '<\|image_pad\|>', by which prompt qwen"):
        prompt_words(tokenizer_of('llava'), 'qwen3_vl', 1, SENTENCE)


def test_an_unknown_template_and_tiles_of_whole_images_are_refused():
    with pytest.raises(CheckpointError, match="prompt is 'haiku'; expected one of bare, smolvlm"):
        prompt_of('haiku', 1, SENTENCE)
    with pytest.raises(CheckpointError, match='prompt llava with 2 x 3 tiles; expected 0 x 0'):
        prompt_of('llava', 1, SENTENCE, (2, 3))
