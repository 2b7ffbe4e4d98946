# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of all rooms."""

import os
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what runs in the background, and all that is started from there.
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Threads of torch that share their cores with others spin for each other: six times as slow.
os.environ.setdefault('OMP_NUM_THREADS', '1')

pytest_plugins = tuple(
    f'fixtures.{name}' for name in ('chat', 'domains', 'policies', 'serving', 'waiting')
)
