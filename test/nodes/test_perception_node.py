# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Only good images become tokens."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from fixtures.policies import write_policy
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState

from efficient_vla import msg, srv
from efficient_vla.nodes.base.conversions import joint_state
from efficient_vla.nodes.base.qos import image_qos, newest_qos, report_qos, state_qos
from efficient_vla.nodes.stages import stage
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.nodes.stages.stage import EXIT_HUNG
from efficient_vla.policy import default_policy


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


def test_the_engine_and_its_error_are_told(graph, setup):
    assert 'engine' not in setup.node.report()
    setup.node.stage.engine = SimpleNamespace(engine='openvino', error=2.5e-6)
    told = setup.node.report()
    assert (told['engine'], told['engine_error']) == ('openvino', 2.5e-6)


def test_age_of_images_is_told_while_a_pass_takes_long(graph, setup):
    setup.node.submit = lambda job: None
    assert math.isnan(setup.node.report()['image_age_s'])
    setup.see(graph.image(stamp=99.75))
    graph.until(lambda: setup.node.report()['image_age_s'] == pytest.approx(graph.now - 99.75))
    setup.node.flush('a test')
    assert math.isnan(setup.node.report()['image_age_s'])


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
    assert [s.hit_rate for s in setup.stats] == [0, 1, 0]
    assert [s.oldest_age_s for s in setup.stats] == pytest.approx([0, 0.1, 0])
    assert 'cache=skip' in setup.stats[0].method


def test_saved_time_and_age_of_reused_tokens_are_reported(graph, tmp_path):
    folder = write_policy(tmp_path, latency_ms={'perception': 30.0})
    setup = Setup(graph, policy=str(folder), cache__method='reuse', cache__max_age=10.0)
    # All images differ but the last; the two passes of the warm-up count for nothing.
    for number, value in enumerate((10, 60, 110, 160, 160)):
        setup.see(graph.image(value, stamp=99.0 + number * 0.1), passes=number + 1)
    saved = [stats.saved_ms for stats in setup.stats]
    assert [math.isnan(value) for value in saved] == [True, True, False, False, False]
    # A sleep is never shorter than was asked for.
    assert saved[2] == 0
    assert saved[4] > 20
    assert [s.hit_rate for s in setup.stats] == [0, 0, 0, 0, 1]
    assert setup.stats[-1].oldest_age_s == pytest.approx(0.1)
    assert [s.refresh_reason for s in setup.stats[2:]] == ['frame changed', 'frame changed', '']
    values = setup.node.report()
    assert (values['tokens_kept'], values['tokens_reused'], values['tokens_dropped']) == (16, 16, 0)
    assert values['saved_ms'] == pytest.approx(saved[-1])
    assert values['hit_rate'] == 1
    assert 'cache=reuse' in values['method']


def test_diagnostics_of_a_vision_tower_tell_what_the_frame_cost_it(graph):
    setup = Setup(graph, policy=str(default_policy()), cache__method='reuse')
    for number in range(2):
        setup.see(graph.image(stamp=99.0 + number * 0.1, side=96), passes=number + 1)
    values = setup.node.report()
    assert values['patches'] > 0
    assert values['computed'] == 0
    assert values['token_error'] == 0
    assert values['hit_rate'] == 1
    assert values['oldest_age_s'] == pytest.approx(0.1)


def test_settings_of_the_cache_change_between_two_frames(graph, setup):
    setup.see(graph.image(), passes=1)
    change = [Parameter('cache.method', value='reuse'), Parameter('cache.max_age', value=0.5)]
    assert setup.node.set_parameters_atomically(change).successful
    setup.see(graph.image(stamp=100.1), passes=2)
    assert setup.stats[-1].method.startswith('cache=reuse')
    refused = setup.node.set_parameters_atomically(
        [Parameter('cache.method', value='none'), Parameter('cache.max_age', value=-1.0)]
    )
    assert not refused.successful
    setup.see(graph.image(stamp=100.2), passes=3)
    assert setup.stats[-1].method.startswith('cache=reuse')
    assert setup.stats[-1].tokens_reused == 16


def test_reset_caches_computes_anew(graph):
    setup = Setup(graph, cache__method='reuse')
    setup.see(graph.image(), passes=1)
    response = graph.call(srv.ResetCaches, 'perception/reset_caches', reason='light went on')
    assert response.success
    assert response.epoch == 1 == setup.node.stage.epoch
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
    graph.until(lambda: node._cameras._newest['right'] > 99.9)
    left.publish(graph.image(stamp=100.0))
    graph.until(lambda: tokens)
    assert sorted(set(tokens[0].camera)) == [0, 1]
    assert tokens[0].count == 32


def test_cameras_whose_topics_are_swapped_are_refused(graph, tmp_path):
    folder = write_policy(tmp_path, cameras=('front', 'wrist'))
    topics = ['front:=wrist/image_raw', 'wrist:=front/image_raw']
    node = graph.add(PerceptionNode, policy=str(folder), camera_topics=topics)
    tokens = graph.hear(msg.VisualTokens, 'visual_tokens', newest_qos())
    cameras = {
        name: graph.publisher(Image, f'{name}/image_raw', image_qos())
        for name in ('front', 'wrist')
    }
    graph.until(node._tokens.get_subscription_count)
    for name, camera in cameras.items():
        image = graph.image(stamp=100.0)
        image.header.frame_id = f'{name}_camera_optical_frame'
        camera.publish(image)
        words = f'which names the camera {name}; expected those of'
        graph.until(lambda words=words: words in (node.health.message('image') or ''))
    graph.settle()
    assert not tokens


