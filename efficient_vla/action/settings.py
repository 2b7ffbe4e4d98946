# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the actor."""

from dataclasses import dataclass

from efficient_vla.settings import setting

ARCHITECTURES = ('dual', 'single')
HEADS = ('regression', 'tokens')


@dataclass(frozen=True, slots=True)
class ActorSettings:
    """Parameters of the actor."""

    architecture: str = setting(
        'dual',
        'dual conditions a light policy on the slow plan and a fresh image; single decodes '
        'the plan alone.',
        choices=ARCHITECTURES,
        read_only=True,
    )
    head: str = setting(
        'regression',
        'regression gives numbers in one pass. tokens names words of the vocabulary that univla '
        'shares with image and text; needs architecture single and resampling.method univla.',
        choices=HEADS,
        read_only=True,
    )

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if self.head == 'tokens' and self.architecture != 'single':
            return (
                f'head is tokens with architecture {self.architecture}; expected single, since '
                'action words are decoded from the plan alone. Set architecture to single.'
            )
        return None
