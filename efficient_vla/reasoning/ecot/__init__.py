# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Reasoning in words and a visual subgoal before acting (embodied chain of thought)."""
