# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO, on the CPU. Its telemetry is never loaded."""

import sys
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from efficient_vla.engines import store
from efficient_vla.engines.graphs import Engined, EngineGraph, EngineRequest, Tensors
from efficient_vla.settings import InvalidSettingError

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
    folder = store.place(request.folder)
    model, kept = None, False
    if folder is not None:
        key = store.key(graph, request, version())
        model = _read(folder, key)
        kept = model is not None
        if model is None:
            made = exported(graph, request)
            store.write(folder, key, lambda aside: _save(made, aside / f'{key}.xml'))
            # Read again, its weights are pages of the file, which the system can let go.
            model = _read(folder, key) or made
    else:
        model = exported(graph, request)
    return Engined(_runner(model, request), _weight_bytes(model), graph.calls[0][0], kept)


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
    return request.format.change(model, graph) if request.format.change else model


def _save(model: Any, path: Path) -> None:
    try:
        library().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f'{path} cannot be written: {error}') from error


def _read(folder: Path, key: str) -> Any:
    """Return the model that was exported, ``None`` where there is none or it is damaged."""
    if not store.intact(folder, key):
        return None
    try:
        return core().read_model(folder / f'{key}.xml')
    except RuntimeError:
        return None


def _runner(model: Any, request: EngineRequest) -> Callable[..., Tensors]:
    """Return what calls the compiled model, from any thread."""
    options = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_NUM_THREADS': request.threads,
        'INFERENCE_PRECISION_HINT': request.format.precision,
        'ENABLE_CPU_PINNING': False,
        **dict(request.format.options),
    }
    network = core().compile_model(model, DEVICE, options)
    count, own, shared = len(network.outputs), threading.local(), library().Tensor

    def run(*inputs: torch.Tensor) -> Tensors:
        if not hasattr(own, 'request'):
            own.request = network.create_infer_request()
            own.held, own.arrays = [None] * len(inputs), [None] * len(inputs)
        for place, one in enumerate(inputs):
            # What is the same in all steps of an expert is handed over once: memory is shared.
            if own.held[place] is not one:
                array = own.arrays[place] = one.detach().contiguous().numpy()
                own.request.set_input_tensor(place, shared(array, shared_memory=True))
                own.held[place] = one if one.is_contiguous() else None
        own.request.infer()
        made = (own.request.get_output_tensor(place).data for place in range(count))
        return tuple(torch.from_numpy(part.copy()) for part in made)

    return run


def _weight_bytes(model: Any) -> int:
    constants = (op for op in model.get_ops() if op.get_type_name() == 'Constant')
    return sum(op.get_byte_size() for op in constants)
