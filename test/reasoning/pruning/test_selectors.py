# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What holds for every method, and the controls against cases computed by hand."""

import subprocess
import sys

import pytest
import torch

from efficient_vla.reasoning.pruning import METHODS, budget, load
from efficient_vla.reasoning.pruning.fastdrivevla import ReconPruner
from efficient_vla.reasoning.settings import PRUNING_METHODS, PruningSettings
from efficient_vla.settings import InvalidSettingError, build

LAST = [0.1, 0.4, 0.05, 0.3, 0.15, 0.0]


def keep(method, view):
    return budget.choose(load(method)(view), view).tolist()


@pytest.fixture
def full_view(make_view):
    """Return a function that makes two cameras of 3 x 4 with all that any method asks for."""

    def make(method, count, **settings):
        generator = torch.Generator().manual_seed(0)
        random = torch.rand(24, generator=generator)
        torch.manual_seed(0)
        return make_view(
            count,
            (3, 4),
            2,
            settings={'min_tokens': 1} | settings,
            tokens=torch.randn(24, 8, generator=generator),
            text=torch.randn(3, 8, generator=generator),
            attention=torch.rand(2, 3, 24, generator=generator),
            last=random,
            output=torch.randn(24, 8, generator=generator),
            saliency=random / random.sum(),
            remembered=torch.where(random < 0.3, torch.nan, random),
            similarity=random,
            speed=0.7,
            project=lambda q, k: (q.unflatten(1, (4, 2)), k[:, :4].unflatten(1, (2, 2))),
            scorer=ReconPruner(8, width=8).eval() if 'scorer' in METHODS[method].needs else None,
            generator=torch.Generator().manual_seed(3),
        )

    return make


def test_every_name_of_the_settings_is_a_method():
    assert set(METHODS) == set(PRUNING_METHODS) - {'none'}


def test_methods_drop_after_the_layers_of_their_papers():
    two = ('fastv', 'efficientvla', 'flashvla', 'specprune', 'sqap')
    layers = {name: method.layer for name, method in METHODS.items()}
    assert layers == {name: 2 if name in two else 0 for name in METHODS}


@pytest.mark.parametrize(
    ('method', 'layer', 'remedy'),
    [
        ('fastv', 0, 'Set it to 2'),
        ('flashvla', 0, 'Set it to 2'),
        ('specprune', 1, 'at least 2'),
        ('fastdrivevla', 1, 'Set it to -1'),
        ('lightvla', 2, 'Set it to -1'),
    ],
)
def test_a_layer_at_which_a_method_cannot_rank_is_refused(method, layer, remedy):
    with pytest.raises(InvalidSettingError, match=f'pruning.layer is {layer} with .*{remedy}'):
        build(PruningSettings, {'method': method, 'layer': layer})


def test_the_catalogue_and_the_presets_load_no_torch():
    program = 'import sys; import efficient_vla.presets; assert "torch" not in sys.modules'
    assert subprocess.run([sys.executable, '-c', program], check=False).returncode == 0


@torch.inference_mode()
@pytest.mark.parametrize('method', METHODS)
def test_identity_a_full_budget_keeps_all_tokens(full_view, method):
    assert keep(method, full_view(method, 24)) == list(range(24))


@torch.inference_mode()
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('count', [1, 6, 12, 23])
def test_no_method_keeps_more_than_the_budget(full_view, method, count):
    kept = keep(method, full_view(method, count))
    assert kept == sorted(set(kept))
    assert len(kept) <= count
    if method not in ('lightvla', 'sp_vla', 'specprune'):
        assert len(kept) == count


@torch.inference_mode()
@pytest.mark.parametrize('method', METHODS)
def test_every_method_keeps_to_quotas_and_protection(full_view, method):
    view = full_view(method, 10, camera_weights=(0.4, 0.6))
    view.protected = torch.arange(24) == 7
    kept = keep(method, view)
    assert 7 in kept
    assert sum(token < 12 for token in kept) <= 4
    assert sum(token >= 12 for token in kept) <= 6


def test_fastv_keeps_the_highest_scores_in_order_of_position(make_view):
    assert keep('fastv', make_view(3, last=LAST, settings={'min_tokens': 1})) == [1, 3, 4]
    assert keep('fastv', make_view(1, last=LAST, settings={'min_tokens': 1})) == [1]


@pytest.mark.parametrize(
    ('count', 'expected'), [(1, [3]), (2, [1, 4]), (3, [1, 3, 5]), (6, [0, 1, 2, 3, 4, 5])]
)
def test_uniform_spreads_over_the_sequence(make_view, count, expected):
    assert keep('uniform', make_view(count, settings={'min_tokens': 1})) == expected


def test_random_draws_without_replacement_and_repeats_with_its_seed(make_view):
    def draw(seed):
        return keep('random', make_view(4, generator=torch.Generator().manual_seed(seed)))

    assert draw(3) == draw(3)
    assert len(set(draw(3))) == 4
    assert len({tuple(draw(seed)) for seed in range(20)}) > 1
