# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of SmolVLA and pi0 as LeRobot writes them, with random weights.

All that is not weights is that of the shipped ``smolvla-metaworld``: columns, rows, tokenizer.
"""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModel, GemmaConfig, PaliGemmaConfig, SiglipVisionConfig, SmolVLMConfig

from efficient_vla.checkpoint import WEIGHTS
from efficient_vla.places import policy_folder
from efficient_vla.training import published
from efficient_vla.training.files import write_tensors

LIKE = 'smolvla-metaworld'
COLUMNS = 32
"""Numbers of state and action that the ends of both have."""
CALM = 0.25
"""Of the spread of actions: random ones as large would leave what the joints can do."""
BEFORE, AFTER = 'policy_preprocessor.json', 'policy_postprocessor.json'


@dataclass(frozen=True, slots=True)
class ExpertOf:
    """How a policy names its parts, and what its expert is."""

    model: Callable[[str], str]
    """Name of a tensor of the vision-language model -> in the folder."""
    expert: str
    feed: Callable[[int], int]
    """Width of the expert -> of its feed-forward networks."""
    share: float
    """Width of the expert in that of the decoder."""
    unit: float
    """What a norm that changes nothing has for weights."""
    crosses: bool = False
    """Whether every second layer attends to keys of the decoder alone."""


EXPERTS = {
    'smolvla': ExpertOf(
        'model.vlm_with_expert.vlm.model.{}'.format,
        'model.vlm_with_expert.lm_expert',
        lambda wide: 256 * math.ceil(int(8 * wide / 3) / 256),
        share=0.75,
        unit=1.0,
        crosses=True,
    ),
    'pi0': ExpertOf(
        lambda name: (
            'model.paligemma_with_expert.paligemma.model.'
            + name.replace('vision_tower.', 'vision_tower.vision_model.')
        ),
        'model.paligemma_with_expert.gemma_expert.model',
        lambda wide: 4 * wide,
        share=0.5,
        unit=0.0,
    ),
}


def config_of(name: str, shape: str, text: dict[str, Any], tower: dict[str, Any]) -> Any:
    """Return the vision-language model; ``text`` and ``tower`` are sizes of the small shape."""
    if shape == 'full' and name == 'pi0':
        return published.paligemma(False)
    if shape == 'full':
        whole = published.smolvlm2(False)
        whole.text_config.num_hidden_layers = 16
        return whole
    if name == 'smolvla':
        return SmolVLMConfig(vision_config=tower, text_config=text, scale_factor=1)
    width = text['hidden_size']
    sizes = {k: v for k, v in text.items() if k != 'model_type'} | {'num_key_value_heads': 1}
    # LeRobot knows the heads of one tower alone, and two of any other.
    tower = tower | {'num_attention_heads': 2, 'vision_use_head': False}
    vision = SiglipVisionConfig(**tower, projection_dim=width)
    decoder = GemmaConfig(**sizes, head_dim=width // text['num_attention_heads'])
    return PaliGemmaConfig(vision_config=vision, text_config=decoder, projection_dim=width)


def expert_shapes(name: str, text: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors beside a decoder of this configuration."""
    kind, head = EXPERTS[name], getattr(text, 'head_dim', None)
    head = head or text.hidden_size // text.num_attention_heads
    queries, keys = text.num_attention_heads * head, text.num_key_value_heads * head
    wide = round(kind.share * text.hidden_size)
    inner = kind.feed(wide)
    found: dict[str, tuple[int, ...]] = {f'{kind.expert}.norm.weight': (wide,)}
    for number in range(text.num_hidden_layers):
        given = keys if kind.crosses and number % 2 else wide
        parts: dict[str, tuple[int, ...]] = {
            'self_attn.q_proj': (queries, wide),
            'self_attn.k_proj': (keys, given),
            'self_attn.v_proj': (keys, given),
            'self_attn.o_proj': (wide, queries),
            'mlp.gate_proj': (inner, wide),
            'mlp.up_proj': (inner, wide),
            'mlp.down_proj': (wide, inner),
            'input_layernorm': (wide,),
            'post_attention_layernorm': (wide,),
        }
        found |= {f'{kind.expert}.layers.{number}.{n}.weight': s for n, s in parts.items()}
    ends = {
        'action_in_proj': (wide, COLUMNS),
        'action_out_proj': (COLUMNS, wide),
        'action_time_mlp_in': (wide, 2 * wide),
        'action_time_mlp_out': (wide, wide),
        'state_proj': (text.hidden_size if kind.crosses else wide, COLUMNS),
    }
    for end, sizes in ends.items():
        found |= {f'model.{end}.weight': sizes, f'model.{end}.bias': sizes[:1]}
    return found


def make(name: str, folder: Path, config: Any, full: bool) -> None:
    """Write a folder of this vision-language model and its expert."""
    kind, text = EXPERTS[name], config.text_config
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(config, dtype=torch.bfloat16 if full else torch.float32)
        tensors = {kind.model(n): tensor for n, tensor in model.state_dict().items()}
        for part, shape in expert_shapes(name, text).items():
            drawn = torch.randn(shape) * shape[-1] ** -0.5
            if len(shape) == 1:
                drawn = torch.full(shape, 0.0 if part.endswith('bias') else kind.unit)
            tensors[part] = drawn
    write_tensors(folder / WEIGHTS, tensors, {'format': 'pt'}, half=full)
    like = policy_folder(LIKE)
    for path in like.glob('policy_*'):
        if path.suffix == '.json':
            shutil.copyfile(path, folder / path.name)
            continue
        statistics = load_file(path)
        statistics['action.std'] *= CALM
        write_tensors(folder / path.name, statistics, {}, half=False)
    shutil.copytree(like / 'vlm', folder / 'vlm')
    config.save_pretrained(folder / 'vlm')
    size = config.vision_config.image_size
    said = json.loads((like / 'config.json').read_text())
    said |= {'max_state_dim': COLUMNS, 'max_action_dim': COLUMNS, 'type': name}
    said |= {'num_vlm_layers': text.num_hidden_layers, 'expert_width_multiplier': kind.share}
    said |= {'resize_imgs_with_padding': [size, size]}
    if name == 'pi0':
        said |= {'image_resolution': [size, size], 'num_inference_steps': said['num_steps']}
        _as_pi0(folder)
    (folder / 'config.json').write_text(json.dumps(said, indent=2))


def _as_pi0(folder: Path) -> None:
    """Let processors and tokenizer be those of pi0: sentences begin with a token of their own."""
    for name, place, added in (
        (BEFORE, -1, {'registry_name': 'relative_actions_processor', 'config': {'enabled': False}}),
        (AFTER, 1, {'registry_name': 'absolute_actions_processor', 'config': {'enabled': False}}),
    ):
        text = (folder / name).read_text().replace('smolvla_new_line', 'pi0_new_line')
        said = json.loads(text)
        said['steps'].insert(place, added)
        (folder / name).write_text(json.dumps(said))
    path = folder / 'vlm/tokenizer.json'
    begin = json.loads((folder / 'vlm/tokenizer_config.json').read_text())['bos_token']
    words = Tokenizer.from_file(str(path))
    words.post_processor = TemplateProcessing(
        single=f'{begin} $A', special_tokens=[(begin, words.token_to_id(begin))]
    )
    words.save(str(path))