def test_two_cameras_that_publish_at_the_same_instant_on_one_topic_are_told_apart(graph, setup):
    setup.see(graph.image(), passes=1)
    other = graph.peer.create_publisher(Image, 'camera/image_raw', image_qos())
    graph.until(other.get_subscription_count)
    graph.until(lambda: setup.node.count_publishers('camera/image_raw') == 2)
    for number in range(3):
        stamp = 100.1 + number * 0.1
        graph.set_time(stamp)
        # Both wait when the node looks next.
        setup.images.publish(graph.image(value=10 + number, stamp=stamp))
        other.publish(graph.image(value=200 + number, stamp=stamp))
        setup.see(graph.image(value=10 + number, stamp=stamp + 0.01), passes=number + 2)
    words = setup.node.health.message('camera/image_raw_source')
    assert 'expected one publisher on camera/image_raw, which has 2' in words
    assert max(max(tokens.features) for tokens in setup.tokens) < 0.5, 'of the first one alone'


def test_image_that_was_overtaken_is_left_out(graph, setup):
    setup.see(graph.image(stamp=100.0), passes=1)
    expected = setup.node._followed[0][1]
    setup.see(graph.image(value=7, stamp=99.9))
    graph.until(lambda: expected._stamp == pytest.approx(99.9))
    graph.settle()
    setup.see(graph.image(stamp=100.1), passes=2)
    assert [s.header.stamp.sec for s in setup.stats] == [100, 100]


def frozen(graph, setup, seconds, speed, value=lambda step: 100):
    """Let a camera and a robot of this speed [m/s] run; return what is said of the camera."""
    states = graph.publisher(JointState, 'robot_state', state_qos())
    begin = setup.node._latency.count
    for step in range(round(seconds / 0.1)):
        graph.set_time(graph.now + 0.1)
        states.publish(graph.state((speed * 0.1 * step, 0.6, 0.2)))
        graph.settle(events=6)
        setup.see(graph.image(value(step)), passes=begin + step + 1)
    return setup.node.health.message('frozen')


def test_camera_that_sends_the_same_image_while_the_robot_moves_is_frozen(graph, setup):
    assert 'corner2 has sent the same image' in frozen(graph, setup, 2.0, 0.05)
    assert setup.node.health.status('', {}).level == DiagnosticStatus.WARN
    setup.see(graph.image(value=9), passes=setup.node._latency.count + 1)
    assert not setup.node.health.message('frozen')


def test_camera_is_not_frozen_while_the_robot_stands_or_the_image_changes(graph, setup):
    assert not frozen(graph, setup, 2.0, 0.0)
    assert not frozen(graph, setup, 2.0, 0.05, value=lambda step: 100 + step // 5)


def test_drivers_that_share_the_topic_are_not_taken_for_motion(graph, setup):
    states = graph.publisher(JointState, 'robot_state', state_qos())
    for step in range(15):
        graph.set_time(graph.now + 0.1)
        states.publish(joint_state(('finger',), np.array([0.04]), graph.now))
        states.publish(graph.state())
        graph.settle(events=6)
        setup.see(graph.image(), passes=step + 1)
    assert not setup.node.health.message('frozen')


def test_pass_that_hangs_is_named_and_ends_the_process(graph, hold):
    setup = Setup(graph, pass_timeout=0.01)
    held = hold(setup.node.stage, 'encode')
    setup.see(graph.image())
    graph.until(held.begun.is_set)
    assert setup.node.exit_code == 0
    graph.until(lambda: setup.node.exit_code)
    assert setup.node.exit_code == EXIT_HUNG
    assert 'not ended after pass_timeout 0.01 s' in setup.node.health.message('hang')
    held.go.set()


def test_reset_that_hangs_ends_the_process_as_a_pass_does(graph, hold):
    setup = Setup(graph, pass_timeout=0.01)
    held = hold(setup.node.stage, 'reset')
    setup.node.flush('clock jumped back')
    graph.until(held.begun.is_set)
    graph.until(lambda: setup.node.exit_code)
    assert setup.node.exit_code == EXIT_HUNG
    said = setup.node.health.message('hang')
    assert 'a reset or a change of settings has not ended after pass_timeout 0.01 s' in said
    held.go.set()


def test_settings_that_hang_are_refused_in_time_and_end_the_process(graph, hold, monkeypatch):
    monkeypatch.setattr(stage, 'ACCEPT_TIMEOUT_S', 0.5)
    setup = Setup(graph, pass_timeout=0.01)
    node = setup.node
    held = hold(node.stage, 'configure')
    (result,) = node.set_parameters([Parameter('cache.method', value='reuse')])
    assert held.begun.is_set()
    assert not result.successful
    assert 'was at it for more than 0.5 s; nothing is changed' in result.reason
    node.look()
    assert node.exit_code == EXIT_HUNG
    held.go.set()
    assert node.wait_idle(20.0)
    assert node.settings.cache.method == 'none'
    assert node.applied.cache.method == 'none', 'also where it ended after all'


def test_pass_may_take_for_ever_where_no_time_is_set(graph, hold):
    setup = Setup(graph, pass_timeout=0.0)
    held = hold(setup.node.stage, 'encode')
    setup.see(graph.image())
    graph.until(held.begun.is_set)
    setup.node.look()
    assert setup.node.exit_code == 0
    held.go.set()
