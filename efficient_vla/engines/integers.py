# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Linear layers of OpenVINO's models in integers, which its CPU plugin keeps and multiplies.

Weights are constants of 8 bits with a scale a row, or of 4 with scale and zero a group. Inputs stay
as they are, are rounded between numbers that were measured, or as they come (dynamically, 64
numbers of a row by a scale of theirs). Attention, norms and activations are computed in bfloat16
where the processor does, and inputs are rounded anyway, else in float32.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.engines import openvino, store
from efficient_vla.engines.graphs import EngineFormat, EngineGraph

Layers = Mapping[nn.Module, torch.Tensor | None]
"""Linear layer -> between which numbers its inputs lie [2], ``None`` where that is not known."""
BITS = {'int8': 8, 'int8_dynamic': 8, 'int8_weight': 8, 'int4_weight': 4}
"""``quantization.mode`` -> bits of a weight."""
DYNAMIC_GROUP = 64
"""Inputs of a row that share a scale, where they are rounded as they come."""
EXACT = {'INFERENCE_PRECISION_HINT': 'f32'}
INTEGER_DOTS = ('avx512_vnni', 'avx_vnni', 'amx_int8')
"""Instructions that sum products of 8 bits in 32; others sum pairs in 16, which 255 levels fill."""


def form(mode: str, layers: Layers, group_size: int) -> EngineFormat:
    """Return the format of a ``quantization.mode`` for the given layers of a stage."""
    weight_only = mode.endswith('_weight')
    in_bfloat16 = not weight_only and openvino.computes_in_bfloat16()
    group = DYNAMIC_GROUP if mode == 'int8_dynamic' else 0
    return EngineFormat(
        f'{mode}, the rest in {"bfloat16" if in_bfloat16 else "float32"}',
        'bf16' if in_bfloat16 else 'f32',
        partial(changed, layers=layers, mode=mode, group_size=group_size),
        (('DYNAMIC_QUANTIZATION_GROUP_SIZE', str(group)),),
        partial(_facts, layers=layers, group_size=group_size),
        _bound(mode, in_bfloat16),
        partial(rounding, layers=layers, mode=mode, group_size=group_size),
        partial(verify, layers=layers, mode=mode, group_size=group_size),
    )


def _bound(mode: str, in_bfloat16: bool) -> float:
    """Return the largest error to torch that rounds alike: some times what was measured.

    Weights alone are the same numbers (1e-7). An input that lies between two steps may be rounded
    to either, and that error moves later ones, up to 4e-3 for 64 as they come; where seeded noise
    exceeds ranges that were measured on images, it grows (0.02, beside bfloat16 0.065; 0.155 in the
    16 layers of SmolVLA's expert, as far as from float32; 0.052 there as they come).
    """
    if mode.endswith('_weight'):
        return 1e-4
    if mode == 'int8':
        return 0.25 if in_bfloat16 else 0.05
    return 0.15 if in_bfloat16 else 0.01


def changed(model: Any, graph: EngineGraph, layers: Layers, mode: str, group_size: int) -> Any:
    """Return the model of a graph with those of its linear layers in integers that are named."""
    ops, held = openvino.operations(), {}
    for product, layer in _products(model, graph, layers):
        if layer not in held:  # which can have several products
            weight = product.input_value(1).get_node().get_data()  # [N, K]
            packed = _grouped(weight, group_size) if BITS[mode] == 4 else _by_row(weight)
            held[layer] = packed.output(0)
        product.input(1).replace_source_output(held[layer])
        between = layers[layer]
        if mode == 'int8' and between is not None:
            ends = [ops.constant(np.float32(end)) for end in _ends(between)]
            rounded = ops.fake_quantize(product.input_value(0), *ends, *ends, _levels())
            product.input(0).replace_source_output(rounded.output(0))
    return model


