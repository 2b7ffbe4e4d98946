# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The resamplers by name, and where their tokens stand in the sequence.

A resampler maps visual tokens [B, V, D] at places [V, 3] and instruction embeddings [B, L, D] with
mask bool [B, L] to tokens [B, M, D]. It is trained for a policy and read from its add-on file.
"""

import torch
from torch import nn

from efficient_vla.reasoning.resampling.otter import Otter
from efficient_vla.reasoning.resampling.perceiver import Perceiver
from efficient_vla.reasoning.resampling.univla import UniVla

RESAMPLERS: dict[str, type[nn.Module]] = {
    'otter': Otter,
    'perceiver': Perceiver,
    'univla': UniVla,
}
"""``resampling.method`` -> module."""


def output_positions(count: int, text_start: int) -> torch.Tensor:
    """Return position ids int64 [count], spread over the ``text_start`` that are replaced.

    As many tokens as were there before keep their ids.
    """
    return (torch.arange(count) * text_start + text_start // 2) // count
