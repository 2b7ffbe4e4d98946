# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keys and values of plans as messages, for an actor in another process than the reasoner."""

from array import array
from itertools import accumulate

import numpy as np
import torch

from efficient_vla import msg
from efficient_vla.attention import PrefixCache
from efficient_vla.nodes.base.conversions import from_wire, seconds_to_stamp, to_wire
from efficient_vla.types import InvalidRecordError, Plan

FORMATS = {
    'float32': torch.float32,
    'bfloat16': torch.bfloat16,
    'float16': torch.float16,
}
MOST_LAYERS, MOST_ROWS = 256, 65_536


def cache_to_message(plan: Plan) -> msg.PlanCache:
    """Return the message of the cache of a plan."""
    cache: PrefixCache = plan.cache
    first = cache.keys[0]
    state = torch.zeros(0) if cache.state is None else cache.state[0].float().cpu()
    message = msg.PlanCache(
        instruction=plan.sentence,
        length=cache.length,
        heads=first.shape[1],
        width=first.shape[3],
        rows=to_wire(np.array([part.shape[2] for part in cache.keys]), 'I'),
        number_format=str(first.dtype).removeprefix('torch.'),
        state=to_wire(state.numpy(), 'f'),
    )
    message.header.stamp = seconds_to_stamp(plan.stamp)
    data = array('B')
    for pair in zip(cache.keys, cache.values, strict=True):
        for part in pair:
            data.frombytes(part.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    message.data = data
    return message


def message_to_cache(message: msg.PlanCache) -> PrefixCache:
    """Return the cache in a message, whose tensors share its memory.

    Raises ``InvalidRecordError`` where its parts do not fit together or are not finite.
    """
    dtype = FORMATS.get(message.number_format)
    if dtype is None:
        raise InvalidRecordError(
            f'plan cache has number format {message.number_format!r}; expected one of '
            f'{", ".join(FORMATS)}. Build sender and receiver from the same sources.'
        )
    rows = from_wire(message.rows, 'I').tolist()
    heads, width = message.heads, message.width
    if not (0 < len(rows) <= MOST_LAYERS and all(0 < n <= MOST_ROWS for n in rows)):
        raise InvalidRecordError(
            f'plan cache has {len(rows)} layers with up to {max(rows, default=0)} rows; expected 1 '
            f'to {MOST_LAYERS} layers of 1 to {MOST_ROWS} rows. Check the sender.'
        )
    sizes = [heads * n * width for n in rows for _ in ('keys', 'values')]
    if not sum(sizes) or sum(sizes) * dtype.itemsize != len(message.data):
        raise InvalidRecordError(
            f'plan cache has {len(message.data)} bytes; expected '
            f'{sum(sizes) * dtype.itemsize} for its {len(rows)} layers of {heads} heads of '
            f'{width} numbers. Check the sender.'
        )
    if message.length < max(rows):
        raise InvalidRecordError(
            f'plan cache is followed by position {message.length}; expected at least the '
            f'{max(rows)} rows of its longest layer. Check the sender.'
        )
    numbers = torch.frombuffer(message.data, dtype=dtype)
    state = torch.tensor(from_wire(message.state, 'f'))[None]
    if not (numbers.isfinite().all() and state.isfinite().all()):
        raise InvalidRecordError(
            'plan cache has NaN or infinite numbers; expected finite ones. Check the reasoner.'
        )
    ends = list(accumulate(sizes))
    parts = [
        numbers[end - size : end].view(1, heads, size // (heads * width), width)
        for size, end in zip(sizes, ends, strict=True)
    ]
    return PrefixCache(
        tuple(parts[::2]), tuple(parts[1::2]), message.length, state if state.numel() else None
    )
