# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO, on the CPU. Its telemetry is never loaded."""

import mmap
import os
import sys
import threading
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from efficient_vla.engines import store
from efficient_vla.engines.graphs import Engined, EngineGraph, EngineRequest, Tensors
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import give_back

DEVICE = 'CPU'


@cache
def library() -> ModuleType:
    """Return the module of OpenVINO; raises ``InvalidSettingError`` where it is not installed."""
    # OpenVINO reports imports and conversions over the network where it finds this module.
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise InvalidSettingError(
            f'engine is openvino, which cannot be loaded here ({error}); expected an installed '
            'one. Install it: pip install openvino, or set engine to torch.'
        ) from error
    return openvino


@cache
def core() -> Any:
    """Return the runtime."""
    return library().Core()


def version() -> str:
    """Return the version of the engine."""
    return str(library().get_version()).partition('-')[0]


def operations() -> Any:
    """Return what makes the nodes of models."""
    return library().opset13


def computes_in_bfloat16() -> bool:
    """Return whether this processor does."""
    return 'BF16' in core().get_property(DEVICE, 'OPTIMIZATION_CAPABILITIES')


def check(request: EngineRequest) -> None:
    """Raise ``InvalidSettingError`` where this machine cannot do what is asked for."""
    if request.format.precision == 'bf16' and not computes_in_bfloat16():
        raise InvalidSettingError(
            f'quantization.mode is bf16 with engine openvino; {store.processor()} does not compute '
            f'in bfloat16 (it has {", ".join(store.instruction_sets())}). Set quantization.mode to '
            'none.'
        )


def compiled(graph: EngineGraph, request: EngineRequest) -> Engined:
    """Return the graph as OpenVINO executes it, of an earlier export where there is one."""
    folder, found, kept = store.place(request.folder), None, False
    if folder is not None:
        key = store.key(graph, request, version())
        found = _read(folder, key)
        kept = found is not None
        if found is None:
            made = exported(graph, request)
            store.write(folder, key, lambda aside: _save(made, aside / f'{key}.xml'))
            found = _read(folder, key) or (made, None)
            del made
    model, pages = found or (exported(graph, request), None)
    if graph.release:
        graph.release()
        give_back()
    run = _Runner(_network(model, request), pages)
    run.settle()
    return Engined(run, _weight_bytes(model), graph.calls[0][0], kept, settle=run.settle)


def exported(graph: EngineGraph, request: EngineRequest) -> Any:
    """Return the model of a graph in the number format of the request."""
    ov = library()
    with torch.no_grad(), warnings.catch_warnings():
        # Of branches that the shapes of a graph decide, which its calls cover.
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        model = ov.convert_model(
            graph.module,
            example_input=graph.calls[0],
            input=[ov.PartialShape(shape) for shape in graph.shapes],
        )
    _spell_out_attention(model)
    if request.format.change:
        model = request.format.change(model, graph)
        request.format.verify(model, graph)
    return model


def _spell_out_attention(model: Any) -> None:
    """Write attention without a mask as two products.

    The plugin does so too, but transposes keys before, which takes 4 of 167 ms of a tower that sees
    1024 patches; a product reads them as they lie.
    """
    ops = operations()
    for node in model.get_ordered_ops():
        if node.get_type_name() != 'ScaledDotProductAttention':
            continue
        query, key, value = (node.input_value(place) for place in range(3))
        width = query.get_partial_shape()[-1]
        if node.get_input_size() > 3 or node.get_attributes()['causal'] or width.is_dynamic:
            continue
        scale = ops.constant(width.get_length() ** -0.5, query.get_element_type())
        query = ops.multiply(query, scale)
        shares = ops.softmax(ops.matmul(query, key, False, True), -1)
        node.output(0).replace(ops.matmul(shares, value, False, False).output(0))


def _save(model: Any, path: Path) -> None:
    try:
        library().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f'{path} cannot be written: {error}') from error


def _read(folder: Path, key: str) -> tuple[Any, mmap.mmap | None] | None:
    """Return the model that was exported and its weights, ``None`` where it is not there intact.

    Weights are pages of the file, which the system can let go; a graph without any has none.
    """
    if not store.intact(folder, key):
        return None
    xml = folder / f'{key}.xml'
    try:
        with xml.with_suffix('.bin').open('rb') as file:
            if not os.fstat(file.fileno()).st_size:
                return core().read_model(xml), None
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        weights = library().Tensor(np.frombuffer(pages, np.uint8), shared_memory=True)
        return core().read_model(xml.read_text(), weights), pages
    except (OSError, ValueError, RuntimeError):
        return None


def _network(model: Any, request: EngineRequest) -> Any:
    """Return the compiled model."""
    options = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_NUM_THREADS': request.threads,
        'INFERENCE_PRECISION_HINT': request.format.precision,
        'ENABLE_CPU_PINNING': False,
        **dict(request.format.options),
    }
    return core().compile_model(model, DEVICE, options)


class _Runner:
    """Calls a compiled model from any thread."""

    def __init__(self, network: Any, pages: mmap.mmap | None) -> None:
        """Take the network and the file of its weights, where there is one."""
        self._network, self._pages = network, pages
        self._outputs, self._shared = range(len(network.outputs)), library().Tensor
        self._own = threading.local()

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """Return the outputs."""
        own = self._own
        if not hasattr(own, 'request'):
            own.request = self._network.create_infer_request()
            own.held, own.arrays = [None] * len(inputs), [None] * len(inputs)
        for place, one in enumerate(inputs):
            # What is the same in all steps of an expert is handed over once: memory is shared.
            if own.held[place] is not one:
                array = own.arrays[place] = one.detach().contiguous().numpy()
                own.request.set_input_tensor(place, self._shared(array, shared_memory=True))
                own.held[place] = one if one.is_contiguous() else None
        own.request.infer()
        made = (own.request.get_output_tensor(place).data for place in self._outputs)
        return tuple(torch.from_numpy(part.copy()) for part in made)

    def settle(self) -> None:
        """Let go of what earlier calls made, and of pages of the file; few are read again."""
        self._own = threading.local()
        self._network.release_memory()
        if self._pages is not None:
            self._pages.madvise(mmap.MADV_DONTNEED)


def _weight_bytes(model: Any) -> int:
    constants = (op for op in model.get_ops() if op.get_type_name() == 'Constant')
    return sum(op.get_byte_size() for op in constants)
