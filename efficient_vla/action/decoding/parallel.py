# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All tokens in one pass without a mask (the parallel decoding of OpenVLA-OFT, 2502.19645)."""

import torch

from efficient_vla.action.decoding import Decoded, Line


def decode(line: Line) -> Decoded:
    """Return the likeliest token of every slot for features [B, F], none knowing of the others."""
    decoder, features = line.decoder, line.features
    shape = (len(features), decoder.length)
    empty = torch.full(shape, decoder.empty, device=features.device)
    hidden = decoder.hidden(empty, decoder.condition(features), causal=False)
    return Decoded(decoder.logits(hidden).argmax(-1), 1)
