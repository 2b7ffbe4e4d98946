# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Other programs than torch that execute a stage: torch.compile, OpenVINO, ONNX Runtime, TensorRT.

A *graph* is a module of torch whose inputs and outputs are tensors (``graphs.EngineGraph``), cut
where rows of a sequence change: dropping, reuse and scores go on in torch between two graphs.
``fitting.fit`` puts an engine's form in the place of each, measures the error, and refuses it above
a bound. Every engine is one module of this room with::

    compiled(graph: EngineGraph, request: EngineRequest) -> Engined

``Engined`` is a module that is called as the graph was. ``request.format`` is a number format: its
name becomes part of the key under which an export is kept, and its ``change`` is given the model of
the engine and the graph with its recorded calls, to calibrate by.
"""
