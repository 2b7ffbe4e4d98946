# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Decodings of action tokens: exact ones equal greedy decoding, relaxed ones stay within bounds."""

import pytest
import torch
from torch import nn

from efficient_vla.action.decoding import Decoded, Line, consistency, parallel, speculative
from efficient_vla.action.decoding.autoregressive import greedy
from efficient_vla.action.decoding.jacobi import jacobi
from efficient_vla.action.heads.token_decoder import TokenDecoder

FEATURES, SIZE, LENGTH = 12, 17, 20


def decoder(seed: int, sharp: float = 6.0, length: int = LENGTH) -> TokenDecoder:
    """Return a random decoder whose choices hang on earlier tokens."""
    torch.manual_seed(seed)
    made = TokenDecoder(FEATURES, SIZE, length, width=32, layers=2, heads=4).double().eval()
    with torch.no_grad():
        made.embed.weight.mul_(20.0 * sharp)
        made.place.mul_(50.0)
        made.out.weight.mul_(sharp)
    return made.requires_grad_(False)


def features(seed: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed)).double()


def line_of(made: TokenDecoder, given: torch.Tensor, end=None, draft=(), **limits: int) -> Line:
    usual = {'accept': 0, 'max_passes': 1}
    return Line(made, given, end, lambda: draft, **usual | limits)


def drafted(made: TokenDecoder, given: torch.Tensor, end, draft, accept: int = 0) -> Decoded:
    return speculative.decode(line_of(made, given, end, draft, accept=accept))


def by_definition(made: TokenDecoder, given: torch.Tensor, end: int | None) -> list[int]:
    """Return the greedy line, each token from a whole pass without a cache."""
    line: list[int] = []
    while len(line) < made.length and (end is None or end not in line):
        before = torch.tensor([[made.begin, *line]])
        logits = made.logits(made.hidden(before, made.condition(given)))
        line.append(int(logits[0, -1].argmax()))
    return line


@pytest.mark.parametrize('end', [None, 3])
def test_exact_decodings_give_the_greedy_line(end):
    lengths, kinds = set(), []
    other = torch.randint(SIZE, (LENGTH,), generator=torch.Generator().manual_seed(9)).tolist()
    for seed in range(6):
        made, given = decoder(seed), features(seed)
        line = by_definition(made, given, end)
        lengths.add(len(line))
        assert greedy(made, given, end).tokens[0].tolist() == line
        assert jacobi(made, given, end).tokens[0].tolist()[: len(line)] == line
        for draft in (line, line[:-1], [1, 2], [], other):
            assert drafted(made, given, end, draft).tokens[0].tolist() == line
        kinds.append(len(set(line)))
    assert max(kinds) > 3
    assert end is None or len(lengths) > 1


def test_greedy_lines_of_a_batch_are_those_of_each_alone():
    made, given = decoder(0), features(5, 4)
    together = greedy(made, given, None).tokens
    alone = [greedy(made, row[None], None).tokens[0] for row in given]
    assert torch.equal(together, torch.stack(alone))


def test_a_jacobi_pass_settles_at_least_one_more_token():
    made, given = decoder(1), features(1)
    line = greedy(made, given, None).tokens
    for passes in range(1, LENGTH + 1):
        found = jacobi(made, given, None, passes)
        assert found.passes <= passes
        assert torch.equal(found.tokens[:, :passes], line[:, :passes])
    assert found.settled
    assert torch.equal(found.tokens, line)


def test_jacobi_needs_two_passes_where_no_token_depends_on_another():
    made = decoder(2)
    nn.init.zeros_(made.embed.weight)
    found = jacobi(made, features(2), None)
    assert found.passes == 2
    assert found.settled
    assert torch.equal(found.tokens, greedy(made, features(2), None).tokens)


def test_consistency_stops_after_its_passes():
    made, given = decoder(1), features(1)
    found = consistency.decode(line_of(made, given, max_passes=3))
    assert (found.passes, found.settled) == (3, False)


def test_a_right_draft_takes_one_pass_and_a_wrong_token_one_more():
    made, given = decoder(3), features(3)
    line = greedy(made, given, None).tokens[0].tolist()
    found = drafted(made, given, None, line)
    assert (found.passes, found.drafted, found.accepted) == (1, LENGTH - 1, LENGTH - 1)
    # The last token was no guess: nothing comes after it.
    assert found.tokens[0].tolist() == line
    nn.init.zeros_(made.embed.weight)
    alone = greedy(made, given, None).tokens[0].tolist()
    wrong = [*alone[:5], (alone[5] + 1) % SIZE, *alone[6:]]
    # Where no token depends on another, the refusing pass has named all that follow.
    found = drafted(made, given, None, wrong)
    assert (found.passes, found.accepted) == (2, 5 + LENGTH - 7)
    assert found.tokens[0].tolist() == alone


def test_without_a_draft_every_pass_is_one_token():
    made, given = decoder(3), features(3)
    found = drafted(made, given, None, [])
    assert (found.passes, found.drafted) == (LENGTH, 0)


def test_relaxed_acceptance_takes_guesses_near_to_the_choice_and_no_others():
    furthest = 0
    for seed in range(4):
        made, given = decoder(seed), features(seed)
        draft = [token + 1 - 2 * (token > 8) for token in by_definition(made, given, None)]
        relaxed = drafted(made, given, None, draft, accept=2)
        everything = drafted(made, given, None, draft, accept=SIZE)
        assert relaxed.accepted < everything.accepted == everything.drafted
        line = relaxed.tokens[0].tolist()
        hidden = made.hidden(made.after_begin(relaxed.tokens), made.condition(given))
        chosen = made.logits(hidden)[0].argmax(-1).tolist()
        furthest = max(furthest, *(abs(a - b) for a, b in zip(line, chosen, strict=True)))
    assert 0 < furthest <= 2


def test_speculative_decoding_takes_one_line():
    with pytest.raises(ValueError, match='2 lines'):
        drafted(decoder(0), features(0, 2), None, [])


def test_parallel_decoding_lets_slots_see_no_token():
    made, given = decoder(5), features(5)
    found = parallel.decode(line_of(made, given))
    with torch.no_grad():
        made.embed.weight[:SIZE] += 1.0
    assert found.passes == 1
    assert torch.equal(parallel.decode(line_of(made, given)).tokens, found.tokens)
