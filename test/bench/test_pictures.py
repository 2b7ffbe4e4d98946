# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures and videos are made and can be read by others."""

import imageio_ffmpeg
import numpy as np
from PIL import Image

from efficient_vla.bench.animation import CAPTION, CELL as SIDE, GAP, clip, write_animation
from efficient_vla.bench.contact_sheet import CELL, MOMENTS, SheetRow, contact_sheet, moments
from efficient_vla.bench.video import HOLD_S, STRIP_ROWS, VideoWriter, annotate


def picture(level: int, rows: int = 96, columns: int = 96) -> np.ndarray:
    return np.full((rows, columns, 3), level, np.uint8)


def test_video_holds_every_frame_and_the_end(tmp_path):
    path = tmp_path / 'sub' / 'episode.mp4'
    with VideoWriter(path, 10.0, 'reach-v3', 'reach the goal position') as writer:
        for index in range(12):
            writer.add(picture(20 * index), index / 10, success=index == 11)
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    frames = list(reader)
    assert facts['size'] == (96, 96 + STRIP_ROWS)
    assert facts['codec'] == 'h264'
    assert len(frames) == 12 + round(10 * HOLD_S)


def test_video_of_odd_size_is_cut_to_even(tmp_path):
    path = tmp_path / 'odd.mp4'
    with VideoWriter(path, 10.0, 'task', 'sentence') as writer:
        writer.add(picture(9, 97, 99), 0.0, success=False)
    reader = imageio_ffmpeg.read_frames(str(path))
    assert next(reader)['size'] == (98, 96 + STRIP_ROWS)
    reader.close()


def test_video_without_frames_writes_nothing(tmp_path):
    with VideoWriter(tmp_path / 'none.mp4', 10.0, 'task', 'sentence'):
        pass
    assert list(tmp_path.iterdir()) == []


def test_annotation_keeps_the_image_and_shows_success():
    image = picture(128, 120, 480)
    failed = annotate(image, 'task', 'sentence', 1.0, success=False)
    done = annotate(image, 'task', 'sentence', 1.0, success=True)
    assert (failed[:120] == image).all()
    assert (failed != done).any()


def test_annotation_shortens_a_long_instruction():
    found = annotate(picture(0, 96, 320), 'task', 'a very long sentence ' * 50, 0.0, success=True)
    assert found.shape == (96 + STRIP_ROWS, 320, 3)


def test_moments_are_spread_over_time_and_hold_both_ends():
    frames = [(index / 10, picture(index)) for index in range(21)]
    times = [seconds for seconds, _ in moments(frames, 5)]
    assert times == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert moments([], 5) == []
    assert len(moments(frames[:1])) == MOMENTS


def test_animation_shows_all_clips_to_the_end_of_the_longest(tmp_path):
    path = tmp_path / 'sub' / 'animation.webp'
    short = [(5.0 + index / 10, picture(40 * index)) for index in range(3)]
    long = [(index / 10, picture(20 * index)) for index in range(8)]
    clips = [clip('reach the goal', True, short), clip('open it', False, long)]
    write_animation(path, [*clips, clip('nothing was seen', False, [])])
    with Image.open(path) as found:
        assert found.n_frames == 8
        assert found.size == (2 * SIDE + GAP, SIDE + CAPTION)
        assert found.info['loop'] == 0
        assert max(found.convert('RGB').getpixel((9, 9))) < 10
        found.seek(7)
        assert min(found.convert('RGB').getpixel((9, 9))) > 70
    write_animation(tmp_path / 'none.webp', [])
    assert not (tmp_path / 'none.webp').exists()


def test_contact_sheet_grows_by_a_row_a_task(tmp_path):
    row = SheetRow(
        'reach-v3',
        'reach the goal ' * 20,
        [True, False],
        1.25,
        [(index / 4, picture(40 * index)) for index in range(6)],
    )
    sizes = []
    for count in (1, 2):
        path = tmp_path / f'{count}.png'
        contact_sheet(path, 'title', 'subtitle ' * 100, [row] * count)
        with Image.open(path) as sheet:
            sheet.load()
            sizes.append(sheet.size)
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] - sizes[0][1] >= CELL[1]


def test_contact_sheet_shows_a_task_without_pictures(tmp_path):
    contact_sheet(tmp_path / 'empty.png', 'title', '', [SheetRow('task', 'sentence', [False], 6.2)])
    assert (tmp_path / 'empty.png').stat().st_size > 0
