# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A fast policy that an add-on steers, as a head."""

from efficient_vla.action.conditioning import FAST, Steer, SteeredPolicy, steering_class
from efficient_vla.action.heads import Generator, Given, HeadSource, Made
from efficient_vla.action.policies import SinglePolicy
from efficient_vla.dual_settings import addon_name


class SteeredRegression(Generator):
    """One pass of the fast policy."""

    needs_image = True

    def __init__(self, policy: SteeredPolicy, slow: SinglePolicy | None) -> None:
        """Take the policy and, where it reads the slow chunk, what makes that."""
        super().__init__()
        self.policy, self.slow = policy, slow
        self.needs_since = slow is not None

    def make(self, given: Given) -> Made:
        """Return the chunk of one pass."""
        assert given.pixels is not None
        steer, since = Steer(given.latents), given.since
        if self.slow is not None:
            assert since is not None
            chunk = self.slow(given.latents, since.state) + since.carried
            steer = Steer(given.latents, chunk, since.rows)
        return Made(self.policy(steer, given.pixels, given.state)[0], 1)


def load(source: HeadSource, name: str) -> SteeredRegression:
    """Return the fast policy of a folder with the add-on of a conditioning.

    Raises ``CheckpointError`` where that is missing, damaged or of other weights.
    """
    dual, addon = source.dual(), source.addon(addon_name(name))
    steering = addon.module(steering_class(name))
    addon.merge(dual.head, FAST)
    slow = source.single() if steering.needs_slow else None
    return SteeredRegression(SteeredPolicy(dual, steering), slow)
