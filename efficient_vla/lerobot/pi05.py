# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""pi0.5 (arXiv 2504.16054): pi0 with the state in the words, and norms that time scales."""

from functools import partial

from efficient_vla.lerobot.pi0 import Pi
from efficient_vla.lerobot.prefix_policy import PrefixPolicy

policy = PrefixPolicy(partial(Pi, adaptive=True))
load_perception, load_reasoner = policy.load_perception, policy.load_reasoner
load_actor, replay = policy.load_actor, policy.replay
