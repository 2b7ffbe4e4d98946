# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Errors that several rooms raise."""


class CheckpointError(ValueError):
    """A policy folder is missing, damaged or of another architecture."""
