# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Selectors of visual tokens: one file a method.

A selector says which tokens stay; it never touches positions, masks or caches. Signature:
``select(scores, count, generator) -> indices``, where ``scores`` [V] are the attention
probabilities that the last query gives to the V visual tokens (zeros unless the method is in
``NEEDS_SCORES``), ``count`` how many stay, and the result is sorted, int64, [count].
"""

from efficient_vla.reasoning.pruning import fastv
from efficient_vla.reasoning.pruning import random
from efficient_vla.reasoning.pruning import uniform

SELECTORS = {'fastv': fastv.select, 'uniform': uniform.select, 'random': random.select}
NEEDS_SCORES = frozenset({'fastv'})
