# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Robots and policy types that another package brings, found by entry point alone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.policies import write_policy

from efficient_vla import plugins
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.policy import stages_of
from efficient_vla.sim.catalogue import OWN, robots, simulation

PLUGIN = Path(__file__).parents[1] / 'fixtures' / 'point_robot'
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what installs a distribution of version 2.0 with these entry points and module."""

    def installed(entries: str, module: str = '', name: str = 'brought') -> None:
        site = tmp_path / name
        info = site / f'{name}-2.0.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n')
        (info / 'entry_points.txt').write_text(entries)
        (site / f'{name}.py').write_text(module)
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(str(site))

    return installed


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))


def policy(folder: Path, **fields: object) -> Path:
    """Write a policy of the type that the other package brings; it moves along x."""
    path = write_policy(folder, **{'velocity': (0.25, 0.0), 'cameras': ('top',), **fields})
    card = json.loads((path / 'policy.json').read_text())
    card |= {'policy_type': 'point', 'state_names': ['x', 'y'], 'action_names': ['x', 'y']}
    (path / 'policy.json').write_text(json.dumps(card))
    return path


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command beside which the other package is installed."""
    environment = {**os.environ, 'PYTHONPATH': str(PLUGIN)}
    return subprocess.run(
        [sys.executable, '-m', 'efficient_vla.cli', *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.usefixtures('point')
def test_names_of_other_packages_are_known_without_importing_them() -> None:
    assert robots() == (*OWN, 'point')
    assert 'point_robot' not in sys.modules
    assert simulation('point').command_names == ('x', 'y')
    assert simulation('point').reported_names == ('x', 'y', 'setpoint_x', 'setpoint_y')


def test_a_robot_of_another_package_is_evaluated_in_process(tmp_path: Path) -> None:
    out = tmp_path / 'out.json'
    words = ('--robot', 'point', '--policy', policy(tmp_path / 'policy'), '--json', out)
    done = command('eval', '--tasks', 'slide', '--episodes', '2', '--workers', '1', *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert [episode['success'] for episode in found['episodes']] == [True, True]
    # 0.2 m at 0.25 m/s take 0.8 s; speeding up and the first chunk take a little longer.
    assert all(0.8 <= episode['duration_s'] <= 1.2 for episode in found['episodes'])
    assert found['manifest']['parameters']['controller.rate'] == 50.0


def test_a_robot_of_another_package_is_driven_through_the_graph(
    tmp_path: Path, ros_domain: int
) -> None:
    out = tmp_path / 'out.json'
    words = ('--robot', 'point', '--policy', policy(tmp_path / 'policy'), '--json', out)
    done = command('eval', '--graph', '--tasks', 'slide', '--episodes', '1', *words)
    assert done.returncode == 0, done.stderr
    (episode,) = json.loads(out.read_text())['episodes']
    assert episode['success'], episode


def test_tasks_are_those_of_the_robot(tmp_path: Path) -> None:
    words = ('--robot', 'point', '--policy', policy(tmp_path / 'policy'))
    done = command('eval', '--tasks', 'reach-v3', *words, '--json', tmp_path / 'out.json')
    assert done.returncode != 0
    assert "unknown task 'reach-v3' of point; expected one of slide, rest." in done.stderr


def test_a_plug_in_that_cannot_be_imported_is_named_with_its_distribution(install: Install) -> None:
    install('[efficient_vla.robots]\nbroken = brought:SIMULATION\n', 'import no_such_module\n')
    sentence = (
        "'broken' of efficient_vla.robots cannot be loaded from brought:SIMULATION of brought 2.0: "
        "ModuleNotFoundError: No module named 'no_such_module'. Repair or uninstall that package."
    )
    with pytest.raises(plugins.PluginError) as caught:
        simulation('broken')
    assert str(caught.value) == sentence
    assert simulation('metaworld').first_task == 'reach-v3', 'others are not harmed'


def test_two_offers_of_one_name_are_refused_and_both_are_named(install: Install) -> None:
    install('[efficient_vla.robots]\nmetaworld = brought:SIMULATION\n')
    with pytest.raises(plugins.PluginError, match=r'efficient_vla itself and brought 2\.0'):
        simulation('metaworld')


def test_what_is_no_simulation_is_refused(install: Install) -> None:
    install('[efficient_vla.robots]\nwrong = brought:SIMULATION\n', 'SIMULATION = 3\n')
    with pytest.raises(plugins.PluginError, match="'wrong' is int; expected a Simulation"):
        simulation('wrong')


def test_an_unknown_robot_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="robot 'r2d2'; expected one of metaworld"):
        simulation('r2d2')


def test_a_policy_type_that_lacks_a_stage_is_refused(install: Install, tmp_path: Path) -> None:
    install('[efficient_vla.policies]\nhalf = brought\n', 'load_actor = load_reasoner = print\n')
    (tmp_path / 'policy.json').write_text('{"policy_type": "half"}')
    with pytest.raises(
        CheckpointError, match='one of brought, which has no load_perception; expected'
    ):
        stages_of(tmp_path)
