# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the actor."""

from dataclasses import dataclass

from efficient_vla.settings import setting

ARCHITECTURES = ('dual', 'single')


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