@contextmanager
def rounding(
    graphs: Sequence[EngineGraph], layers: Layers, mode: str, group_size: int
) -> Iterator[None]:
    """Let torch round in the graphs meanwhile as the format says, and multiply in float32.

    Layers that are called beside them too (keys and values that an expert makes of a prefix) are
    not rounded there. Weights are rounded a layer at a time.
    """
    inside: list[nn.Module] = []

    def product(layer: Any, inputs: tuple[torch.Tensor], made: torch.Tensor) -> torch.Tensor:
        if not inside:
            return made
        near = _near_weight(layer.weight.detach(), mode, group_size)
        return F.linear(_near_inputs(inputs[0], mode, layers[layer]), near, layer.bias)

    modules = [graph.module for graph in graphs]
    known = {part for module in modules for part in module.modules() if part in layers}
    handles = [layer.register_forward_hook(product) for layer in known]
    for module in modules:
        handles.append(module.register_forward_pre_hook(lambda part, _: inside.append(part)))
        handles.append(module.register_forward_hook(lambda *_: inside.clear()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def verify(model: Any, graph: EngineGraph, layers: Layers, mode: str, group_size: int) -> None:
    """Raise ``RuntimeError`` unless a model holds what torch rounds a layer to, and its range.

    Noise of rounded inputs hides neither. What was kept is held to its hash instead, since this
    reads all weights.
    """
    seen: set[nn.Module] = set()
    for product, layer in _products(model, graph, layers):
        entering, between = product.input_value(0).get_node(), layers[layer]
        ends = [0.0, 0.0]
        if entering.get_type_name() == 'FakeQuantize':
            ends = [float(entering.input_value(n).get_node().get_data()) for n in (1, 2)]
        wanted = [0.0, 0.0]
        if mode == 'int8' and between is not None:
            wanted = _ends(between)
        weight = None if layer in seen else _near_weight(layer.weight.detach(), mode, group_size)
        seen.add(layer)
        if not np.allclose(ends, wanted, rtol=1e-5) or not _holds(product.input_value(1), weight):
            raise RuntimeError(
                f'{product.get_friendly_name()} has other weights or ranges than the layer'
            )


def _holds(output: Any, weight: torch.Tensor | None) -> bool:
    """Return whether a constant expression is a weight [N, K], ``None`` where that is known."""
    if weight is None:
        return True
    alone = openvino.library().Model([output], [])
    held = openvino.core().compile_model(alone, openvino.DEVICE, EXACT)([])[0]
    return held.shape == weight.shape and np.allclose(held, weight.numpy(), rtol=1e-5, atol=1e-9)


def _ends(between: torch.Tensor) -> list[float]:
    """Return between which numbers inputs are rounded, 0 among them."""
    least, most = min(0.0, float(between[0])), max(0.0, float(between[1]))
    return [least, max(most, least + 1e-12)]


def _near_weight(weight: torch.Tensor, mode: str, group_size: int) -> torch.Tensor:
    """Return weights [N, K] as their format has them."""
    return _near_by_group(weight, group_size) if BITS[mode] == 4 else _near_by_row(weight)


def _near_by_row(weight: torch.Tensor) -> torch.Tensor:
    """Return weights [N, K] as 127ths of the largest of their row."""
    step = torch.linalg.vector_norm(weight, float('inf'), 1, keepdim=True).clamp_min(1e-12) / 127
    return (weight / step).round_().mul_(step)


def _near_by_group(weight: torch.Tensor, size: int) -> torch.Tensor:
    """Return weights [N, K] as 15ths of what their group spans, 0 among them."""
    groups = weight.unflatten(1, (-1, weight.shape[1] if weight.shape[1] % size else size))
    least, most = groups.amin(2, keepdim=True).clamp_max(0), groups.amax(2, keepdim=True)
    step = (most.clamp_min(0) - least).clamp_min(1e-12) / 15
    zero = (-least / step).round()
    return (((groups / step).round() + zero).clamp(0, 15).sub(zero) * step).flatten(1)


def _near_inputs(x: torch.Tensor, mode: str, between: torch.Tensor | None) -> torch.Tensor:
    """Return inputs [..., K] as a layer takes them."""
    if mode == 'int8' and between is not None:
        least, most = _ends(between)
        step = (most - least) / (_levels() - 1)
        return x.clamp(least, most).sub_(least).div_(step).round_().mul_(step).add_(least)
    if mode == 'int8_dynamic' and _sums_in_32() and not x.shape[-1] % DYNAMIC_GROUP:
        groups = x.unflatten(-1, (-1, DYNAMIC_GROUP))
        step = groups.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
        return (groups / step).round_().mul_(step).flatten(-2)
    return x


def _facts(graph: EngineGraph, layers: Layers, group_size: int) -> str:
    """Return which layers of a graph are meant, by path, with the ranges of their inputs."""
    known = [
        (path, None if (between := layers[layer]) is None else between.tolist())
        for path, layer in graph.module.named_modules()
        if layer in layers
    ]
    return repr((group_size, known))


def _products(model: Any, graph: EngineGraph, layers: Layers) -> Iterator[tuple[Any, nn.Module]]:
    """Yield the products of the given layers, each with its layer.

    Raises ``RuntimeError`` where none is found, since all would stay in float32.
    """
    # A node is named after the path of the module that it comes from.
    known = {
        f'__module.{path}': layer for path, layer in graph.module.named_modules() if layer in layers
    }
    found = [
        (node, known[name])
        for node in model.get_ordered_ops()
        if node.get_type_name() == 'MatMul'
        and (name := node.get_friendly_name().partition('/')[0]) in known
        and _is_constant(node.input_value(1).get_node())
        and node.get_attributes()['transpose_b']
    ]
    if known and not found:
        raise RuntimeError(f'none of {len(known)} linear layers is found in the converted model')
    yield from found


def _is_constant(node: Any) -> bool:
    """Return whether a node is a constant, or made of constants as weights are here."""
    kind = node.get_type_name()
    made = kind in ('Convert', 'Subtract', 'Multiply', 'Reshape')
    return kind == 'Constant' or (
        made and all(_is_constant(given.get_node()) for given in node.input_values())
    )


def _by_row(weight: np.ndarray) -> Any:
    """Return weights [N, K] as 8 bits times a scale a row."""
    ops = openvino.operations()
    scale = np.maximum(np.abs(weight).max(1, keepdims=True), 1e-12).astype(np.float32) / 127
    codes = np.round(weight / scale).astype(np.int8)
    return ops.multiply(ops.convert(ops.constant(codes), 'f32'), ops.constant(scale))


def _grouped(weight: np.ndarray, size: int) -> Any:
    """Return weights [N, K] as 4 bits less a zero, times a scale, ``size`` of a row alike.

    Rows that are no whole number of groups are one group.
    """
    ops, rows = openvino.operations(), len(weight)
    if weight.shape[1] % size:
        size = weight.shape[1]
    groups = weight.reshape(rows, -1, size)
    least = np.minimum(groups.min(2, keepdims=True), 0)
    span = np.maximum(np.maximum(groups.max(2, keepdims=True), 0) - least, 1e-12)
    scale = (span / 15).astype(np.float32)
    zero = np.round(-least / scale)
    codes = np.clip(np.round(groups / scale) + zero, 0, 15)
    held, base = (ops.convert(_half_bytes(part), 'f32') for part in (codes, zero))
    found = ops.multiply(ops.subtract(held, base), ops.constant(scale))
    return ops.reshape(found, ops.constant(np.array(weight.shape, np.int64)), special_zero=False)


def _half_bytes(numbers: np.ndarray) -> Any:
    """Return whole numbers from 0 to 15 as a constant of 4 bits each."""
    ov, flat = openvino.library(), numbers.astype(np.uint8).ravel()
    pairs = np.pad(flat, (0, flat.size % 2)).reshape(-1, 2)
    packed = pairs[:, 0] | pairs[:, 1] << 4
    tensor = ov.Tensor(packed, ov.Shape(list(numbers.shape)), ov.Type.u4)
    return openvino.operations().constant(tensor, shared_memory=False)


def _levels() -> int:
    """Return by how many numbers inputs are told apart."""
    return 256 if _sums_in_32() else 128


def _sums_in_32() -> bool:
    return not set(INTEGER_DOTS).isdisjoint(store.instruction_sets())
