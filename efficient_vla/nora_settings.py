# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the folder of a NORA does not say: the rows of a chunk, gripper, tokenizer."""

from dataclasses import dataclass

from efficient_vla.openvla_settings import EFFORTS
from efficient_vla.settings import setting


@dataclass(frozen=True, slots=True)
class NoraActions:
    """What the tokens of a NORA mean."""

    chunk: int = setting(
        1,
        'Rows of a chunk of NORA, as it was trained: 1, or 5 for NORA-Long.',
        unit='rows',
        low=1,
        high=100,
        read_only=True,
    )
    fast: str = setting(
        '',
        'Folder of the tokenizer FAST, with tokenizer.json and processor_config.json; empty: the '
        'folder fast inside that of the policy.',
        read_only=True,
    )
    gripper: str = setting(
        'opening',
        'What the gripper of a NORA gives: opening is 0 closed and 1 open, as it was pretrained, '
        'closing the reverse, effort is -1 open and 1 closed.',
        choices=tuple(EFFORTS),
        read_only=True,
    )
