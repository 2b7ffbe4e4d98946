# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of resampling."""

from dataclasses import dataclass

from efficient_vla.settings import setting

RESAMPLING_METHODS = ('none', 'otter', 'perceiver', 'univla')
FIXED_LENGTH = ('otter', 'perceiver')
"""Methods whose tokens have no place in an image, so that there is nothing to prune or reuse."""


@dataclass(frozen=True, slots=True)
class ResamplingSettings:
    """Other tokens in place of the visual ones, by a module trained for the policy."""

    method: str = setting(
        'none',
        'otter pools what matches the instruction, perceiver reads with learned latents, both to '
        'a fixed number of tokens; univla replaces each token by a code of one vocabulary with '
        'text and actions. All need their add-on file in the folder of the policy.',
        choices=RESAMPLING_METHODS,
        read_only=True,
    )
