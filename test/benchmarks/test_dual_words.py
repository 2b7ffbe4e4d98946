# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of a plan to see whether it carries which thing is meant."""

import numpy as np
import pytest

from benchmarks.dual_words import NAMES, named, other, probe


def test_another_thing_is_one_that_the_data_ask_for():
    shown = {f'push the {colour} cube' for colour in ('red', 'blue')}
    assert other('push the red cube', shown) == 'push the blue cube'
    assert other('push the blue cube', shown) == 'push the red cube'
    assert [named(s) for s in ('touch the green ball', 'reddish')] == [NAMES.index('green'), -1]
    with pytest.raises(ValueError, match='another thing'):
        other('touch the green ball', shown)


def test_a_probe_reads_a_colour_only_where_the_rows_have_it():
    rng = np.random.default_rng(0)
    labels, asked = rng.integers(len(NAMES), size=300), rng.integers(len(NAMES), size=200)
    code = rng.normal(size=(len(NAMES), 6))
    known = code[labels] + 0.1 * rng.normal(size=(300, 6))
    found = probe(known, labels, code[asked] + 0.1 * rng.normal(size=(200, 6)))
    assert (found == asked).mean() > 0.95
    found = probe(rng.normal(size=(300, 6)), labels, rng.normal(size=(200, 6)))
    assert (found == asked).mean() < 0.5
