# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The profile on docs/your_policy.md, folders of LeRobot and the graph fit together."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures.profiles import so101

from efficient_vla.action.settings import ActorSettings
from efficient_vla.bringup.catalogue import POLICY_NODES
from efficient_vla.bringup.graph import Graph, ProfileError, Selection, describe
from efficient_vla.joints import joints_of
from efficient_vla.settings import build

LEROBOT = Path(__file__).resolve().parents[1] / 'fixtures' / 'lerobot'
NAMES = ('shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'jaw')


@pytest.fixture(autouse=True)
def hub(monkeypatch):
    monkeypatch.setenv('HF_HUB_CACHE', str(LEROBOT / 'hub'))


def graph(folder: Path, *changes: tuple[str, str], policy: str | Path = 'act', **choices) -> Graph:
    profile = so101(folder, *changes)
    return describe(Selection(robot=str(profile), policy=str(LEROBOT / policy), **choices))


@pytest.mark.parametrize('policy', ['act', 'diffusion', 'smolvla', 'pi05'])
def test_the_profile_of_the_page_fits_these_folders(tmp_path: Path, policy: str) -> None:
    found = graph(tmp_path, policy=policy)
    assert found.parameters['perception']['policy'] == str(LEROBOT / policy)
    assert not found.notes


RADIANS = ('unit: [deg, deg, deg, deg, deg', 'unit: [deg, deg, rad, deg, deg')


def test_a_unit_that_leads_out_of_the_joint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r'for elbow_flex, whose limits are -0\.1 to 3\.2'):
        graph(tmp_path, RADIANS)


def test_a_unit_that_the_folder_speaks_against_is_noted_at_the_start(tmp_path: Path) -> None:
    found = graph(tmp_path, RADIANS, ('[1.9, 0.2, 3.2,', '[1.9, 0.2, 30.0,'))
    (note,) = found.notes
    assert note.startswith('joints.unit of elbow_flex is rad, but the policy learned numbers from')


def test_the_profile_means_what_the_page_says(tmp_path: Path) -> None:
    values = graph(tmp_path).parameters
    for node in ('actor', 'reasoner'):
        given = {k: v for k, v in values[node].items() if k.startswith('joints.')}
        joints = joints_of(build(ActorSettings, given).joints, 6, 6)
        assert joints.action_names == NAMES == tuple(values['controller']['names'])
        row = joints.rows_to_robot(np.array([[90.0, 90.0, 0.0, 0.0, 0.0, 50.0]]))[0]
        np.testing.assert_allclose(
            row, [math.pi / 2, -math.pi / 2 - 1.57, 1.57, 0, 0, 0.79], rtol=1e-6
        )
        assert joints.dt == pytest.approx(1 / 30)


@pytest.mark.parametrize('hardware', ['cpu_2core', 'desktop_gpu', 'jetson_orin'])
def test_stages_that_hand_on_a_cache_share_a_process(tmp_path: Path, hardware: str) -> None:
    processes = [process.nodes for process in graph(tmp_path, hardware=hardware).processes]
    assert processes == [POLICY_NODES, ('controller',), ('monitor',)]


def test_every_node_that_looks_at_cameras_knows_their_topics(tmp_path: Path) -> None:
    values = graph(tmp_path).parameters
    for node in ('perception', 'actor', 'monitor'):
        assert list(values[node]['camera_topics'])[1] == 'wrist:=/wrist_camera/image_raw'
    assert values['monitor']['cameras'] == ['front', 'wrist']


def test_a_slow_policy_has_the_time_that_two_of_its_chunks_last(tmp_path: Path) -> None:
    slow = ('rate: 30.0', 'rate: 5.0')
    values = graph(tmp_path, slow).parameters
    assert values['controller']['watchdog.chunk_timeout'] == pytest.approx(3.2)
    assert values['reasoner']['plan_validity'] == pytest.approx(4.8)
    values = graph(tmp_path, overrides={'controller.watchdog.chunk_timeout': 0.7}).parameters
    assert values['controller']['watchdog.chunk_timeout'] == 0.7
    # Eight rows at 30 Hz are no slow policy.
    assert values['reasoner']['plan_validity'] == 2.0


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ([('wrist:=', 'hand:=')], r'looks through front, wrist; .* has front, hand.*wrist:=TOPIC'),
        ([('rate: 30.0', 'rate: 0.0')], r'joints\.rate is 0'),
        ([('mode: joint_position', 'mode: unknown')], r'joints\.mode is unknown'),
        ([('wrist_roll, jaw]', 'wrist_roll]')], r'joints\.unit has 6 values for 5 names'),
        ([('jaw', 'gripper')], r'unit of gripper is percent; expected effort'),
        (
            [
                (
                    '      names: [shoulder_pan, shoulder_lift',
                    '      names: [shoulder_lift, shoulder_pan',
                )
            ],
            r'shoulder_lift in column 1, where the folder has shoulder_pan\.pos',
        ),
    ],
)
def test_what_a_profile_lacks_is_told_before_anything_starts(
    tmp_path: Path, changes: list[tuple[str, str]], reason: str
) -> None:
    with pytest.raises(ProfileError, match=reason):
        graph(tmp_path, *changes, policy='pi05')


def test_commands_in_another_order_than_the_policy_has_are_refused(tmp_path: Path) -> None:
    swapped = {'controller.names': [*NAMES[1::-1], *NAMES[2:]]}
    with pytest.raises(ProfileError, match=r'acts on shoulder_pan, .* commanded by shoulder_lift'):
        graph(tmp_path, overrides=swapped)


def test_a_tokenizer_that_is_nowhere_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setenv('HOME', str(tmp_path))
    (place,) = (LEROBOT / 'hub').glob('*SmolVLM2*/snapshots/*')
    folder = shutil.copytree(LEROBOT / 'smolvla', tmp_path / 'smolvla')
    (folder / 'vlm').mkdir()
    shutil.copy(place / 'config.json', folder / 'vlm')
    with pytest.raises(ProfileError, match=r'tokenizer is neither in the folder nor'):
        graph(tmp_path, policy=folder)
    graph(tmp_path, policy=folder, overrides={'reasoner.tokenizer': str(place)})
    with pytest.raises(ProfileError, match=r'reasoner\.tokenizer is .*; expected a folder with'):
        graph(tmp_path, policy=folder, overrides={'reasoner.tokenizer': str(tmp_path)})


def test_the_simulated_robot_refuses_a_policy_of_another_one() -> None:
    with pytest.raises(ProfileError, match=r'looks through front, wrist; metaworld has corner2'):
        describe(Selection(policy=str(LEROBOT / 'act')))
