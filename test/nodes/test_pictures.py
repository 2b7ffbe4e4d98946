# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Compressed images: the colours are right, and nothing that is no picture costs memory."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from fixtures.policies import write_policy
from PIL import Image as Picture
from sensor_msgs.msg import CompressedImage, Image

from efficient_vla import msg
from efficient_vla.nodes.base import pictures
from efficient_vla.nodes.base.conversions import seconds_to_stamp
from efficient_vla.nodes.base.qos import image_qos, newest_qos
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.types import InvalidRecordError

PIXELS = np.zeros((24, 32, 3), np.uint8)
PIXELS[:, :16] = (250, 40, 10)
PIXELS[12:, 16:] = (10, 60, 240)


def message(kind='PNG', pixels=PIXELS, words='', **options) -> CompressedImage:
    data = io.BytesIO()
    Picture.fromarray(pixels).save(data, kind, **options)
    return CompressedImage(
        format=words or f'rgb8; {kind.lower()} compressed bgr8', data=data.getvalue()
    )


def test_png_gives_the_same_pixels_and_jpeg_nearly_the_same():
    assert np.array_equal(pictures.pixels_of(message()), PIXELS)
    found = pictures.pixels_of(message('JPEG', quality=95))
    assert found.dtype == np.uint8
    assert found.shape == PIXELS.shape
    assert np.abs(found[2:10, 2:12].astype(int) - PIXELS[2:10, 2:12]).max() < 8


def test_grey_becomes_three_channels_and_transparency_is_left_out():
    assert np.array_equal(
        pictures.pixels_of(message(pixels=PIXELS[:, :, 0]))[:, :, 2], PIXELS[:, :, 0]
    )
    four = np.dstack([PIXELS, np.full((24, 32), 128, np.uint8)])
    assert np.array_equal(pictures.pixels_of(message(pixels=four)), PIXELS)


def bomb(side: int) -> bytes:
    """Return a small png whose header says that it is large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', crc)

    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return pictures.PNG + chunk(b'IHDR', header) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')


@pytest.mark.parametrize(
    ('sent', 'words'),
    [
        (message(pixels=np.zeros((24, 32), np.uint16), words='png'), '16 bits a channel'),
        (message(words='16UC1; compressedDepth png'), 'is depth or has 16 bits'),
        (message(words='32FC1; compressedDepth rvl'), 'is depth or has 16 bits'),
        (CompressedImage(format='jpeg'), 'has 0 bytes; expected 1 to'),
        (CompressedImage(format='jpeg', data=b'no picture'), 'no whole jpeg or png'),
        (message('GIF', words='gif'), 'no whole jpeg or png'),
        (message(pixels=PIXELS[:2, :2]), '2x2 pixels'),
        (CompressedImage(format='png', data=bomb(5000)), '5000x5000 pixels'),
        (CompressedImage(format='png', data=bomb(60000)), 'bomb'),
    ],
)
def test_what_is_no_picture_of_a_colour_camera_is_refused(sent, words):
    with pytest.raises(InvalidRecordError, match=words):
        pictures.pixels_of(sent)


def test_half_a_picture_is_refused():
    whole = message('JPEG')
    half = CompressedImage(format=whole.format, data=bytes(whole.data)[: len(whole.data) // 2])
    with pytest.raises(InvalidRecordError, match='no whole jpeg'):
        pictures.pixels_of(half)


def test_data_and_picture_are_measured_before_memory_is_spent(monkeypatch):
    monkeypatch.setattr(pictures, 'MAX_BYTES', 100)
    with pytest.raises(InvalidRecordError, match='expected 1 to 100'):
        pictures.pixels_of(message())
    monkeypatch.undo()
    sent = CompressedImage(format='png', data=bomb(5000))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRecordError):
            pictures.pixels_of(sent)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ('topic', 'compressed', 'kind'),
    [
        ('/wrist/image_raw', (), Image),
        ('/wrist/image_raw/compressed', (), CompressedImage),
        ('/wrist/jpeg', ('wrist',), CompressedImage),
        ('/wrist/jpeg', ('front',), Image),
    ],
)
def test_type_follows_the_name_of_the_topic_or_the_parameter(topic, compressed, kind):
    assert pictures.image_type(topic, 'wrist', compressed) is kind


@pytest.mark.parametrize(
    'values',
    [
        {'camera_topics': ['left:=/cam/image_raw/compressed']},
        {'camera_topics': ['left:=/cam/jpeg'], 'compressed_cameras': ['left']},
    ],
)
def test_perception_sees_through_a_compressed_camera(graph, tmp_path, values):
    folder = write_policy(tmp_path, cameras=('left',))
    node = graph.add(PerceptionNode, policy=str(folder), **values)
    tokens = graph.hear(msg.VisualTokens, 'visual_tokens', newest_qos())
    topic = values['camera_topics'][0].partition(':=')[2]
    camera = graph.publisher(CompressedImage, topic, image_qos())
    graph.until(node._tokens.get_subscription_count)
    sent = message(pixels=np.full((32, 32, 3), 51, np.uint8))
    sent.header.stamp = seconds_to_stamp(graph.now)
    camera.publish(CompressedImage(format='png', data=b'none', header=sent.header))
    graph.until(lambda: node.health.message('image'))
    assert 'left: compressed image' in node.health.message('image')
    camera.publish(sent)
    graph.until(lambda: tokens)
    assert np.allclose(tokens[0].features[0], 51 / 255)
