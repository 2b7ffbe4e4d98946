# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The catalogue of resamplers: other tokens in place of the visual ones; it loads no torch.

A resampler maps visual tokens [B, V, D] at places [V, 3] and instruction embeddings [B, L, D] with
mask bool [B, L] to tokens [B, M, D]. It is trained for a policy and read from its add-on file.
"""

from pkgutil import resolve_name
from typing import Any

RESAMPLERS = {'otter': 'Otter', 'perceiver': 'Perceiver', 'univla': 'UniVla'}
"""``resampling.method``, which is the name of a file too -> its class."""
FIXED_LENGTH = ('otter', 'perceiver')
"""Methods whose tokens have no place in an image, so that there is nothing to prune or reuse."""


def resampler_class(method: str) -> Any:
    """Return the class of a method."""
    return resolve_name(f'{__name__}.{method}:{RESAMPLERS[method]}')
