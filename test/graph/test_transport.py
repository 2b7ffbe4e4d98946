# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The shipped middleware profile carries camera images between processes without loss."""

import pytest

from efficient_vla.bench.transport import measure_images

SECONDS = 2.0


@pytest.mark.parametrize(('width', 'height'), [(640, 480), (1280, 720)])
def test_no_image_is_lost_at_camera_rate(ros_domain: int, width: int, height: int) -> None:
    found = measure_images(width, height, rate=30.0, seconds=SECONDS)
    assert found['sent'] == 60
    assert found['lost'] == 0
    assert 0.0 < found['latency_ms']['p50'] <= found['latency_ms']['p95']
