# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Time of towers and trunks at the full shapes of published models, with random weights.

``python -m benchmarks.full_shapes --out FILE`` takes a GPU where there is one, in bfloat16. Each
model is written at once, so that a run that was interrupted goes on where it stopped; one for which
memory is short is written as refused, and tried again by the next run. ``--small`` shrinks all but
images, patches and tokens, for a look on a processor.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from torch import nn
from transformers import AutoModel, LlamaModel

from efficient_vla.attention import KeyValues
from efficient_vla.devices import torch_device
from efficient_vla.families import FAMILIES
from efficient_vla.openvla.vision import FusedTower
from efficient_vla.perception.qwen_tower import QwenTower
from efficient_vla.perception.tower import VisionTower
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.layout import arranged
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.reasoning.words import Words
from efficient_vla.training.published import MODELS, openvla_text, openvla_towers
from efficient_vla.types import VisualTokens, grid_map

WORDS, QUERIES = 32, 8
"""Of the prompt, and rows behind it."""
ROOM = 1.25
"""Memory that has to be free, in that of the weights."""
OPENVLA = 'OpenVLA-7B'


class Evenly:
    """Keep an even share of the visual tokens before layer 2."""

    layers, scored, outputs = frozenset({2}), frozenset[int](), frozenset[int]()

    def __init__(self, keep: float) -> None:
        self.keep = keep

    def choose(self, entering: runner.LayerInput) -> torch.Tensor:
        """Return which tokens stay."""
        count = len(entering.remaining)
        kept = max(1, round(self.keep * count))
        return (torch.arange(kept, device=entering.tokens.device) * count) // kept


def built(
    name: str, small: bool, device: torch.device, dtype: torch.dtype
) -> tuple[nn.Module, Trunk, int]:
    """Return tower, trunk and the shape of its image, random, in evaluation mode."""
    torch.manual_seed(0)
    if name == OPENVLA:
        config = openvla_text(small)
        with device:
            tower: nn.Module = FusedTower(*openvla_towers(small), 4096, config.hidden_size)
            decoder: Any = LlamaModel(config)
        trunk, planes, size, levels = Trunk(decoder, QUERIES), 6, 224, 0
    else:
        make, size = MODELS[name]
        config = make(small)
        family = FAMILIES[config.model_type]
        with device:
            model = AutoModel.from_config(config, dtype=dtype)
        encoder, decoder = getattr(model, family.vision), getattr(model, family.text)
        levels = len(getattr(config.vision_config, 'deepstack_visual_indexes', ()))
        trunk = Trunk(decoder, QUERIES, family.bidirectional_prefix, family.image_blocks, levels)
        layer = config.vision_feature_layer if family.chooses_layer else None
        tower = (
            VisionTower(encoder, getattr(model, family.connector), layer, int(layer is not None))
            if family.connector
            else QwenTower(encoder)
        )
        planes = 3
    for part in (tower, trunk):
        part.to(device, dtype).eval().requires_grad_(False)
    trunk.parts.fuse()
    pixels = torch.zeros(1, planes, size, size, device=device, dtype=dtype)
    return tower, trunk, pixels


def weights_gb(name: str, small: bool, dtype: torch.dtype) -> float:
    """Return the size of a model's weights [GB], counted without making them."""
    with torch.device('meta'):
        if name == OPENVLA:
            config = openvla_text(small)
            towers = FusedTower(*openvla_towers(small), 4096, config.hidden_size)
            parts: list[nn.Module] = [towers, LlamaModel(config)]
        else:
            parts = [AutoModel.from_config(MODELS[name][0](small))]
    count = sum(weight.numel() for part in parts for weight in part.parameters())
    return count * dtype.itemsize / 1e9


def free_gb(device: torch.device) -> float:
    """Return the free memory of a device [GB]."""
    if device.type == 'cuda':
        return torch.cuda.mem_get_info(device)[0] / 1e9
    return psutil.virtual_memory().available / 1e9


def median_ms(run: Callable[[], Any], device: torch.device, rounds: int) -> float:
    """Return the median time of a call after two that warm it up [ms]."""
    spent = []
    for step in range(rounds + 2):
        begin = time.perf_counter()
        run()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        if step > 1:
            spent.append((time.perf_counter() - begin) * 1e3)
    return float(np.median(spent))


@torch.inference_mode()
def measure(name: str, small: bool, device: torch.device, rounds: int) -> dict[str, Any]:
    """Return the times of one model, or why it was not measured."""
    dtype = torch.bfloat16 if device.type == 'cuda' else torch.float32
    size, free = weights_gb(name, small, dtype), free_gb(device)
    if ROOM * size > free:
        return {
            'refused': f'{size:.1f} GB of weights need {ROOM * size:.1f} GB; {free:.1f} are free. '
            'Free some memory, or take a larger device.'
        }
    tower, trunk, pixels = built(name, small, device, dtype)
    features = tower(pixels)[0]
    side = round(len(features) ** 0.5)
    tokens = VisualTokens(
        features=features.float().cpu().numpy(),
        **grid_map(len(features), (side, side)),
        age=np.zeros(len(features), np.float32),
        grid=(side, side),
        stamp=0.0,
    )
    words = Words(torch.arange(WORDS), None, torch.arange(WORDS))
    positions, layout = arranged(trunk.parts, tokens, len(features), words)
    text = words.ids[None].to(device)
    given = (features[None], positions, text, torch.ones_like(text, dtype=torch.bool), layout)
    cases: dict[str, Callable[[], Any]] = {
        'dense': lambda: trunk(*given),
        'keep 0.5': lambda: trunk(*given, Evenly(0.5)),
        'keep 0.25': lambda: trunk(*given, Evenly(0.25)),
    }
    if trunk.parts.has_attention:
        slots = [KeyValues(len(features) + WORDS + QUERIES) for _ in trunk.parts.layers]
        trunk(*given, None, runner.Reuse(slots))
        still = torch.arange(round(0.9 * len(features)), device=device)
        cases['reuse 0.9'] = lambda: trunk(*given, None, runner.Reuse(slots, {0: still}))
    row = {
        'weights_gb': round(size, 3),
        'visual_tokens': len(features),
        'tower_ms': median_ms(lambda: tower(pixels), device, rounds),
        **{f'{case}_ms': median_ms(run, device, rounds) for case, run in cases.items()},
    }
    if device.type == 'cuda':
        row['peak_gb'] = torch.cuda.max_memory_allocated(device) / 1e9
    return row


def main() -> None:
    """Measure what the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='file of the rows, JSON')
    parser.add_argument('--device', default='auto', help='such as cuda or cpu')
    parser.add_argument('--small', action='store_true', help='shrink all but the count of tokens')
    parser.add_argument('--rounds', type=int, default=20, help='passes of each case')
    parser.add_argument('--models', nargs='*', default=[*MODELS, OPENVLA], help='some of them')
    args = parser.parse_args()
    unknown = set(args.models) - {*MODELS, OPENVLA}
    if unknown:
        parser.error(f'unknown models {", ".join(sorted(unknown))}; known: {", ".join(MODELS)}')
    device, console = torch_device(args.device), Console()
    rows: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    where = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'cpu'
    for name in args.models:
        key = f'{name}, {"small" if args.small else "full"}, {where}'
        if 'dense_ms' in rows.get(key, {}):
            continue
        rows[key] = measure(name, args.small, device, args.rounds)
        args.out.write_text(json.dumps(rows, indent=1) + '\n')
        console.print(key, rows[key])
        gc.collect()
        if device.type == 'cuda':
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)


if __name__ == '__main__':
    main()
