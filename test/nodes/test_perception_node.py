# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Only good images become tokens."""

import numpy as np
import pytest
from sensor_msgs.msg import Image

from efficient_vla import msg
from efficient_vla import srv
from efficient_vla.nodes.perception import PerceptionNode
from efficient_vla.nodes.qos import image_qos
from efficient_vla.nodes.qos import newest_qos
from efficient_vla.nodes.qos import report_qos
from efficient_vla.passthrough import write_policy


class Setup:
    def __init__(self, graph, **values):
        self.graph = graph
        self.node = graph.add(PerceptionNode, **values)
        self.tokens = graph.hear(msg.VisualTokens, 'visual_tokens', newest_qos())
        self.stats = graph.hear(msg.EfficiencyStats, 'efficiency', report_qos())
        self.images = graph.publisher(Image, 'camera/image_raw', image_qos())
        for publisher in (self.node._tokens, self.node._efficiency):
            graph.until(publisher.get_subscription_count)

    def see(self, image, passes=None):
        """Send one image and wait for what it causes."""
        self.images.publish(image)
        if passes is not None:
            self.graph.until(lambda: len(self.stats) >= passes)


@pytest.fixture
def setup(graph):
    return Setup(graph)


def test_image_becomes_tokens_with_its_capture_time(graph, setup):
    setup.see(graph.image(stamp=99.75), passes=1)
    graph.until(lambda: setup.tokens)
    message = setup.tokens[0]
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (99, 750_000_000)
    assert (message.grid_rows, message.grid_columns, message.count) == (4, 4, 16)
    stats = setup.stats[0]
    assert stats.stage == msg.EfficiencyStats.STAGE_PERCEPTION
    assert stats.age_ms == pytest.approx(250, abs=1)
    assert stats.tokens_total == 16
    assert stats.transport_ms > 0


def spoil(image: Image, **fields) -> Image:
    for name, value in fields.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda g: spoil(g.image(), encoding='16UC1'), 'encoding'),
        (lambda g: spoil(g.image(), step=7), 'step'),
        (lambda g: spoil(g.image(), height=31), 'bytes'),
        (lambda g: Image(encoding='rgb8'), '0x0 pixels'),
        (lambda g: g.image(side=1), '1x1 pixels'),
        (lambda g: g.image(stamp=g.now + 5), 'in the future'),
    ],
)
def test_bad_image_is_refused_and_a_good_one_recovers(graph, setup, make, words):
    setup.see(make(graph))
    graph.until(lambda: setup.node.health.message('image'))
    assert words in setup.node.health.message('image')
    setup.see(graph.image(value=77), passes=1)
    graph.until(lambda: setup.tokens)
    # The good image is the first that came through.
    assert len(setup.tokens) == 1
    assert np.allclose(setup.tokens[0].features[0], 77 / 255)
    assert not setup.node.health.message('image')


def test_skip_sends_nothing_but_reports_the_reuse(graph):
    setup = Setup(graph, cache__method='skip')
    setup.see(graph.image(), passes=1)
    setup.see(graph.image(stamp=100.1), passes=2)
    setup.see(graph.image(value=200, stamp=100.2), passes=3)
    graph.until(lambda: len(setup.tokens) == 2)
    assert [s.tokens_reused for s in setup.stats] == [0, 16, 0]
    assert 'cache=skip' in setup.stats[0].method


def test_reset_caches_computes_anew(graph):
    setup = Setup(graph, cache__method='reuse')
    setup.see(graph.image(), passes=1)
    response = graph.call(srv.ResetCaches, 'perception/reset_caches', reason='light went on')
    assert response.success
    assert response.epoch == 1
    setup.see(graph.image(stamp=100.1), passes=2)
    graph.until(lambda: len(setup.tokens) == 2)
    assert setup.tokens[1].epoch == 1
    assert setup.tokens[1].refresh_reason == 'light went on'


def test_reset_caches_of_an_unconfigured_node_says_so(graph):
    graph.add(PerceptionNode, start=False)
    response = graph.call(srv.ResetCaches, 'perception/reset_caches')
    assert not response.success
    assert 'not configured' in response.message


def test_inactive_node_publishes_nothing(graph, setup):
    setup.node.trigger_deactivate()
    setup.see(graph.image(value=10))
    graph.settle()
    setup.node.trigger_activate()
    setup.see(graph.image(value=20), passes=1)
    graph.until(lambda: setup.tokens)
    assert np.allclose(setup.tokens[0].features[0], 20 / 255)


def test_error_of_a_pass_is_counted_and_the_node_goes_on(graph, setup, monkeypatch):
    encode = setup.node.stage.encode
    monkeypatch.setattr(setup.node.stage, 'encode', lambda frame: 1 / 0)
    setup.see(graph.image())
    graph.until(lambda: setup.node.health.message('pass'))
    assert 'ZeroDivisionError' in setup.node.health.message('pass')
    monkeypatch.setattr(setup.node.stage, 'encode', encode)
    setup.see(graph.image(), passes=1)
    graph.settle()
    assert not setup.node.health.message('pass')


def test_several_cameras_make_one_frame(graph, tmp_path):
    folder = write_policy(tmp_path, cameras=('left', 'right'))
    node = graph.add(PerceptionNode, policy=str(folder))
    tokens = graph.hear(msg.VisualTokens, 'visual_tokens', newest_qos())
    left = graph.publisher(Image, 'left/image_raw', image_qos())
    right = graph.publisher(Image, 'right/image_raw', image_qos())
    graph.until(node._tokens.get_subscription_count)
    right.publish(graph.image(stamp=99.5))
    graph.until(lambda: 'right' in node._cameras._newest)
    left.publish(graph.image(stamp=100.0))
    graph.until(lambda: node.health.message('image'))
    assert 'differ by 0.5' in node.health.message('image')
    right.publish(graph.image(stamp=99.95))
    graph.until(lambda: node._cameras._newest['right'][1] > 99.9)
    left.publish(graph.image(stamp=100.0))
    graph.until(lambda: tokens)
    assert sorted(set(tokens[0].camera)) == [0, 1]
    assert tokens[0].count == 32
