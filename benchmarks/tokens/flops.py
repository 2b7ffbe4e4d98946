# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of a pass, counted from the rows and columns that each layer really had."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FORMULA = (
    'FLOPs of a layer with n computed rows that attend to m columns, width d, query width h, '
    'key width k and gated FFN of width f: 2 (n d (2 h + 2 k) + 2 n m h + 3 n d f). Embeddings, '
    'norms and selectors are not counted, and no time is derived from it.'
)


def layer_flops(rows: int, columns: int, config: Any) -> int:
    """Return the FLOPs of one Llama-type layer; see ``FORMULA``.

    The same sum as ``4 n d^2 + 2 n^2 d + 3 n d f`` MACs where h = k = d and m = n.
    """
    width, inner = config.hidden_size, config.intermediate_size
    size = getattr(config, 'head_dim', None) or width // config.num_attention_heads
    query = config.num_attention_heads * size
    key = (config.num_key_value_heads or config.num_attention_heads) * size
    macs = rows * width * (2 * query + 2 * key) + 2 * rows * columns * query
    return 2 * (macs + 3 * rows * width * inner)


class Tally:
    """A sum that begins anew whenever it is taken."""

    def __init__(self) -> None:
        self._sum: float = 0

    def add(self, value: float) -> None:
        """Take in one value."""
        self._sum += value

    def take(self) -> float:
        """Return the sum since the last call."""
        found, self._sum = self._sum, 0
        return found


@contextmanager
def metered(model: Any) -> Iterator[Tally]:
    """Count the FLOPs of the layers of a Llama-type decoder of transformers."""
    flops = Tally()

    def note(_: Any, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        rows, columns = inputs[0].shape[1], keywords['attention_mask'].shape[-1]
        flops.add(layer_flops(rows, columns, model.config))

    handles = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in model.layers]
    try:
        yield flops
    finally:
        for handle in handles:
            handle.remove()
