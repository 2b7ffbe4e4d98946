# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime, on the CPU or, as ``tensorrt``, by its provider for TensorRT on a GPU of NVIDIA.

Neither comes with this package. Data goes through the memory of the CPU.
"""

import inspect
import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from efficient_vla.engines import store
from efficient_vla.engines.graphs import Engined, EngineGraph, EngineRequest, Tensors
from efficient_vla.settings import InvalidSettingError

PROVIDERS = {'onnxruntime': 'CPUExecutionProvider', 'tensorrt': 'TensorrtExecutionProvider'}
NEEDED = {'onnxruntime': 'onnxruntime', 'tensorrt': 'onnxruntime-gpu tensorrt'}
"""Engine -> packages that execute it; exports are made by two more."""


@cache
def library() -> Any:
    """Return the module of ONNX Runtime."""
    return import_module('onnxruntime')


def version() -> str:
    """Return the version of the engine."""
    return str(library().__version__)


def check(request: EngineRequest) -> None:
    """Raise ``InvalidSettingError`` where this machine lacks what is asked for."""
    engine, remedy = request.engine, f'pip install {NEEDED[request.engine]} onnx onnxscript'
    for name in ('onnxruntime', 'onnx', 'onnxscript'):
        try:
            import_module(name)
        except ImportError as error:
            raise InvalidSettingError(
                f'engine is {engine}, which needs the package {name} ({error}). Install it: '
                f'{remedy}; or set engine to torch.'
            ) from error
    provider, able = PROVIDERS[engine], library().get_available_providers()
    if provider not in able:
        raise InvalidSettingError(
            f'engine is {engine}; the installed ONNX Runtime has {", ".join(able)}, but no '
            f'{provider}. Install it: {remedy}; or set engine to torch.'
        )


def compiled(graph: EngineGraph, request: EngineRequest) -> Engined:
    """Return the graph as ONNX Runtime executes it, of an earlier export where there is one."""
    folder = store.place(request.folder)
    if folder is None:
        raise InvalidSettingError(
            f'engine is {request.engine}; neither the folder of the policy nor the cache folder of '
            'the user can be written to, and an export is a file. Set XDG_CACHE_HOME to a folder '
            'that can, or engine to torch.'
        )
    key = store.key(graph, request, version())
    session = _opened(folder, key, request)
    kept = session is not None
    if session is None:
        store.write(folder, key, lambda aside: export(graph, aside / f'{key}.onnx'))
        session = _opened(folder, key, request)
        if session is None:
            raise OSError(f'{folder / key}.onnx could not be written')
    if graph.release:
        graph.release()
    weights = sum(w.numel() * w.element_size() for w in graph.module.state_dict().values())
    return Engined(_runner(session), weights, graph.calls[0][0], kept)


def export(graph: EngineGraph, path: Path) -> None:
    """Write a graph in ONNX's format."""
    automatic = torch.export.Dim.AUTO
    sizes: Any = tuple(
        {axis: automatic for axis, size in enumerate(shape) if size == -1} for shape in graph.shapes
    )
    given = inspect.signature(graph.module.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in given):
        sizes = (sizes,)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            graph.module,
            graph.calls[0],
            str(path),
            dynamo=True,
            dynamic_shapes=sizes,
            verbose=False,
        )


def _opened(folder: Path, key: str, request: EngineRequest) -> Any:
    """Return a session of an export, ``None`` where there is none or it is damaged."""
    if not store.intact(folder, key):
        return None
    options = library().SessionOptions()
    options.intra_op_num_threads = request.threads
    options.log_severity_level = 3
    providers = [*dict.fromkeys((PROVIDERS[request.engine], 'CPUExecutionProvider'))]
    try:
        return library().InferenceSession(str(folder / f'{key}.onnx'), options, providers=providers)
    except Exception:
        return None


def _runner(session: Any) -> Callable[..., Tensors]:
    """Return what calls a session, from any thread."""
    names = [one.name for one in session.get_inputs()]
    one_at_a_time = threading.Lock()

    def run(*inputs: torch.Tensor) -> Tensors:
        given = [one.detach().cpu().contiguous().numpy() for one in inputs]
        with one_at_a_time:
            found = session.run(None, dict(zip(names, given, strict=True)))
        return tuple(torch.from_numpy(made).to(inputs[0].device) for made in found)

    return run
