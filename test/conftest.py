# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of all rooms."""

import os

# Threads of torch that share their cores with others spin for each other: six times as slow.
os.environ.setdefault('OMP_NUM_THREADS', '1')

pytest_plugins = tuple(
    f'fixtures.{name}' for name in ('chat', 'domains', 'policies', 'serving', 'waiting')
)
