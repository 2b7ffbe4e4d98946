# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads that turn a plan into a chunk of actions."""
