# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One picture of a whole run: a row a task, moments from left to right."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from efficient_vla.bench.drawing import (
    INK,
    LINE,
    MUTED,
    PAPER,
    fit_text,
    font,
    paste_mark,
    wrap_text,
)

MOMENTS = 6
CELL = (256, 192)
GAP = 8
LABEL = 300
MARGIN = 48
HEADER = 132
ROW_GAP = 20


@dataclass
class SheetRow:
    """One task: its first episode as pictures, and how every episode ended."""

    task: str
    instruction: str
    outcomes: list[bool]
    duration_s: float
    """Time to success of the pictured episode, or its length where it failed."""
    frames: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """Seconds since the start and image of the pictured episode, in order of time."""


def moments(
    frames: Sequence[tuple[float, np.ndarray]], count: int = MOMENTS
) -> list[tuple[float, np.ndarray]]:
    """Return ``count`` frames spread evenly over time, first and last among them."""
    if not frames:
        return []
    times = np.array([seconds for seconds, _ in frames])
    wanted = np.linspace(times[0], times[-1], count)
    return [frames[int(np.abs(times - time).argmin())] for time in wanted]


def contact_sheet(path: Path, title: str, subtitle: str, rows: Sequence[SheetRow]) -> None:
    """Write the sheet as PNG."""
    width = 2 * MARGIN + LABEL + MOMENTS * (CELL[0] + GAP) - GAP
    height = HEADER + len(rows) * (CELL[1] + ROW_GAP) + MARGIN - ROW_GAP
    canvas = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, 36), title, INK, font=font(38))
    text, face = fit_text(draw, subtitle, width - 2 * MARGIN, 19)
    draw.text((MARGIN, 88), text, MUTED, font=face)
    for index, row in enumerate(rows):
        top = HEADER + index * (CELL[1] + ROW_GAP)
        if index:
            middle = top - ROW_GAP // 2
            draw.line((MARGIN, middle, MARGIN + LABEL - 24, middle), LINE, 1)
        _draw_label(canvas, draw, row, top)
        for column, (seconds, image) in enumerate(moments(row.frames)):
            left = MARGIN + LABEL + column * (CELL[0] + GAP)
            _paste_moment(canvas, draw, (left, top), seconds, image)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, optimize=True)


def _draw_label(canvas: Image.Image, draw: ImageDraw.ImageDraw, row: SheetRow, top: int) -> None:
    y = top + 4
    for line in wrap_text(draw, row.instruction, LABEL - 24, 25, 3):
        draw.text((MARGIN, y), line, INK, font=font(25))
        y += 32
    draw.text((MARGIN, y + 4), row.task, MUTED, font=font(16))
    y = top + CELL[1] - 32
    for index, success in enumerate(row.outcomes[:6]):
        paste_mark(canvas, MARGIN + index * 34, y, 26, success)
    x = MARGIN + min(len(row.outcomes), 6) * 34 + 6
    words = f'{row.duration_s:.1f} s'
    if len(row.outcomes) > 1:
        took = f'first in {words}' if row.outcomes[0] else f'first not in {words}'
        words = f'{sum(row.outcomes)} of {len(row.outcomes)}, {took}'
    text, face = fit_text(draw, words, MARGIN + LABEL - 24 - x, 16)
    draw.text((x, y + 13), text, MUTED, font=face, anchor='lm')


def _paste_moment(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    seconds: float,
    image: np.ndarray,
) -> None:
    picture = _crop(Image.fromarray(image)).resize(CELL, Image.Resampling.LANCZOS)
    canvas.paste(picture, corner)
    left, bottom = corner[0], corner[1] + CELL[1]
    label = f'{seconds:.1f} s'
    width = draw.textlength(label, font=font(14)) + 14
    draw.rectangle((left, bottom - 24, left + width, bottom - 1), PAPER)
    draw.text((left + 5, bottom - 12), label, MUTED, font=font(14), anchor='lm')


def _crop(picture: Image.Image) -> Image.Image:
    """Cut the middle out in the proportions of a cell, a little towards the table."""
    rows = min(picture.height, round(picture.width * CELL[1] / CELL[0]))
    top = round((picture.height - rows) * 0.65)
    return picture.crop((0, top, picture.width, top + rows))
