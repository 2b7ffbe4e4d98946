# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""EfficientVLA: leave out the layers that change their input least (arXiv 2506.10100, section 3.2).

The importance of layer l is one minus the mean cosine of what enters and what leaves it, over the
tokens of a calibration set of frames. The least important layers are taken out for good. The first
and the last layer stay: the cosine says little of them, as their input or output has another scale.
``efficient-vla train --method similarity_skip`` measures it; what the paper prunes inside the
layers is not here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Importance(nn.Module):
    """The importance of each layer, as it was measured."""

    scores: torch.Tensor

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.register_buffer('scores', torch.zeros(layers))


def most_important(scores: torch.Tensor, count: int) -> tuple[int, ...]:
    """Return the ``count`` layers that stay, first and last among them, increasing."""
    depth = len(scores)
    ranked = sorted(range(1, depth - 1), key=lambda layer: (-float(scores[layer]), layer))
    return tuple(sorted({0, depth - 1, *ranked[: max(0, count - 2)]}))


class Meter:
    """Mean cosine of what enters and what leaves each layer."""

    def __init__(self, depth: int) -> None:
        self.sums, self.tokens = torch.zeros(depth, dtype=torch.float64), torch.zeros(depth)

    def note(self, layer: int, entering: torch.Tensor, leaving: torch.Tensor) -> None:
        """Take in the hidden states [B, N, D] on both sides of a layer."""
        cosine = torch.cosine_similarity(entering.float(), leaving.float(), dim=-1)
        self.sums[layer] += cosine.double().sum()
        self.tokens[layer] += cosine.numel()

    def importance(self) -> torch.Tensor:
        """Return one minus the mean cosine of each layer, [layers]."""
        return 1 - (self.sums / self.tokens).float()


@contextmanager
def measured(layers: Any) -> Iterator[Meter]:
    """Measure the layers of a decoder in every pass."""
    meter = Meter(len(layers))

    def watch(index: int) -> Any:
        return lambda _, inputs, output: meter.note(index, inputs[0], output)

    handles = [layer.register_forward_hook(watch(n)) for n, layer in enumerate(layers)]
    try:
        yield meter
    finally:
        for handle in handles:
            handle.remove()
