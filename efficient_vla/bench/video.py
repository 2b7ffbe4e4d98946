# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Videos of episodes: the camera image above a strip with instruction, task, time and success."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from efficient_vla.bench.drawing import GREEN, INK, MUTED, PAPER, fit_text, font, paste_mark

STRIP_ROWS = 64
HOLD_S = 0.8
"""The last image stays this long, so that a person sees how the episode ended."""


def annotate(
    image: np.ndarray, task: str, instruction: str, seconds: float, success: bool
) -> np.ndarray:
    """Return the image, uint8 [rows, columns, 3], above a strip that explains it."""
    rows, columns = image.shape[:2]
    canvas = Image.new('RGB', (columns, rows + STRIP_ROWS), PAPER)
    canvas.paste(Image.fromarray(image), (0, 0))
    draw = ImageDraw.Draw(canvas)
    text, face = fit_text(draw, instruction, columns - 140, 20)
    draw.text((14, rows + 10), text, INK, font=face)
    text, face = fit_text(draw, task, columns - 140, 13)
    draw.text((14, rows + 38), text, MUTED, font=face)
    draw.text((columns - 14, rows + 38), f'{seconds:.2f} s', MUTED, font=font(13), anchor='ra')
    if success:
        draw.text((columns - 40, rows + 12), 'success', GREEN, font=font(16), anchor='ra')
        paste_mark(canvas, columns - 34, rows + 10, 20, success=True)
    return np.asarray(canvas)


class VideoWriter:
    """Write annotated frames of one episode as an H.264 file; use as a context manager."""

    def __init__(self, path: Path, fps: float, task: str, instruction: str) -> None:
        self.path = path
        self.fps = fps
        self.task = task
        self.instruction = instruction
        self._sink: Generator[None, bytes, None] | None = None
        self._last: bytes | None = None

    def add(self, image: np.ndarray, seconds: float, success: bool) -> None:
        """Append one frame; ``seconds`` is the time since the start of the episode."""
        frame = annotate(image, self.task, self.instruction, seconds, success)
        frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
        if self._sink is None:
            self._sink = _open_sink(self.path, frame.shape[1], frame.shape[0], self.fps)
        self._last = np.ascontiguousarray(frame).tobytes()
        self._sink.send(self._last)

    def close(self) -> None:
        """Hold the last frame, then finish the file; nothing is written without frames."""
        if self._sink is None or self._last is None:
            return
        for _ in range(round(HOLD_S * self.fps)):
            self._sink.send(self._last)
        self._sink.close()
        self._sink = None

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_sink(path: Path, columns: int, rows: int, fps: float) -> Generator[None, bytes, None]:
    # Only runs with a video need the bundled encoder.
    import imageio_ffmpeg

    path.parent.mkdir(parents=True, exist_ok=True)
    sink = imageio_ffmpeg.write_frames(
        str(path),
        (columns, rows),
        fps=fps,
        codec='libx264',
        pix_fmt_out='yuv420p',
        macro_block_size=2,
        quality=None,
        ffmpeg_log_level='error',
        output_params='-crf 26 -preset veryfast -threads 1 -movflags +faststart'.split(),
    )
    sink.send(None)
    return sink
