# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All tasks of a run side by side as one animation that pages and slides show by themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from efficient_vla.bench.drawing import INK, MUTED, PAPER, font, paste_mark, wrap_text

CELL = 192
GAP = 6
CAPTION = 48
FRAMES_S = 10
"""Frames a second, at the speed of the simulated arm."""
QUALITY = 50
"""Of WebP, from 0 to 100."""
HOLD_S = 1.5
"""The last frame stays for so long before the animation begins anew."""


class Clip(NamedTuple):
    """One episode: a column of the animation."""

    instruction: str
    success: bool
    times: tuple[float, ...]
    """Seconds since the start, rising."""
    pictures: tuple[Image.Image, ...]


def clip(instruction: str, success: bool, frames: Sequence[tuple[float, np.ndarray]]) -> Clip:
    """Return an episode with its images [rows, columns, 3] made small."""
    pictures = [Image.fromarray(image).resize((CELL, CELL)) for _, image in frames]
    return Clip(instruction, success, tuple(time for time, _ in frames), tuple(pictures))


def write_animation(path: Path, clips: Sequence[Clip]) -> None:
    """Write the clips as one WebP that repeats; clips without pictures are left out."""
    clips = [item for item in clips if item.pictures]
    if not clips:
        return
    length = max(item.times[-1] - item.times[0] for item in clips)
    count = 1 + int(np.ceil(length * FRAMES_S))
    images = [_frame(clips, index / FRAMES_S) for index in range(count)]
    durations = [1000 // FRAMES_S] * (count - 1) + [round(1000 * HOLD_S)]
    path.parent.mkdir(parents=True, exist_ok=True)
    moving: dict[str, Any] = {'duration': durations, 'loop': 0, 'append_images': images[1:]}
    packed: dict[str, Any] = {'quality': QUALITY, 'method': 6, 'minimize_size': True}
    images[0].save(path, 'WEBP', save_all=True, **moving, **packed)


def _frame(clips: Sequence[Clip], seconds: float) -> Image.Image:
    canvas = Image.new('RGB', (len(clips) * (CELL + GAP) - GAP, CELL + CAPTION), PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, item in enumerate(clips):
        left = index * (CELL + GAP)
        elapsed = np.asarray(item.times) - item.times[0]
        at = int(np.searchsorted(elapsed, seconds, side='right')) - 1
        canvas.paste(item.pictures[at], (left, 0))
        over = seconds >= elapsed[-1]
        if over:
            paste_mark(canvas, left + CELL - 34, 8, 26, item.success)
        time = f'{min(seconds, elapsed[-1]):.1f} s'
        draw.text((left + CELL, CELL + 6), time, MUTED, font=font(13), anchor='ra')
        for line, text in enumerate(wrap_text(draw, item.instruction, CELL - 44, 16, 3)):
            draw.text((left, CELL + 4 + 19 * line), text, INK, font=font(16))
    return canvas
