# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the fast side did is counted from what was heard of it."""

import pytest

from benchmarks.slow_node.faults import SlowOutcome, held, rate
from benchmarks.slow_node.run import table

HEARD = [(0.0, 'tracking'), (2.0, 'holding'), (2.5, 'waiting'), (4.0, 'tracking'), (9.0, 'holding')]


def test_pauses_are_those_between_states_that_follow_chunks():
    assert held(HEARD, 1.0, 10.0) == [2.0, 1.0]


@pytest.mark.parametrize(
    ('span', 'pauses'), [((2.2, 3.0), [0.8]), ((5.0, 8.0), []), ((3.0, 5.0), [1.0])]
)
def test_a_pause_counts_as_far_as_it_is_in_the_span(span, pauses):
    assert held(HEARD, *span) == pytest.approx(pauses)


def test_a_rate_is_of_the_span_alone():
    assert rate([0.0, 1.0, 1.5, 2.0, 3.0], 1.0, 3.0) == 1.5


def test_a_row_of_the_table_tells_one_fault():
    row = SlowOutcome('reasoner', 'hung 10 s', 2.0, 10.02, 9.5, 2.1, 2.04, 0.784, 7.9, 0.0, 0.41)
    assert table([row]).splitlines()[-1] == (
        '| reasoner, 2 s | hung 10 s (10.0 s) | 9.5, 2.1 | 2.0 | 78 %, 7.9 | - | 0.41 |'
    )
