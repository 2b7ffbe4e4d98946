# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Policies of LeRobot here and in LeRobot's own class: time, memory, and the same chunk."""
