# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""FlashVLA keeps the tokens that carry the leading directions of the attention output."""

import numpy as np
import pytest
import torch

from efficient_vla.reasoning.pruning import budget, flashvla


def by_decomposition(output, energy):
    u, s, _ = np.linalg.svd(output.double().numpy(), full_matrices=False)
    share = np.cumsum(s**2) / np.sum(s**2)
    rank = int(np.argmax(share >= energy - 1e-9)) + 1
    return np.abs(u[:, :rank] * s[:rank]).sum(1), rank


def test_directions_beyond_the_rank_do_not_count(make_view):
    # Orthogonal columns: contributions are absolute entries. Column 1 holds 1.4 % of the energy.
    output = [[3.0, 0.0], [0.0, 0.6], [2.0, 0.1], [4.0, 0.0], [0.0, 0.3], [0.5, 0.0]]
    settings = {'flashvla.energy': 0.98, 'min_tokens': 1}
    view = make_view(3, output=output, settings=settings)
    torch.testing.assert_close(
        flashvla.score(view), torch.tensor([3.0, 0, 2, 4, 0, 0.5]), atol=0.05, rtol=0
    )
    assert budget.choose(flashvla.score(view), view).tolist() == [0, 2, 3]
    view = make_view(4, output=output, settings=settings | {'flashvla.energy': 1.0})
    assert budget.choose(flashvla.score(view), view).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('shape', [(24, 40), (24, 7)])
@pytest.mark.parametrize('energy', [0.5, 0.9, 1.0])
def test_it_is_exact_where_the_rank_reaches_the_size(make_view, shape, energy):
    output = torch.randn(shape, generator=torch.Generator().manual_seed(2)) + 0.5
    settings = {'flashvla.energy': energy, 'flashvla.rank': 40}
    view = make_view(10, (4, 6), output=output, settings=settings)
    expected, _ = by_decomposition(output, energy)
    np.testing.assert_allclose(flashvla.score(view).numpy(), expected, atol=1e-3)
    kept = budget.choose(flashvla.score(view), view).tolist()
    assert kept == sorted(np.argsort(-expected, kind='stable')[:10].tolist())


def test_few_directions_find_the_same_tokens_in_a_large_output(make_view):
    generator = torch.Generator().manual_seed(5)
    spectrum = torch.diag(torch.tensor([9.0, 6, 5, 3, 2, 1]))
    signal = torch.randn(256, 6, generator=generator) @ spectrum
    signal = signal @ torch.randn(6, 320, generator=generator)
    output = signal + 0.05 * torch.randn(256, 320, generator=generator)
    settings = {'flashvla.energy': 0.99, 'flashvla.rank': 16}
    view = make_view(128, (16, 16), output=output, settings=settings)
    expected, rank = by_decomposition(output, 0.99)
    assert rank < 16
    kept = budget.choose(flashvla.score(view), view).tolist()
    assert kept == sorted(np.argsort(-expected, kind='stable')[:128].tolist())


def test_the_same_output_gives_the_same_scores(make_view):
    output = torch.randn(24, 40, generator=torch.Generator().manual_seed(2))
    view = make_view(10, (4, 6), output=output)
    assert torch.equal(flashvla.score(view), flashvla.score(view))
