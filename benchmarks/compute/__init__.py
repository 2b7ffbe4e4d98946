# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Layers, bytes and engines: what a decision costs, and what that does to success."""
