# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""`efficient-vla compress`: what it chooses, refuses and leaves."""

import json

import pytest
from page_manifest import MANIFEST

from benchmarks.job import Job, Sizes
from efficient_vla.bench.compress import run
from efficient_vla.bench.compress.deploy import refuse_folder, write
from efficient_vla.bench.compress.economies import Economy, economies, words_of
from efficient_vla.bench.compress.search import STAGES, Cost, compositions, front
from efficient_vla.bench.evaluate import Request
from efficient_vla.bench.overrides import build_settings, parse_overrides
from efficient_vla.bringup.deployment import FILE, values_of
from efficient_vla.bringup.graph import Selection, describe
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.policy import Policy, default_policy
from efficient_vla.settings import InvalidSettingError

DENSE_MS = {'perception': 40.0, 'reasoner': 50.0, 'actor': 10.0}
FAST = 'reasoner.pruning.method=random'


def single(dimension, name, gap, **shares):
    whole = {stage: shares.get(stage, 1.0) for stage in STAGES}
    spent = sum(DENSE_MS[stage] * share for stage, share in whole.items())
    share = spent / sum(DENSE_MS.values())
    return Cost((Economy(dimension, name, (f'{name}=1',)),), share, gap, whole, {})


def columns(shares, gap):
    found = {'gap_mean_mm': gap, 'weights_mb': 5.0}
    for stage in STAGES:
        found[f'{stage}_mean_ms'] = DENSE_MS[stage] * shares.get(stage, 1.0)
        found[f'dense_{stage}_mean_ms'] = DENSE_MS[stage]
    for prefix in ('', 'dense_'):
        found[f'{prefix}decision_mean_ms'] = sum(found[f'{prefix}{s}_mean_ms'] for s in STAGES)
    return found | {'decision_p50_ms': 1.0, 'decision_p95_ms': 2.0}


def test_options_are_valid_settings_and_dimensions_do_not_share_parameters():
    found = economies()
    assert {'numbers', 'tokens', 'tower', 'reuse'} <= {option.dimension for option in found}
    owner: dict[str, str] = {}
    for option in found:
        build_settings(parse_overrides(option.words))
        for word in option.words:
            parameter = word.partition('=')[0]
            assert owner.setdefault(parameter, option.dimension) == option.dimension


def test_the_front_has_what_no_other_beats():
    a, b, c = (
        single('x', name, gap, actor=share)
        for name, gap, share in (('a', 3.0, 0.1), ('b', 4.0, 0.5), ('c', 1.0, 0.9))
    )
    assert [cost.name for cost in front([c, b, a])] == ['a', 'c']


def test_shares_multiply_and_gaps_add_as_independent_ones():
    tokens = single('tokens', 'half', 3.0, reasoner=0.5)
    number = single('format', 'int8', 4.0, reasoner=0.4, perception=0.5)
    # 20 + 10 + 10 ms of 100, within 45; the tokens alone take 75, the format alone 50.
    (best,) = compositions([tokens, number], DENSE_MS, 0.45, 3)
    assert best.share == pytest.approx(0.4)
    assert best.gap_mm == pytest.approx(5.0)
    assert best.name == 'half + int8'
    assert not compositions([tokens, number], DENSE_MS, 0.39, 3)


def test_the_least_gap_comes_first_and_one_option_a_dimension():
    costs = [
        single('tokens', 'half', 3.0, reasoner=0.5),
        single('tokens', 'few', 9.0, reasoner=0.1),
    ]
    found = compositions(costs, DENSE_MS, 0.8, 5)
    assert [cost.name for cost in found] == ['half', 'few']


def test_of_a_parameter_that_is_given_twice_the_last_one_holds():
    one, two = (Economy(d, d, words) for d, words in (('a', ('x.y=1', 'x.z=2')), ('b', ('x.y=3',))))
    assert words_of((one, two)) == ('x.y=3', 'x.z=2')


@pytest.fixture
def search(monkeypatch):
    """Return what makes a search among three options whose costs and successes are given."""

    def made(success, budget=60.0, refuse=''):
        given = [
            Economy('tokens', 'few', (FAST,)),
            Economy('tower', 'rare', ('perception.cache.method=reuse',)),
            Economy('format', 'bf16', ('reasoner.quantization.mode=bf16',)),
        ]
        costs = {FAST: ('reasoner', 0.2, 2.0), given[1].words[0]: ('perception', 0.3, 5.0)}

        def latency(dense, words, scenes):
            if refuse and refuse in words:
                raise InvalidSettingError('that cannot be.')
            shares, gap = {}, 0.0
            for word in words:
                stage, share, more = costs.get(word, ('reasoner', 1.5, 1.0))
                shares[stage] = shares.get(stage, 1.0) * share
                gap += more
            return columns(shares, gap)

        played = []

        def play(job, words):
            played.append(words)
            rate = success.get(words, 1.0)
            return {('reach-v3', 1000 + i): i < 10 * rate for i in range(10)}

        monkeypatch.setattr(run, 'economies', lambda: given)
        monkeypatch.setattr(run, 'load', lambda policy, words=(): words)
        monkeypatch.setattr(run, 'measure_latency', latency)
        monkeypatch.setattr(Job, 'play', play)
        monkeypatch.setattr(Job, 'scenes', [], raising=False)
        job = Job(default_policy(), Sizes(tasks=('reach-v3',)))
        return run.Search(job, budget, 2.0, 3), played

    return made


