# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Our dataset through LeRobot's trainer, and its folder through our graph."""
