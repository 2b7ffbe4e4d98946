# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The video files of a LeRobotDataset: H.264, in which any frame is found quickly."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

CODEC = 'h264'
PIXELS = 'yuv420p'
QUALITY = 10
"""Constant rate factor: a decoded pixel is off by 1 or 2 of 255 where colours are smooth."""
KEY_FRAMES = 2
"""Every second frame stands alone, as in LeRobot's own files: training reads single frames."""


def video_facts(rows: int, columns: int, fps: int) -> dict[str, Any]:
    """Return what ``meta/info.json`` says about a video."""
    return {
        'video.height': rows,
        'video.width': columns,
        'video.codec': CODEC,
        'video.pix_fmt': PIXELS,
        'video.fps': fps,
        'video.channels': 3,
        'video.g': KEY_FRAMES,
        'video.crf': QUALITY,
        'is_depth_map': False,
        'has_audio': False,
    }


class VideoFile:
    """The images of one camera, of all episodes one after the other."""

    def __init__(self, path: Path, rows: int, columns: int, fps: int) -> None:
        self._path, self._size, self._fps = path, (columns, rows), fps
        self._sink: Generator[None, bytes, None] | None = None

    def add(self, images: np.ndarray) -> None:
        """Append images, uint8 [T, rows, columns, 3]."""
        if self._sink is None:
            self._sink = self._open()
        for image in np.ascontiguousarray(images):
            self._sink.send(image.tobytes())

    def close(self) -> None:
        """Finish the file."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def _open(self) -> Generator[None, bytes, None]:
        # Only runs with a video need the bundled encoder.
        import imageio_ffmpeg

        self._path.parent.mkdir(parents=True, exist_ok=True)
        options = (
            f'-crf {QUALITY} -g {KEY_FRAMES} -bf 0 -preset fast -threads 1 -movflags +faststart'
        )
        sink = imageio_ffmpeg.write_frames(
            str(self._path),
            self._size,
            fps=self._fps,
            codec='libx264',
            pix_fmt_out=PIXELS,
            macro_block_size=2,
            quality=None,
            ffmpeg_log_level='error',
            output_params=[*options.split(), '-movflags', '+faststart'],
        )
        sink.send(None)
        return sink
