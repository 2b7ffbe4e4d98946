# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""torch.compile: kernels that torch's compiler writes for this machine, and keeps by itself."""

import shutil

import torch

from efficient_vla.engines.graphs import Engined, EngineGraph, EngineRequest, Tensors, as_tuple
from efficient_vla.settings import InvalidSettingError

COMPILERS = ('g++', 'clang++', 'c++')
FORMS = 256
"""Compiled forms of one ``forward``, which all modules with it share, be they layers or policies;
torch takes 8 unless told, and runs those behind it uncompiled."""


def version() -> str:
    """Return the version of the engine."""
    return torch.__version__


def check(request: EngineRequest) -> None:
    """Raise ``InvalidSettingError`` where there is no compiler."""
    if not any(map(shutil.which, COMPILERS)):
        raise InvalidSettingError(
            f'engine is compile, which needs a C++ compiler; none of {", ".join(COMPILERS)} is '
            'installed. Install one: sudo apt-get install g++, or set engine to torch.'
        )


def compiled(graph: EngineGraph, request: EngineRequest) -> Engined:
    """Return the compiled graph; each of its recorded shapes is compiled for by a first call."""
    dynamic = any(-1 in shape for shape in graph.shapes)
    # As one graph, or an error: a part that cannot be compiled would run as it is, without a word.
    network = torch.compile(graph.module, dynamic=dynamic, fullgraph=True, recompile_limit=FORMS)
    with torch.inference_mode():
        # Passes run in this mode, for which it compiles anew: now rather than in the first pass.
        for call in graph.calls:
            network(*_alike(call))

    def run(*inputs: torch.Tensor) -> Tensors:
        known = _alike(inputs) if torch.is_inference_mode_enabled() else inputs
        return as_tuple(network(*known))

    weights = tuple(graph.module.parameters())
    return Engined(run, 0, graph.calls[0][0], kept=False, weights=weights)


def _alike(inputs: Tensors) -> Tensors:
    """Return inputs as contiguous tensors of inference mode, no two the same one.

    It is compiled anew for strides, for tensors that were made outside, and for each way in which
    inputs are one tensor.
    """
    made: list[torch.Tensor] = []
    for one in inputs:
        own = one.is_inference() and not any(one is other for other in made)
        made.append(one.contiguous() if own else one.clone(memory_format=torch.contiguous_format))
    return tuple(made)
