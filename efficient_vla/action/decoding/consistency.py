# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Jacobi passes of a decoder that was taught to need few, cut off (CEED-VLA, arXiv 2506.13725)."""

from efficient_vla.action.decoding import Decoded, Line
from efficient_vla.action.decoding.jacobi import jacobi


def decode(line: Line) -> Decoded:
    """Return the tokens after at most ``max_passes`` passes; earlier where nothing changes.

    The decoder is the student of the recipe ``consistency``.
    """
    return jacobi(line.decoder, line.features, line.end, line.max_passes)
