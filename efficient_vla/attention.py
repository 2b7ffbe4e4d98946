# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A fused attention kernel that can also report a few rows, and reuse keys and values by slot.

A fused kernel never forms the attention matrix. The rows that a selector ranks tokens by are
recomputed with one small matrix product, O(rows x tokens x width), instead of running a whole
layer, let alone the whole model, in eager mode. Keys and values of rows that are not computed in
this pass come from an earlier one, by slot, so that no cache of transformers has to know of gaps.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = 'sdpa_with_hooks'


class _Active(threading.local):
    hook: 'tuple[nn.Module, Hook] | None' = None


_active = _Active()
"""The module that has a hook and the hook, in each thread: two may run the same layers at once."""


class KeyValues:
    """Keys and values of one attention module, one slot a token; a pass writes some of them."""

    def __init__(
        self, length: int, keys: torch.Tensor | None = None, values: torch.Tensor | None = None
    ) -> None:
        """Make ``length`` slots; who reads a slot that was never written reads zeros."""
        self.length, self.keys, self.values = length, keys, values

    def exchange(
        self,
        keys: torch.Tensor,
        values: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the slots ``rows`` [n] and return those of ``columns``, ``None`` meaning all.

        ``keys`` and ``values`` are [1, key heads, n, d], the result [1, key heads, columns, d].
        """
        if keys.shape[2] == self.length:
            self.keys, self.values = keys.contiguous(), values.contiguous()
        else:
            if self.keys is None or self.values is None:
                shape = (*keys.shape[:2], self.length, keys.shape[3])
                self.keys, self.values = keys.new_zeros(shape), values.new_zeros(shape)
            self.keys.index_copy_(2, rows, keys)
            self.values.index_copy_(2, rows, values)
        if columns is None:
            return self.keys, self.values
        return self.keys[:, :, columns], self.values[:, :, columns]


@dataclass(frozen=True, slots=True, eq=False)
class PrefixCache:
    """What an action expert attends to: the keys and values of a prefix, layer by layer.

    It holds the rows that are left in a layer, and belongs to one plan: nobody writes to it.
    """

    travels: ClassVar[bool] = True
    """Whether keys and values are all that whoever decodes them needs of the reasoner."""
    keys: tuple[torch.Tensor, ...]
    """Rotated, [1, key heads, n, d], where n may differ from layer to layer."""
    values: tuple[torch.Tensor, ...]
    """[1, key heads, n, d]."""
    length: int
    """Position id of what follows the prefix."""
    state: torch.Tensor | None = None
    """Normalised robot state [1, S] that the last row was made of, where that is one."""
    renewed: Callable[[torch.Tensor], 'PrefixCache'] | None = None
    """Return the cache with a last row of another state [1, S]; the rows before it are shared."""


@dataclass(slots=True)
class Hook:
    """What one attention module does beside attending, during one pass."""

    score_rows: torch.Tensor | None = None
    """Query rows whose attention probabilities are wanted, int64 [R]."""
    keep_output: bool = False
    slots: KeyValues | None = None
    rows: torch.Tensor | None = None
    """Slots that this pass writes, int64 [n]; with ``slots``."""
    columns: torch.Tensor | None = None
    """Slots that are attended to, int64 [m]; ``None`` means all."""
    scores: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    """Result: attention probabilities, mean over heads, [R, m]."""
    output: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    """Result: attention output before its projection, [n, heads x d]."""


def attention_with_hooks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Run the fused kernel, and what the module's hook asks for, where it has one.

    A module may have a ``kernel`` of its own, which takes no mask.

    query [B, heads, N, d], key and value [B, key heads, N, d], mask [B, 1, N, M] of bool. Logits
    that a decoder caps (``softcap``, Gemma 2) are no business of the fused kernel.
    """
    hook = _hook_of(module)
    softcap: float | None = options.get('softcap')
    if hook is not None and hook.slots is not None:
        assert hook.rows is not None
        key, value = hook.slots.exchange(key, value, hook.rows, hook.columns)
    if hook is not None and hook.score_rows is not None:
        hook.scores = rows_of_attention(
            query, key, attention_mask, hook.score_rows, scaling, softcap
        )[0]
    kernel = getattr(module, 'kernel', None)
    if kernel is not None:
        output = kernel(query, key, value)
    elif softcap is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
    else:
        weights = _weights(query, key, attention_mask, scaling, softcap).to(value.dtype)
        groups = query.shape[1] // value.shape[1]
        output = (weights.unflatten(1, (-1, groups)) @ value[:, :, None]).flatten(1, 2)
        output = output.transpose(1, 2).contiguous()
    if hook is not None and hook.keep_output:
        hook.output = output[0].flatten(1)
    return output, None


def rows_of_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    rows: torch.Tensor,
    scaling: float | None,
    softcap: float | None = None,
) -> torch.Tensor:
    """Return attention probabilities of ``rows`` [R], averaged over heads, [B, R, M]."""
    seen = None if mask is None else mask[:, :, rows]
    return _weights(query[:, :, rows], key, seen, scaling, softcap).mean(1)


def _weights(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Return attention probabilities [B, heads, R, M] of queries [B, heads, R, d]."""
    groups = query.shape[1] // key.shape[1]
    # Grouped heads share their keys: [B, key heads, groups x R, d] needs no copy of the keys.
    grouped = query.unflatten(1, (key.shape[1], groups)).flatten(2, 3)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    logits = (grouped @ key.transpose(-1, -2) * scale).float()
    if softcap is not None:
        logits = (logits / softcap).tanh() * softcap
    logits = logits.unflatten(2, (groups, -1)).flatten(1, 2)  # [B, heads, R, M]
    if mask is not None:
        logits = logits.masked_fill(~mask, float('-inf'))
    return logits.softmax(-1)


@contextmanager
def hooked(attention: nn.Module | None, hook: Hook | None) -> Iterator[None]:
    """Attach ``hook`` to an attention module for one pass, where there is one."""
    if attention is None or hook is None:
        yield
        return
    before, _active.hook = _active.hook, (attention, hook)
    try:
        yield
    finally:
        _active.hook = before


def _hook_of(module: nn.Module) -> Hook | None:
    owner, hook = _active.hook or (None, None)
    return hook if owner is module else None


def keep(module: nn.Module, keys: torch.Tensor, values: torch.Tensor) -> None:
    """Write keys and values of a module that does not attend to the slots of its hook."""
    hook = _hook_of(module)
    if hook is not None and hook.slots is not None:
        assert hook.rows is not None
        hook.slots.exchange(keys, values, hook.rows, hook.columns)


AttentionInterface.register(NAME, attention_with_hooks)
