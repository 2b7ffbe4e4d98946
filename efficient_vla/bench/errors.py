# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Errors that a person can mend, told in one sentence."""


class UsageError(Exception):
    """The command cannot do what was asked; the message names value, expectation and remedy."""


class EpisodeError(RuntimeError):
    """The running graph did not do what was asked; the message says which part."""
