# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of all rooms."""

pytest_plugins = ('fixtures.domains', 'fixtures.policies', 'fixtures.waiting')
