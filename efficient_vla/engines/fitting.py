# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Put an engine in the place of a stage's graphs, and measure what it changes."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from efficient_vla.engines import store
from efficient_vla.engines.graphs import (
    Engined,
    EngineGraph,
    EngineRequest,
    Tensors,
    as_tuple,
    recorded,
    relative_error,
)
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import give_back

MODULES = {
    'compile': 'compile',
    'openvino': 'openvino',
    'onnxruntime': 'onnx',
    'tensorrt': 'onnx',
}
"""Engine -> module of this room."""
EXPORTING = ('openvino', 'onnxruntime', 'tensorrt')
"""Those that hold the weights themselves, so that torch's are let go."""
KEPT_ERROR = 1.0
"""Largest error of exports in integers that are kept, to torch in float32: what is broken."""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What executes a stage, and what that changed."""

    engine: str
    version: str
    graphs: int
    kept: int
    """Of them, those read from an earlier export."""
    error: float
    """Of the stage, relative to torch in float32."""
    worst: str
    """EngineGraph with the largest error of its own to torch that rounds alike, and that error."""
    format: str
    seconds: float

    def __str__(self) -> str:
        """Return a sentence for the log."""
        fresh = self.graphs - self.kept
        return (
            f'{self.engine} {self.version} executes {self.graphs} graphs in {self.format} '
            f'({fresh} made now, {self.seconds:.1f} s); relative error to torch in float32 '
            f'{self.error:.2e}, to torch in this format most in {self.worst}; {store.processor()} '
            f'with {", ".join(store.instruction_sets())}'
        )


def module_of(engine: str) -> Any:
    """Return the module of an engine."""
    return import_module(f'efficient_vla.engines.{MODULES[engine]}')


def fit(
    graphs: Sequence[EngineGraph],
    probes: Iterable[Callable[[], Any]],
    request: EngineRequest,
) -> EngineReport:
    """Let the engine of the request execute ``graphs`` from now on.

    ``probes`` run the stage, and return tensors that say what came of it; each graph is called in
    them, with at least two sizes where its sizes vary. They run before and behind the release of
    the graphs.
    What is bounded is the error to torch that rounds as the format does; that to torch in float32
    is told. Exports that are kept were within that bound when they were made and are held to their
    hashes, so that rounding, which takes memory, is left out.
    Raises ``InvalidSettingError`` where the machine cannot run it, or an error is above the bound.
    """
    started, engine = time.perf_counter(), module_of(request.engine)
    engine.check(request)
    give_back()
    probes = list(probes)
    with torch.no_grad():
        with recorded(graphs):
            exact = expected = [as_tuple(probe()) for probe in probes]
        rounded, bound = request.format.rounded, request.max_error
        folder = store.place(request.folder) if rounded else None
        keys = [store.key(g, request, engine.version()) for g in graphs] if folder else []
        usual = request.format.max_error
        known = (
            folder is not None
            and bound == usual
            and all(store.vouched(folder, key) for key in keys)
        )
        if known:
            bound = max(bound, KEPT_ERROR)
        elif rounded:
            for graph in graphs:
                graph.forget()
            with rounded(graphs), recorded(graphs):
                expected = [as_tuple(probe()) for probe in probes]
        give_back()
        errors, parts = {}, []
        for graph in graphs:
            made = _compiled(engine, graph, request)
            errors[graph.name] = _checked(graph, made, request, bound)
            graph.put(made)
            graph.forget()
            parts.append(made)
        found = [as_tuple(probe()) for probe in probes]
    for made in parts:
        made.settle()
    give_back()
    error = relative_error(_flat(found), _flat(expected))
    _refuse(error, 'the stage', request, bound)
    worst = max(errors, key=lambda name: errors[name])
    if folder and not known and max(error, errors[worst]) <= usual:
        for key in keys:
            store.vouch(folder, key)
    return EngineReport(
        request.engine,
        engine.version(),
        len(graphs),
        sum(made.kept for made in parts),
        relative_error(_flat(found), _flat(exact)),
        f'{worst} ({errors[worst]:.2e})',
        request.format.name,
        time.perf_counter() - started,
    )


def _compiled(engine: Any, graph: EngineGraph, request: EngineRequest) -> Engined:
    try:
        made: Engined = engine.compiled(graph, request)
    except (InvalidSettingError, MemoryError):
        raise
    except Exception as error:
        root = error
        while isinstance(root.__cause__, Exception):
            root = root.__cause__
        said = ' '.join(str(root).split())[:300]
        raise InvalidSettingError(
            f'engine is {request.engine}, which cannot execute {graph.name} '
            f'({type(root).__name__}: {said.rstrip(".")}); expected torch. Set engine to torch.'
        ) from error
    return made


def _checked(graph: EngineGraph, made: Engined, request: EngineRequest, bound: float) -> float:
    """Return the largest error of a graph in its recorded calls."""
    worst = 0.0
    for call, expected in zip(graph.calls, graph.answers, strict=True):
        worst = max(worst, relative_error(as_tuple(made(*call)), expected))
    _refuse(worst, graph.name, request, bound)
    return worst


def _refuse(error: float, what: str, request: EngineRequest, bound: float) -> None:
    if not error <= bound:
        raise InvalidSettingError(
            f'engine {request.engine} in {request.format.name} gives {what} a relative error of '
            f'{error:.2e}; expected at most engine_max_error {bound:g}. Raise it, or '
            'set engine to torch.'
        )


def _flat(made: list[Tensors]) -> list[torch.Tensor]:
    return [tensor for tensors in made for tensor in tensors]
