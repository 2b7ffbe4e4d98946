# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Colours and text of the pictures that a run leaves."""

from bisect import bisect_left

from PIL import Image, ImageDraw, ImageFont

INK = (28, 32, 38)
MUTED = (112, 120, 130)
PAPER = (255, 255, 255)
LINE = (224, 227, 231)
GREEN = (26, 143, 85)
RED = (199, 60, 48)

OVERSAMPLING = 4
"""Pillow draws without anti-aliasing, so marks are drawn larger and scaled down."""
TICK = (((0.27, 0.52), (0.44, 0.68), (0.74, 0.34)),)
CROSS = (((0.33, 0.33), (0.67, 0.67)), ((0.33, 0.67), (0.67, 0.33)))


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the typeface that comes with Pillow, so that pictures look alike everywhere."""
    return ImageFont.load_default(size)


def fit_text(
    draw: ImageDraw.ImageDraw, text: str, width: float, size: float
) -> tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """Return the text, shortened to ``width`` pixels if it has to be, and its font."""
    face = font(size)
    if draw.textlength(text, font=face) <= width:
        return text, face

    def too_wide(count: int) -> bool:
        return draw.textlength(text[:count] + '...', font=face) > width

    count = bisect_left(range(1, len(text)), True, key=too_wide)
    return text[:count].rstrip() + '...', face


def wrap_text(
    draw: ImageDraw.ImageDraw, text: str, width: float, size: float, lines: int
) -> list[str]:
    """Break text into at most ``lines`` lines of ``width`` pixels; the last one is shortened."""
    face = font(size)
    rows: list[str] = []
    words = text.split()
    while words and len(rows) < lines - 1:
        row = words.pop(0)
        while words and draw.textlength(f'{row} {words[0]}', font=face) <= width:
            row = f'{row} {words.pop(0)}'
        rows.append(row)
    if words:
        rows.append(' '.join(words))
    return [fit_text(draw, row, width, size)[0] for row in rows]


def paste_mark(canvas: Image.Image, x: float, y: float, size: int, success: bool) -> None:
    """Paste a tick or a cross in a disc whose upper left corner is (x, y)."""
    whole = size * OVERSAMPLING
    mark = Image.new('RGBA', (whole, whole), (0, 0, 0, 0))
    draw = ImageDraw.Draw(mark)
    draw.ellipse((0, 0, whole - 1, whole - 1), fill=GREEN if success else RED)
    strokes = TICK if success else CROSS
    for stroke in strokes:
        points = [(u * whole, v * whole) for u, v in stroke]
        draw.line(points, PAPER, round(whole / 9), joint='curve')
    mark = mark.resize((size, size), Image.Resampling.LANCZOS)
    canvas.paste(mark, (round(x), round(y)), mark)
