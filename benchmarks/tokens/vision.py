# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the time of a policy with a large vision tower goes, and what the patch cache saves of it.

Every function returns flat rows. All variants of a comparison see the same frames in turn. Weights
of the SmolVLA shape are random, which times do not depend on; token errors do, so that the rows
of evla-nano, which is trained, stand beside them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMConfig, SmolVLMVisionConfig

from benchmarks.tokens.latency import stopwatch
from benchmarks.tokens.shapes import SHAPES, TINY, Shape
from efficient_vla.perception.preprocess import pixels
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.perception.tower import VisionTower
from efficient_vla.policy import default_policy, load_perception
from efficient_vla.records import percentiles
from efficient_vla.settings import build
from efficient_vla.types import Frame

Row = dict[str, Any]
CAMERAS = 2
TEXT_TOKENS = 50
"""Instruction and state."""
FLOW_STEPS = 10
CHUNK = 50
ACTION_WIDTH = 32
FRAME_PERIOD_S = 1 / 30
NOISE = 2.0
"""Standard deviation of a camera's noise, of 255."""
GREY = (0.5, 0.5, 0.5)
DENSE = PerceptionSettings()
STATIC = build(PerceptionSettings, {'cache.method': 'patch'})
PARTIAL = build(PerceptionSettings, {'cache.max_age': 60.0, 'cache.max_changed': 1.0}, STATIC)
PARTS = ('vision', 'connector', 'language', 'action expert', 'all')
TOWER_CALLS = ('forward', 'encode', 'update', 'project', 'saliency')


@dataclass(frozen=True, slots=True)
class VisionShape:
    """Sizes of a policy in the manner of SmolVLA, arXiv 2506.01844."""

    name: str
    image: int
    patch: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    vision_ffn: int
    shuffle: int
    layers: int
    """Of the language model, whose heads the expert has too."""
    language: Shape
    expert_width: int
    expert_ffn: int


SMOLVLA = VisionShape(
    'SmolVLA shape', 512, 16, 768, 12, 12, 3072, 4, 16, SHAPES[0], expert_width=720, expert_ffn=2048
)
SMALL = VisionShape(
    'SmolVLA shape, shrunk', 128, 16, 64, 2, 2, 128, 4, 2, TINY, expert_width=48, expert_ffn=96
)


