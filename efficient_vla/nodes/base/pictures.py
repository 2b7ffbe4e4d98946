# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Images of both types to pixels; sizes are known before memory is spent on a compressed one."""

import io
from collections.abc import Collection

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from efficient_vla.nodes.base.conversions import image_to_array
from efficient_vla.types import MIN_IMAGE_SIDE, InvalidRecordError

MAX_BYTES = 16 * 1024 * 1024
MAX_PIXELS = 16 * 1024 * 1024
SUFFIX = '/compressed'
"""The end of such a topic's name, by the habit of image_transport."""
PNG = b'\x89PNG\r\n\x1a\n'
PNG_BITS = 24
"""Place of the byte that says how many bits a channel has."""
DEPTH = ('compressedDepth', '16UC1', '32FC1', 'mono16')
MODES = ('L', 'LA', 'P', 'RGB', 'RGBA')


def image_type(topic: str, camera: str, compressed: Collection[str]) -> type:
    """Return the type of the images on ``topic``; ``compressed`` names cameras of such images."""
    return CompressedImage if topic.endswith(SUFFIX) or camera in compressed else Image


def pixels_of(message: Image | CompressedImage) -> np.ndarray:
    """Return uint8 rgb, [rows, columns, 3]; raises ``InvalidRecordError``."""
    if isinstance(message, CompressedImage):
        return compressed_to_array(message)
    return image_to_array(message)


def compressed_to_array(message: CompressedImage) -> np.ndarray:
    """Return uint8 rgb, [rows, columns, 3], of a jpeg or png picture.

    Raises ``InvalidRecordError`` for depth, 16 bits, what is too large, and what is damaged.
    """
    # Not needed by nodes that see no such image, the controller least of all.
    from PIL import Image as Picture

    if any(word in message.format for word in DEPTH):
        raise InvalidRecordError(
            f'image has the format {message.format!r}, which is depth or has 16 bits; expected '
            'colours of 8 bits as jpeg or png. Choose the topic of the colour camera.'
        )
    data = bytes(message.data)
    if not 0 < len(data) <= MAX_BYTES:
        raise InvalidRecordError(
            f'compressed image has {len(data)} bytes; expected 1 to {MAX_BYTES}. Check the camera '
            'driver.'
        )
    if data.startswith(PNG) and data[PNG_BITS : PNG_BITS + 1] > b'\x08':
        raise InvalidRecordError(
            f'png image has {data[PNG_BITS]} bits a channel; expected 8. Choose the topic of the '
            'colour camera, or set its pixel format.'
        )
    try:
        with Picture.open(io.BytesIO(data), formats=('JPEG', 'PNG')) as picture:
            _refuse_size(*picture.size)
            if picture.mode not in MODES:
                raise InvalidRecordError(
                    f'compressed image has the mode {picture.mode}; expected one of '
                    f'{", ".join(MODES)}. Set the pixel format of the camera driver.'
                )
            return np.array(picture.convert('RGB'))
    except InvalidRecordError:
        raise
    except Exception as error:  # of Pillow, which raises many kinds for bytes that are no picture
        raise InvalidRecordError(
            f'compressed image of the format {message.format!r} is no whole jpeg or png picture: '
            f'{error}. Check the camera driver.'
        ) from error


def _refuse_size(columns: int, rows: int) -> None:
    if min(columns, rows) < MIN_IMAGE_SIDE or columns * rows > MAX_PIXELS:
        raise InvalidRecordError(
            f'compressed image is {columns}x{rows} pixels; expected at least {MIN_IMAGE_SIDE} a '
            f'side and {MAX_PIXELS} in all. Check the camera driver.'
        )