def test_the_least_gap_within_the_budget_that_keeps_success_is_chosen(search):
    tried, played = search({})
    found = tried.run()
    assert found.chosen is not None
    assert found.chosen.name == 'few'
    assert played == [(), (FAST,)]


def test_what_loses_success_gives_way_to_the_next(search):
    tried, played = search({(FAST,): 0.5}, budget=62.0)
    found = tried.run()
    assert found.chosen is not None
    assert found.chosen.name != 'few'
    assert found.confirmed['few']['drop_points'] == pytest.approx(50.0)
    assert len(played) == 3


def test_a_budget_that_nothing_meets_plays_no_episode(search):
    tried, played = search({}, budget=5.0)
    found = tried.run()
    assert (found.chosen, played) == (None, [])


def test_a_refused_option_is_told_and_the_others_go_on(search):
    tried, _ = search({}, refuse='reasoner.quantization.mode=bf16')
    found = tried.run()
    assert found.refused == {'bf16': 'that cannot be.'}
    assert found.chosen is not None


def test_options_that_refuse_each_other_are_guessed_together_no_more(search, monkeypatch):
    tried, _ = search({}, budget=40.0)
    both = {FAST, 'perception.cache.method=reuse'}
    together = []

    def load(policy, words=()):
        if both <= set(words):
            together.append(words)
            raise InvalidSettingError('these two cannot be.')
        return words

    monkeypatch.setattr(run, 'load', load)
    found = tried.run()
    assert found.chosen is None
    # A composition and its pair; that of all three options is within the budget too.
    assert [len(words) for words in together] == [2, 2]


def test_a_budget_above_what_dense_takes_is_refused(search):
    tried, _ = search({}, budget=100.5)
    with pytest.raises(UsageError, match=r'takes 100\.0 ms'):
        tried.run()


def about(budget=60.0):
    memory = {'resident_mb': 100.0, 'peak_mb': 200.0}
    return {
        'budget_ms': budget,
        'max_drop': 2.0,
        'target': 'cpu',
        'manifest': MANIFEST,
        'memory': memory,
        'dense_memory': memory,
    }


def test_the_folder_is_the_policy_with_parameters_that_all_ways_of_starting_take(search, tmp_path):
    found = search({})[0].run()
    out = tmp_path / 'fast'
    write(out, default_policy(), found, about())
    assert values_of(out)['reasoner'] == {'pruning.method': 'random'}
    assert Policy.from_pretrained(out).reasoner._settings.pruning.method == 'random'
    graph = describe(Selection(policy=str(out)))
    assert graph.parameters['reasoner']['pruning.method'] == 'random'
    request = Request(out, ('reach-v3',), 1, 1000)
    assert request.settings['reasoner'].pruning.method == 'random'
    given = {'reasoner': {'pruning.method': 'none'}}
    asked = Request(out, ('reach-v3',), 1, 1000, given)
    assert asked.settings['reasoner'].pruning.method == 'none'
    text = (out / 'report.md').read_text()
    assert '**few**: 60.0 ms a decision in place of 100.0, 0.0 points' in text
    rows = json.loads((out / 'compress.json').read_text())['rows']
    assert [row['name'] for row in rows if row['chosen']] == ['few']


def test_without_a_choice_the_report_says_so_and_no_policy_is_copied(search, tmp_path):
    found = search({}, budget=5.0)[0].run()
    out = tmp_path / 'none'
    write(out, default_policy(), found, about(5.0))
    assert sorted(path.name for path in out.iterdir()) == [
        'compress.json',
        'pareto.png',
        'report.md',
    ]
    assert 'Nothing meets 5 ms' in (out / 'report.md').read_text()


def test_a_folder_that_is_not_empty_or_inside_the_policy_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UsageError, match='not empty'):
        refuse_folder(tmp_path, default_policy())
    with pytest.raises(UsageError, match='inside the policy'):
        refuse_folder(default_policy() / 'fast', default_policy())


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('reasoner:\n  ros__parameters:\n    pruning.methd: fastv\n', 'pruning.methd'),
        ('reasoner: [', 'is not YAML'),
    ],
)
def test_a_damaged_parameter_file_of_a_folder_is_told(tmp_path, text, said):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match=said):
        values_of(tmp_path)