class ActionExpertLayer(nn.Module):
    """One layer of the action expert; it attends to the prefix, and to itself where ``own``."""

    def __init__(self, shape: VisionShape, own: bool) -> None:
        """Make the layer; without ``own`` the prefix's keys and values are projected again."""
        super().__init__()
        width, language = shape.expert_width, shape.language
        head = language.hidden // language.heads
        keys = language.key_heads * head
        self.own, self.head = own, head
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(2))
        self.query = nn.Linear(width, language.heads * head, bias=False)
        self.key = nn.Linear(width if own else keys, keys, bias=False)
        self.value = nn.Linear(width if own else keys, keys, bias=False)
        self.out = nn.Linear(language.heads * head, width, bias=False)
        self.gate = nn.Linear(width, shape.expert_ffn, bias=False)
        self.up = nn.Linear(width, shape.expert_ffn, bias=False)
        self.down = nn.Linear(shape.expert_ffn, width, bias=False)

    def forward(
        self, states: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Map [1, chunk, width] beside the prefix's keys and values [1, key heads, N, d]."""
        normed = self.norms[0](states)
        query = self._heads(self.query(normed))
        if self.own:
            keys = torch.cat((keys, self._heads(self.key(normed))), 2)
            values = torch.cat((values, self._heads(self.value(normed))), 2)
        else:
            keys = self._heads(self.key(keys.transpose(1, 2).flatten(2)))
            values = self._heads(self.value(values.transpose(1, 2).flatten(2)))
        attended = F.scaled_dot_product_attention(query, keys, values, enable_gqa=True)
        states = states + self.out(attended.transpose(1, 2).flatten(2))
        normed = self.norms[1](states)
        return states + self.down(F.silu(self.gate(normed)) * self.up(normed))

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(2, (-1, self.head)).transpose(1, 2)


class FlowExpert(nn.Module):
    """Flow matching over a chunk; every second layer attends to itself, rotation left out."""

    def __init__(self, shape: VisionShape) -> None:
        """Make the layers."""
        super().__init__()
        self.enter = nn.Linear(ACTION_WIDTH, shape.expert_width)
        self.layers = nn.ModuleList(
            ActionExpertLayer(shape, i % 2 == 0) for i in range(shape.layers)
        )
        self.leave = nn.Linear(shape.expert_width, ACTION_WIDTH)

    def forward(self, prefix: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        """Return actions [1, chunk, 32] from noise, given keys and values of every layer."""
        actions = torch.randn(1, CHUNK, ACTION_WIDTH)
        for _ in range(FLOW_STEPS):
            states = self.enter(actions)
            for layer, (keys, values) in zip(self.layers, prefix, strict=True):
                states = layer(states, keys, values)
            actions = actions + self.leave(states) / FLOW_STEPS
        return actions


def where_time_goes(quick: bool) -> list[Row]:
    """Measure the parts of one dense plan and chunk of the SmolVLA shape."""
    shape = SMALL if quick else SMOLVLA
    repeats, warm_up = (3, 1) if quick else (5, 1)
    torch.manual_seed(0)
    tower = _tower(shape)
    language = AutoModel.from_config(shape.language.config(shape.layers)).eval()
    expert = FlowExpert(shape).eval()
    images = torch.randn(CAMERAS, 3, shape.image, shape.image)
    times: dict[str, list[float]] = {name: [] for name in PARTS}
    with torch.inference_mode():
        for repeat in range(warm_up + repeats):
            marks = [time.perf_counter()]
            memories = [tower.encode(image, slots=False, scores=False) for image in images]
            marks.append(time.perf_counter())
            tokens = torch.cat([tower.project(memory) for memory in memories])
            marks.append(time.perf_counter())
            prefix = torch.cat((tokens, torch.randn(TEXT_TOKENS, shape.language.hidden)))[None]
            cache = language(inputs_embeds=prefix, use_cache=True).past_key_values
            marks.append(time.perf_counter())
            expert([(layer.keys, layer.values) for layer in cache.layers])
            marks.append(time.perf_counter())
            if repeat >= warm_up:
                spans = [*np.diff(marks), marks[-1] - marks[0]]
                for name, span in zip(times, spans, strict=True):
                    times[name].append(span * 1e3)
    measured = {name: percentiles(values) for name, values in times.items()}
    whole = measured['all']['p50']
    return [
        {
            'table': 'where time goes',
            'config': shape.name,
            'weights': 'random',
            'part': name,
            'p50_ms': found['p50'],
            'p95_ms': found['p95'],
            'share': found['p50'] / whole,
            'cameras': CAMERAS,
            'prefix_tokens': prefix.shape[1],
            **_conditions(repeats, warm_up),
        }
        for name, found in measured.items()
    ]


def partial_recompute(quick: bool, shares: Sequence[float] = (0.1, 0.25)) -> list[Row]:
    """Measure partial against whole passes while an object moves over a textured scene.

    Times are those of the perception stage, change detection and image conversion included. The
    bound on the error is off, so that each row says what the share alone costs; a further row for
    each share has the default bound.
    """
    repeats, warm_up = (4, 2) if quick else (12, 2)
    rows = []
    for name, load, size in _subjects(quick):
        for share in shares:
            dense = load(DENSE)
            variants = {
                bound: load(build(PerceptionSettings, {'cache.max_error': bound}, PARTIAL))
                for bound in (100.0, PARTIAL.cache.max_error)
            }
            images = moving_object(size, dense.patches.rows, share, warm_up + repeats)
            whole, found = _compare(dense, variants, images, warm_up)
            for bound, (times, changed, computed, probed, largest, mean) in found.items():
                rows.append(
                    {
                        'table': 'partial vision recompute',
                        'config': name,
                        'weights': _weights(name),
                        'nominal_share': share,
                        'max_error': bound,
                        'changed_share': float(changed.mean()),
                        'computed_share': float(computed.mean()),
                        **_speed(whole, times),
                        'token_error_max': float(largest.max()),
                        'token_error_mean': float(mean.mean()),
                        'probed_error_max': float(probed.max()),
                        'whole_passes': int((computed == 1).sum()),
                        **_conditions(repeats, warm_up),
                    }
                )
    return rows


def static_scene(quick: bool) -> list[Row]:
    """Measure the patch cache while the robot holds still before a camera with noise.

    The dense tower runs for some of the frames only, spread over the run. Times are those of the
    whole stage, with the search for changes, and ``tower`` those of the tower alone.
    """
    count, warm_up = (40, 2) if quick else (300, 3)
    rows = []
    for name, load, size in _subjects(quick):
        dense, cached = load(DENSE), load(STATIC)
        step = max(count // 15, 1)
        whole, whole_tower, times, towers, computed, errors = [], [], [], [], [], []
        with stopwatch([(VisionTower, method) for method in TOWER_CALLS]) as spent:
            for index, image in enumerate(_noisy(scene(size), count + warm_up)):
                took, tokens = _timed(_encode, cached, image, index)
                in_tower = spent.take()
                if index >= warm_up:
                    times.append(took)
                    towers.append(in_tower * 1e3)
                    computed.append(cached.last.computed / cached.last.patches)
                if index % step == 0:
                    took, reference = _timed(_encode, dense, image, index)
                    in_tower = spent.take()
                    errors.append(_token_error(tokens, reference).max())
                    if index >= warm_up:
                        whole.append(took)
                        whole_tower.append(in_tower * 1e3)
        rows.append(
            {
                'table': 'static scene',
                'config': name,
                'weights': _weights(name),
                'frames': count,
                'period_ms': FRAME_PERIOD_S * 1e3,
                'max_age_ms': STATIC.cache.max_age * 1e3,
                'hit_rate': 1 - float(np.mean(computed)),
                **_speed(whole, times),
                'mean_ms': float(np.mean(times)),
                'dense_tower_mean_ms': float(np.mean(whole_tower)),
                'tower_mean_ms': float(np.mean(towers)),
                'tower_speedup_mean': float(np.mean(whole_tower) / np.mean(towers)),
                'token_error_max': float(np.max(errors)),
                **_conditions(len(whole), warm_up),
            }
        )
    return rows


def scene(size: int, seed: int = 0) -> np.ndarray:
    """Return a textured image whose detail falls with frequency as that of photographs does."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), np.float32)
    cells = 4
    while cells <= size:
        layer = rng.normal(size=(cells, cells, 3)).astype(np.float32)
        image += cv2.resize(layer, (size, size), interpolation=cv2.INTER_CUBIC) / cells
        cells *= 2
    image = (image - image.min()) / (image.max() - image.min())
    return (30 + 190 * image).astype(np.uint8)


def moving_object(size: int, side: int, share: float, count: int) -> list[np.ndarray]:
    """Return images of a square that covers about ``share`` of side x side patches and moves.

    It is as large as touches that many patches at any offset, moves an eighth of one a frame, and
    has contrast as coarse as a quarter of one, so that all patches it touches change.
    """
    patch = size // side
    step, cell = max(patch // 8, 1), max(patch // 4, 1)
    length = max(round((share * side * side) ** 0.5) - 1, 0) * patch + 1
    blocks = np.random.default_rng(1).integers(0, 256, (length // cell + 1,) * 2 + (3,))
    texture = blocks.astype(np.uint8).repeat(cell, 0).repeat(cell, 1)[:length, :length]
    background = scene(size)
    images = []
    for index in range(count):
        image = background.copy()
        left = (patch + index * step) % (size - length)
        image[patch : patch + length, left : left + length] = texture
        images.append(image)
    return images


def _encode(stage: Perception, image: np.ndarray, index: int) -> np.ndarray:
    """Return the features [V, D] of frame ``index``."""
    images = dict.fromkeys(stage.cameras, image)
    tokens = stage.encode(Frame(images, np.zeros(0, np.float32), index * FRAME_PERIOD_S))
    assert tokens is not None
    return tokens.features


def _subjects(quick: bool) -> Iterator[tuple[str, Callable[[PerceptionSettings], Any], int]]:
    """Yield name, what loads the stage with settings, and the camera's size."""
    shape = SMALL if quick else SMOLVLA
    torch.manual_seed(0)
    tower = _tower(shape)
    prepare = partial(pixels, size=shape.image, mean=GREY, std=GREY)
    yield shape.name, partial(Perception, tower, ('front',), prepare), shape.image
    yield 'evla-nano', partial(load_perception, default_policy()), 480


def _compare(
    dense: Perception,
    variants: dict[float, Perception],
    images: Sequence[np.ndarray],
    warm_up: int,
) -> tuple[list[float], dict[float, np.ndarray]]:
    """Run all on the same frames in turn; the first ones are not counted.

    Returns the times of dense [ms], and for each variant [6, frames]: time [ms], share of patches
    that changed and that were computed, probed error, largest and mean error of the tokens.
    """
    whole: list[float] = []
    found: dict[float, list[tuple[float, ...]]] = {name: [] for name in variants}
    for index, image in enumerate(images):
        took, reference = _timed(_encode, dense, image, index)
        whole.append(took)
        for name, stage in variants.items():
            took, tokens = _timed(_encode, stage, image, index)
            last, error = stage.last, _token_error(tokens, reference)
            shares = last.changed / last.patches, last.computed / last.patches
            found[name].append((took, *shares, last.token_error, error.max(), error.mean()))
    return whole[warm_up:], {name: np.array(rows[warm_up:]).T for name, rows in found.items()}


def _speed(whole: Sequence[float], times: Sequence[float]) -> Row:
    """Return percentiles of dense and of a variant [ms], and how many times faster that is."""
    dense, mine = percentiles(whole), percentiles(times)
    return {
        'dense_p50_ms': dense['p50'],
        'dense_p95_ms': dense['p95'],
        'p50_ms': mine['p50'],
        'p95_ms': mine['p95'],
        'speedup_p50': dense['p50'] / mine['p50'],
        'speedup_mean': float(np.mean(whole) / np.mean(times)),
    }


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return milliseconds and the result."""
    begin = time.perf_counter()
    result = call(*arguments)
    return (time.perf_counter() - begin) * 1e3, result


def _token_error(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the distance of each token from its reference, relative to the reference's length."""
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


def _noisy(image: np.ndarray, count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(2)
    for _ in range(count):
        noise = rng.normal(0, NOISE, image.shape).astype(np.float32)
        yield np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _tower(shape: VisionShape) -> VisionTower:
    """Return vision encoder and connector with random weights."""
    vision = SmolVLMVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=shape.vision_ffn,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.image,
        patch_size=shape.patch,
    )
    model = AutoModel.from_config(
        SmolVLMConfig(
            vision_config=vision.to_dict(),
            text_config=shape.language.config(1).to_dict(),
            scale_factor=shape.shuffle,
        )
    )
    return VisionTower(model.vision_model, model.connector).eval()


def _weights(name: str) -> str:
    return 'trained' if name == 'evla-nano' else 'random'


def _conditions(repeats: int, warm_up: int) -> Row:
    return {'repeats': repeats, 'warm_up': warm_up, 'threads': torch.get_num_threads()}
