# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Jacobi passes of a decoder that was taught to need few, cut off (CEED-VLA, arXiv 2506.13725)."""

import torch

from efficient_vla.action.decoding import Decoded, Line
from efficient_vla.action.decoding.jacobi import jacobi
from efficient_vla.action.heads.token_decoder import TokenDecoder


def consistency(
    decoder: TokenDecoder, features: torch.Tensor, end: int | None, max_passes: int
) -> Decoded:
    """Return the tokens after at most ``max_passes`` passes; earlier where nothing changes.

    ``decoder`` is the student of the recipe ``consistency``. Raises ``ValueError`` for no pass.
    """
    if max_passes < 1:
        raise ValueError(f'{max_passes} passes; expected at least 1.')
    return jacobi(decoder, features, end, max_passes)


def decode(line: Line) -> Decoded:
    """Return the tokens of the line."""
    return consistency(line.decoder, line.features, line.end, line.max_passes)
