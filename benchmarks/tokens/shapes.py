# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Latency of the language part of published models against keep and reuse, with random weights.

Time does not depend on the weights, so none are needed. What is measured is the runner: tokens
dropped before layer 0 (a fixed even choice, so that the mechanism is timed alone), after layer 2
(by FastV's ranking, its attention rows included), or computed no more from layer 0 on.
"""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from transformers import AutoModel, LlamaConfig

from benchmarks.tokens.flops import metered
from efficient_vla.attention import KeyValues
from efficient_vla.compression.quantization import quantize
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.decoders import Decoder

KEEPS = (1.0, 0.5, 0.25, 0.125)
REUSES = (0.0, 0.5, 0.9)
FASTV_LAYER = 2
VOCABULARY = 32
"""Embeddings are looked up and not multiplied with; a few are enough."""
MEMORY_SHARE = 0.5
"""Of the free memory, for the weights of a stack."""
DENSE_PASS_S = 6.0
"""A stack is cut to so many layers that a dense pass takes at most about this long."""
LEAST_LAYERS = 4
ROUND_LIMITS = (5, 60)


@dataclass(frozen=True, slots=True)
class Shape:
    """The language part of one model, and a prompt for it."""

    name: str
    layout: str
    visual: int
    rest: int
    """Rows that are never dropped: text, markers, state."""
    hidden: int
    layers: int
    heads: int
    key_heads: int
    ffn: int
    quantization: str = 'none'
    """Number format of the weights on a processor; 'none' takes the one that is usual for them."""

    def config(self, layers: int) -> LlamaConfig:
        """Return the configuration of a stack of this shape."""
        return LlamaConfig(
            hidden_size=self.hidden,
            intermediate_size=self.ffn,
            num_hidden_layers=layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_heads,
            vocab_size=VOCABULARY,
            max_position_embeddings=8192,
            pad_token_id=0,
        )

    @property
    def layer_weights(self) -> int:
        """Number of weights of one layer."""
        key = self.hidden * self.key_heads // self.heads
        return self.hidden * (2 * self.hidden + 2 * key + 3 * self.ffn)


SMOLVLM2: dict[str, Any] = {'hidden': 960, 'layers': 32, 'heads': 15, 'key_heads': 5, 'ffn': 2560}
SHAPES = (
    Shape(
        'SmolVLM2-500M',
        '2 cameras x 64 tokens, no tiles, as SmolVLA feeds it; 16 text tokens and the state',
        128,
        17,
        **SMOLVLM2,
    ),
    Shape(
        'SmolVLM2-500M int8',
        'the same, linear layers in int8_dynamic',
        128,
        17,
        quantization='int8_dynamic',
        **SMOLVLM2,
    ),
    Shape(
        'SmolVLM2-500M, 1664 tokens',
        'as many visual tokens as 2 cameras in 13 tiles of 64 would make; perception cuts no '
        'tiles, the language part alone is measured; 76 markers and text tokens',
        2 * 13 * 64,
        76,
        **SMOLVLM2,
    ),
    Shape('LLaVA-7B', '576 image and 60 text tokens', 576, 60, 4096, 32, 32, 32, 11008),
)
TINY = Shape('tiny', '32 visual and 4 other tokens', 32, 4, 64, 4, 4, 2, 128)


@dataclass(frozen=True, slots=True)
class Case:
    """One way to spend tokens; ``layer`` is that of the drop or -1."""

    keep: float = 1.0
    reuse: float | None = None
    layer: int = -1

    @property
    def mechanism(self) -> str:
        """Say what is done."""
        if self.reuse is not None:
            return 'reuse of keys and values'
        return f'drop before layer {self.layer}' if self.layer >= 0 else 'dense'


DENSE, FILLING = Case(), Case(reuse=0.0)
CASES = (
    DENSE,
    *(Case(keep, layer=layer) for layer in (0, FASTV_LAYER) for keep in KEEPS if keep < 1),
    *(Case(reuse=reuse) for reuse in REUSES),
)


class Drop:
    """Keep what ``choose`` says before one layer, by what the layer before it attends to."""

    outputs: frozenset[int] = frozenset()

    def __init__(self, layer: int, choose: Callable[[runner.LayerInput], torch.Tensor]) -> None:
        self.layers = frozenset({layer})
        self.scored = frozenset({layer - 1} if layer else ())
        self.choose = choose


@dataclass(slots=True)
class Stack:
    """A decoder with random weights and a prompt for it."""

    shape: Shape
    model: Any
    decoder: Decoder
    sequence: runner.Sequence
    even: torch.Tensor
    """Places of the visual tokens in the order in which an even choice takes them."""
    slots: list[KeyValues]

    def passage(self, case: Case) -> Callable[[], object]:
        """Return a pass over the prompt; what must be prepared is prepared here."""
        visual = self.shape.visual
        if case.reuse is not None:
            skip = self.even[: round(case.reuse * visual)].sort().values
            reuse = runner.Reuse(self.slots, {0: skip} if len(skip) else {})
            return lambda: runner.run(self.decoder, self.sequence, reuse=reuse)
        if case.layer < 0:
            return lambda: runner.run(self.decoder, self.sequence)
        count = round(case.keep * visual)
        even = self.even[:count].sort().values

        def choose(entering: runner.LayerInput) -> torch.Tensor:
            return entering.last.topk(count).indices.sort().values if case.layer else even

        return lambda: runner.run(self.decoder, self.sequence, Drop(case.layer, choose))


def make_stack(shape: Shape, layers: int, device: torch.device, dtype: torch.dtype) -> Stack:
    """Return a stack on a device, its slots of keys and values still empty."""
    torch.manual_seed(0)
    with device:
        model = AutoModel.from_config(shape.config(layers), dtype=dtype).eval()
        if shape.quantization != 'none':
            model = quantize(model, shape.quantization)
        length = shape.visual + shape.rest
        places = torch.arange(length)
        sequence = runner.Sequence(
            embeddings=torch.randn(1, length, shape.hidden, dtype=dtype),
            positions=places[None],
            mask=runner.causal_mask(torch.ones(1, length, dtype=torch.bool)),
            visual=places[: shape.visual],
            text=places[shape.visual :],
        )
        # The golden ratio spreads every prefix of the order evenly.
        even = (torch.arange(shape.visual) * 0.6180339887498949 % 1).argsort()
    slots = [KeyValues(length) for _ in range(layers)]
    return Stack(shape, model, Decoder(model), sequence, even, slots)


def measure_shape(shape: Shape, device: torch.device, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield one row a case; all cases run in turn, so that a slow machine slows all of them.

    ``seconds`` is about how long the rounds may take; as many layers run as memory and time allow.
    """
    dtype, plain = number_format(shape, device), shape.quantization == 'none'
    count = layers_that_fit(shape, device, dtype)
    with torch.inference_mode():
        stack = make_stack(shape, count, device, dtype)
        passes = {case: stack.passage(case) for case in CASES}
        flops = {}
        with metered(stack.model) as meter:
            # The case that computes every token comes first: it fills all slots.
            for case in sorted(CASES, key=lambda case: case != FILLING):
                passes[case]()
                flops[case] = meter.take()
        times = _rounds(passes, device, seconds)
    dense = times[DENSE]
    for case, found in times.items():
        p50, p95 = np.percentile(found, (50, 95))
        yield {
            'name': f'{shape.name}, {case.mechanism}',
            'shape': shape.name,
            'layout': shape.layout,
            'mechanism': case.mechanism,
            'keep': case.keep,
            'reuse': case.reuse,
            'visual_tokens': shape.visual,
            'other_tokens': shape.rest,
            'layers': count,
            'layers_of_model': shape.layers,
            'dtype': str(dtype).removeprefix('torch.') if plain else shape.quantization,
            'device': device_name(device),
            'passes': len(found),
            'p50_ms': float(p50),
            'p95_ms': float(p95),
            'ratio': float(p50 / np.median(dense)),
            'speed_up': float(np.median(dense) / p50),
            'gflops': flops[case] / 1e9,
            'flops_ratio': flops[case] / flops[DENSE],
        }
    del stack, passes
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.empty_cache()


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or 'cpu' with the number of threads."""
    if device.type == 'cuda':
        return str(torch.cuda.get_device_name(device))
    return f'cpu, {torch.get_num_threads()} threads'


def number_format(shape: Shape, device: torch.device) -> torch.dtype:
    """Return bf16 on a GPU and for a 7B layer, float32 for what fits a processor."""
    small = shape.layer_weights < 1e8
    return torch.float32 if device.type == 'cpu' and small else torch.bfloat16


def layers_that_fit(shape: Shape, device: torch.device, dtype: torch.dtype) -> int:
    """Return how many layers memory holds and a dense pass has time for."""
    layer_bytes = shape.layer_weights * dtype.itemsize
    free = (
        torch.cuda.mem_get_info(device)[0]
        if device.type == 'cuda'
        else psutil.virtual_memory().available
    )
    fit = min(shape.layers, int(MEMORY_SHARE * free / layer_bytes))
    if fit <= LEAST_LAYERS:
        return max(1, fit)
    with torch.inference_mode():
        stack = make_stack(shape, 1, device, dtype)
        once = stack.passage(DENSE)
        once()
        layer_s = min(_timed(once, device) for _ in range(3))
    return max(LEAST_LAYERS, min(fit, int(DENSE_PASS_S / layer_s)))


def _rounds(
    passes: dict[Case, Callable[[], object]], device: torch.device, seconds: float
) -> dict[Case, list[float]]:
    """Return milliseconds of all passes a case; odd rounds go backwards."""
    order = list(passes)
    times: dict[Case, list[float]] = {case: [] for case in passes}
    begin = time.perf_counter()
    least, most = ROUND_LIMITS
    for index in range(most):
        for case in order if index % 2 == 0 else reversed(order):
            times[case].append(_timed(passes[case], device) * 1e3)
        if index + 1 >= least and time.perf_counter() - begin > seconds:
            break
    return times


def _timed(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one pass, with all that the GPU has to do for it."""
    _synchronise(device)
    start = time.perf_counter()
    call()
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
