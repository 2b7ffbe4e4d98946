# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a person is told of the health of nodes: what lasts, once, and when it is over."""

from types import SimpleNamespace

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from efficient_vla.nodes.client.health_news import HealthNews, News

WARN, ERROR = DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.fixture
def news():
    node = SimpleNamespace(create_subscription=lambda *_: None)
    return HealthNews(node, ('actor', 'controller'), '/left')


def report(news, message, level=ERROR, name='/left/actor'):
    status = DiagnosticStatus(name=f'{name}: health', level=level, message=message)
    news.take(DiagnosticArray(status=[status]))
    return news.news()


def test_what_two_reports_in_a_row_say_is_told_once(news):
    assert report(news, 'no camera: nothing came for 2.0 s') == []
    assert report(news, 'no camera: nothing came for 3.0 s') == [
        News('actor: no camera: nothing came for 3.0 s', serious=True)
    ]
    assert report(news, 'no camera: nothing came for 4.0 s') == []


def test_a_rule_that_joins_others_is_told_alone(news):
    report(news, 'camera: none', WARN)
    report(news, 'camera: none', WARN)
    both = 'camera: none; no /left/robot_state: names are a; b. Expected: c'
    assert report(news, both, WARN) == []
    found = report(news, both, WARN)
    assert found == [News('actor: no /left/robot_state: names are a; b. Expected: c')]


def test_recovery_is_told_and_the_same_may_come_again(news):
    for _ in range(2):
        assert report(news, 'camera: none') == []
        assert len(report(news, 'camera: none')) == 1
        over = report(news, 'ok', DiagnosticStatus.OK)
        assert over == [News('actor: camera: recovered', over=True)]
        assert report(news, 'ok', DiagnosticStatus.OK) == []


def test_what_was_not_told_does_not_recover(news):
    assert report(news, 'camera: none') == []
    assert report(news, 'ok', DiagnosticStatus.OK) == []


def test_other_programs_and_namespaces_are_left_alone(news):
    for name in ('/left/driver', '/right/actor', '/actor'):
        assert report(news, 'camera: none', name=name) == []
        assert report(news, 'camera: none', name=name) == []
