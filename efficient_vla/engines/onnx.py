# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime, on the CPU or, as ``tensorrt``, by its provider for TensorRT on a GPU of NVIDIA.

Neither comes with this package. Data goes through the memory of the CPU.
"""

import inspect
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from efficient_vla.engines import store
from efficient_vla.engines.graphs import Engined, EngineGraph, EngineRequest, Tensors
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import give_back

PROVIDERS = {'onnxruntime': 'CPUExecutionProvider', 'tensorrt': 'TensorrtExecutionProvider'}
NEEDED = {'onnxruntime': 'onnxruntime', 'tensorrt': 'onnxruntime-gpu tensorrt'}
"""Engine -> packages that execute it; exports are made by two more."""
OPSET = 23
"""Version of ONNX's operators: the first one with attention and root-mean-square norms."""
LEAST = 1, 23
"""Version of ONNX Runtime that knows them."""


@cache
def library() -> Any:
    """Return the module of ONNX Runtime."""
    # From 1.29 on it reports sessions over the network, and keeps a file and a thread for that from
    # its import on, whatever it is told later.
    os.environ['ORT_DISABLE_TELEMETRY'] = '1'
    found = import_module('onnxruntime')
    found.disable_telemetry_events()  # of one that was imported before
    return found


def version() -> str:
    """Return the version of the engine."""
    return str(library().__version__)


def check(request: EngineRequest) -> None:
    """Raise ``InvalidSettingError`` where this machine lacks what is asked for."""
    engine, remedy = request.engine, f'pip install {NEEDED[request.engine]} onnx onnxscript'
    for name, load in (('onnxruntime', library), ('onnx', None), ('onnxscript', None)):
        try:
            load() if load else import_module(name)
        except ImportError as error:
            raise InvalidSettingError(
                f'engine is {engine}, which needs the package {name} ({error}). Install it: '
                f'{remedy}; or set engine to torch.'
            ) from error
    if tuple(map(int, version().split('.')[:2])) < LEAST:
        raise InvalidSettingError(
            f'engine is {engine}; the installed ONNX Runtime is {version()}, expected '
            f'{".".join(map(str, LEAST))} or newer. Install it: {remedy} --upgrade; or set engine '
            'to torch.'
        )
    provider, able = PROVIDERS[engine], library().get_available_providers()
    if provider not in able:
        raise InvalidSettingError(
            f'engine is {engine}; the installed ONNX Runtime has {", ".join(able)}, but no '
            f'{provider}. Install it: {remedy}; or set engine to torch.'
        )


def compiled(graph: EngineGraph, request: EngineRequest) -> Engined:
    """Return the graph as ONNX Runtime executes it, of an earlier export where there is one."""
    key = store.key(graph, request, f'{version()}, opset {OPSET}')
    folder = store.place(request.folder)
    kept = folder is not None and store.intact(folder, key)
    held: Any = None if folder is None else folder / f'{key}.onnx'
    weights = sum(w.numel() * w.element_size() for w in graph.module.state_dict().values())
    if not kept:
        made, plain = exported(graph)
        if folder is not None:
            store.write(folder, key, partial(_save, made, held.name))
        if folder is None or not store.intact(folder, key):
            held = made.model_proto.SerializeToString()
        # Rules of the exporter keep the newest graph for good, with what it was made of.
        for weight in (*plain, *made.model.graph.initializers.values()):
            weight.const_value = None
        del made
    if graph.release:
        graph.release()
        give_back()
    return Engined(_runner(_session(held, request)), weights, graph.calls[0][0], kept)


def exported(graph: EngineGraph) -> tuple[Any, list[Any]]:
    """Return a graph in ONNX's format, and what holds the weights that it was made of."""
    varying = [[axis for axis, size in enumerate(shape) if size == -1] for shape in graph.shapes]
    sizes: Any = [dict.fromkeys(axes, torch.export.Dim.AUTO) for axes in varying]
    given = [*inspect.signature(graph.module.forward).parameters.values()]
    if given[-1].kind is inspect.Parameter.VAR_POSITIONAL:
        sizes = [*sizes[: len(given) - 1], tuple(sizes[len(given) - 1 :])]

    with torch.no_grad(), _quiet():
        made = torch.onnx.export(
            graph.module,
            min(graph.calls, key=partial(_chance, shapes=graph.shapes)),
            dynamo=True,
            dynamic_shapes=tuple(sizes),
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
        weights = [*made.model.graph.initializers.values()]
        made.optimize()
    return made, weights


def _save(made: Any, name: str, folder: Path) -> None:
    made.save(folder / name, external_data=True)


def _chance(call: Tensors, shapes: list[list[int]]) -> int:
    """Return how many varying sizes of a call an export may take for constants.

    These are 0 and 1, and what equals a size that does not vary.
    """
    known = {0, 1, *(size for shape in shapes for size in shape)}
    pairs = [
        pair
        for one, shape in zip(call, shapes, strict=True)
        for pair in zip(one.shape, shape, strict=True)
    ]
    return sum(size in known for size, said in pairs if said == -1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says of packages that are not there, and of its own rules."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)


def _session(given: Path | bytes, request: EngineRequest) -> Any:
    """Return what executes an export, of a file or of its bytes."""
    options = library().SessionOptions()
    options.intra_op_num_threads = request.threads
    options.log_severity_level = 3
    # One block for all that a pass makes was no faster, and stayed beside the pieces of the first.
    options.enable_mem_pattern = False
    # Threads that wait for work sleep: others of the robot need the processor.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    providers = [*dict.fromkeys((PROVIDERS[request.engine], 'CPUExecutionProvider'))]
    return library().InferenceSession(given, options, providers=providers)


def _runner(session: Any) -> Callable[..., Tensors]:
    """Return what calls a session, from any thread."""
    names = [one.name for one in session.get_inputs()]

    def run(*inputs: torch.Tensor) -> Tensors:
        given = [one.detach().cpu().contiguous().numpy() for one in inputs]
        found = session.run(None, dict(zip(names, given, strict=True)))
        return tuple(torch.from_numpy(made).to(inputs[0].device) for made in found)

    return run
