# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What fires and recovers all the time is one line and one state, and is counted."""

import threading
from itertools import pairwise

import pytest

from efficient_vla.nodes.base.health import ERROR, OK, WARN, Health


class Setup:
    def __init__(self):
        self.now = 10.0
        self.lines = []
        self.health = Health(self, lambda: self.now)

    def warning(self, text):
        self.lines.append((self.now, 'warning', text))

    def error(self, text):
        self.lines.append((self.now, 'error', text))

    def info(self, text):
        self.lines.append((self.now, 'info', text))

    def level(self):
        return self.health.status('', {}).level


@pytest.fixture
def setup():
    return Setup()


def test_rule_is_logged_once_and_once_more_when_it_recovers_and_is_counted(setup):
    for _ in range(5):
        setup.health.warn('camera', 'dark')
    setup.health.clear('camera')
    assert setup.health.message('camera') == '', 'it holds no more'
    setup.now = 11.0
    assert setup.level() == OK
    setup.health.clear('camera')
    assert setup.lines == [(10.0, 'warning', 'camera: dark'), (11.0, 'info', 'camera: recovered')]
    assert setup.health.counts['camera'] == 5


def test_rule_that_flickers_is_one_state_and_one_line(setup):
    levels = []
    for step in range(1000):
        setup.now = 10.0 + step * 0.01
        if step % 2:
            setup.health.clear('state')
        else:
            setup.health.error('state', 'partial')
        levels.append(setup.level())
    assert set(levels) == {ERROR}
    assert setup.lines == [(10.0, 'error', 'state: partial')]
    assert setup.health.counts['state'] == 500


def test_no_rule_logs_more_than_a_line_a_second_however_its_level_changes(setup):
    for step in range(1000):
        setup.now = 10.0 + step * 0.01
        report = setup.health.error if step % 3 else setup.health.warn
        report('plan', 'old')
    times = [time for time, _, _ in setup.lines]
    assert min(b - a for a, b in pairwise(times)) >= 1.0
    assert {kind for _, kind, _ in setup.lines} == {'warning', 'error'}


def test_rule_that_gets_worse_within_a_second_is_logged_when_that_is_over(setup):
    setup.health.warn('plan', 'old')
    setup.now = 10.2
    setup.health.error('plan', 'too old')
    assert setup.level() == ERROR
    assert len(setup.lines) == 1
    setup.now = 11.1
    setup.health.status('', {})
    assert setup.lines[1:] == [(11.1, 'error', 'plan: too old')]


def test_rule_that_fires_again_after_it_recovered_is_news(setup):
    for second in range(3):
        setup.now = 10.0 + 4 * second
        setup.health.warn('camera', 'dark')
        setup.health.clear('camera')
        setup.now += 2.0
        setup.health.status('', {})
    assert [kind for _, kind, _ in setup.lines] == ['warning', 'info'] * 3


def test_worst_level_is_shown_and_every_rule_named(setup):
    setup.health.warn('a', 'one')
    setup.health.error('b', 'two')
    status = setup.health.status('node', {'x': 1 / 3})
    assert (status.level, status.message) == (ERROR, 'a: one; b: two')
    assert {item.key: item.value for item in status.values} == {
        'x': '0.333333',
        'a': '1',
        'b': '1',
    }
    setup.health.clear('b')
    setup.now = 12.0
    assert setup.level() == WARN


def test_node_that_starts_anew_says_again_what_is_wrong(setup):
    setup.health.error('configure', 'no policy')
    setup.health.clear_all()
    assert setup.level() == OK
    setup.health.error('configure', 'no policy')
    assert len(setup.lines) == 2


def test_a_message_that_repeats_what_came_over_a_topic_is_cut(setup):
    setup.health.warn('chunk', 'chunk has columns ' + 'n, ' * 8000)
    assert len(setup.lines[0][2]) < 600
    assert len(setup.health.message('chunk')) == 500


def test_any_thread_may_report(setup):
    def report():
        for _ in range(200):
            setup.health.warn('shared', 'x')

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert setup.health.counts['shared'] == 800
    assert len(setup.lines) == 1
