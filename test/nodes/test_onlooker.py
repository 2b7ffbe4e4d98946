# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whoever looks at a graph leaves it without a word."""

import threading

import pytest

from efficient_vla.nodes.base import onlooker
from efficient_vla.nodes.base.onlooker import InvalidHandle, Onlooker


class Shut:
    """An executor that is shut down while its thread looks at what it waits for."""

    def __init__(self, context):
        self._shut = threading.Event()

    def add_node(self, node):
        pass

    def spin(self):
        self._shut.wait(5.0)
        raise InvalidHandle('destruction was requested')

    def shutdown(self):
        self._shut.set()


@pytest.mark.filterwarnings('error::pytest.PytestUnhandledThreadExceptionWarning')
def test_thread_of_an_executor_that_is_shut_down_ends_quietly(ros_domain, monkeypatch):
    monkeypatch.setattr(onlooker, 'SingleThreadedExecutor', Shut)
    looker = Onlooker('looker', '')
    looker.start()
    looker.close()
    assert not looker._thread.is_alive()
