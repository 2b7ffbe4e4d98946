# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Modules that an engine is to execute, and recorded calls of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

Tensors = tuple[torch.Tensor, ...]


@dataclass(slots=True)
class EngineGraph:
    """A module that maps tensors to tensors, whose place an engine's form can take."""

    name: str
    module: nn.Module
    put: Callable[[nn.Module], None]
    """Put another module in its place."""
    release: Callable[[], None] | None = None
    """Let go of torch's weights, which an engine that has its own needs no more."""
    calls: list[Tensors] = field(default_factory=list)
    """Inputs of recorded calls, of at least two sizes where sizes vary."""
    answers: list[Tensors] = field(default_factory=list)
    """What the module returned for each."""

    def forget(self) -> None:
        """Let go of the recorded calls."""
        self.calls.clear()
        self.answers.clear()

    @property
    def shapes(self) -> list[list[int]]:
        """Shape of each input, -1 where the calls differ."""
        columns = zip(*([tuple(given.shape) for given in call] for call in self.calls), strict=True)
        return [
            [sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*shapes, strict=True)]
            for shapes in columns
        ]


def child(root: nn.Module, path: str) -> EngineGraph:
    """Return the graph of the submodule of ``root`` at a dotted path."""
    return EngineGraph(path, root.get_submodule(path), lambda made: root.set_submodule(path, made))


@contextmanager
def recorded(graphs: Sequence[EngineGraph]) -> Iterator[None]:
    """Record every call of the graphs' modules meanwhile."""

    def recorder(graph: EngineGraph) -> Callable[[Any, Tensors, Any], None]:
        def record(module: nn.Module, inputs: Tensors, made: Any) -> None:
            copies = {id(given): given.detach().clone() for given in inputs}
            graph.calls.append(tuple(copies[id(given)] for given in inputs))
            graph.answers.append(tuple(part.detach().clone() for part in as_tuple(made)))

        return record

    handles = [g.module.register_forward_hook(recorder(g)) for g in graphs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, slots=True)
class EngineFormat:
    """A number format in which an engine holds a graph."""

    name: str = 'float32'
    precision: str = 'f32'
    """In which numbers the engine computes: 'f32' or 'bf16'."""
    change: Callable[[Any, EngineGraph], Any] | None = None
    """Return the engine's model in this format, of its model in float32 and the graph."""
    options: tuple[tuple[str, str], ...] = ()
    """What the engine is told when it compiles, name and value."""
    facts: Callable[[EngineGraph], str] = field(default=lambda graph: '')
    """Return what else the export of a graph in this format depends on."""
    max_error: float = 0.01
    """Largest relative error of seeded input to torch that rounds alike, where no other one is
    asked for."""
    rounded: Callable[[Sequence[EngineGraph]], AbstractContextManager[None]] | None = None
    """Let torch round in the graphs meanwhile as the format does, ``precision`` left out."""
    verify: Callable[[Any, EngineGraph], None] = field(default=lambda model, graph: None)
    """Raise ``RuntimeError`` where a model in this format holds other numbers than the graph."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """How graphs are wanted."""

    engine: str
    threads: int
    max_error: float
    """Largest relative error that is taken."""
    folder: Path | None = None
    """The policy's, beside which exports are kept."""
    format: EngineFormat = EngineFormat()


class Engined(nn.Module):
    """A graph that an engine executes."""

    like: torch.Tensor

    def __init__(
        self,
        run: Callable[..., Tensors],
        weight_bytes: int,
        example: torch.Tensor,
        kept: bool,
        weights: Tensors = (),
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """Call ``run``; ``weight_bytes`` is what the engine holds, ``kept`` whether from a file.

        ``weights`` are tensors that it uses and that other modules may have too; ``settle`` lets go
        of what earlier calls needed alone.
        """
        super().__init__()
        self._run, self.settle = run, settle
        self.weight_bytes, self.kept, self.shared_weights = weight_bytes, kept, weights
        like = torch.zeros((), dtype=example.dtype, device=example.device)
        self.register_buffer('like', like, persistent=False)

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Return what the module would: a tensor, or a tuple of several."""
        made = self._run(*inputs)
        return made[0] if len(made) == 1 else made


def as_tuple(made: Any) -> Tensors:
    """Return the outputs of a module."""
    return (made,) if isinstance(made, torch.Tensor) else tuple(made)


def relative_error(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Return the largest error of an output, in shares of its length; infinite where NaN."""
    worst = 0.0
    for mine, theirs in zip(found, expected, strict=True):
        if mine.shape != theirs.shape:
            return float('inf')
        exact = theirs.double().cpu()
        error = float((mine.double().cpu() - exact).norm() / exact.norm().clamp_min(1e-12))
        worst = max(worst, error if error == error else float('inf'))
    return worst
