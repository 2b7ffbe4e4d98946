# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Errors that several rooms raise."""


class CheckpointError(ValueError):
    """A policy folder is missing, damaged or of another architecture."""


class UsageError(Exception):
    """The command cannot do what was asked; the message names value, expectation and remedy."""


class EpisodeError(RuntimeError):
    """The running graph did not do what was asked; the message says which part."""


class PolicyServerError(ConnectionError):
    """A policy server cannot be reached, or its answer cannot be used; the message names it."""
