# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""`efficient-vla inspect` tells what a folder is and what is missing, without weights and torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures.profiles import so101
from safetensors import safe_open

from efficient_vla.cli import main

LEROBOT = Path(__file__).resolve().parents[1] / 'fixtures' / 'lerobot'


@pytest.fixture(autouse=True)
def hub(monkeypatch):
    monkeypatch.setenv('HF_HUB_CACHE', str(LEROBOT / 'hub'))
    monkeypatch.setenv('COLUMNS', '200')


def inspected(folder: Any, tmp_path: Path, *words: str) -> tuple[int, dict[str, Any]]:
    out = tmp_path / 'out' / 'found.json'
    code = main(['inspect', str(folder), *words, '--json', str(out)])
    return code, json.loads(out.read_text())


def test_a_policy_of_lerobot_and_its_robot(tmp_path, capsys):
    robot = so101(tmp_path)
    code, found = inspected(LEROBOT / 'pi05', tmp_path, '--robot', str(robot))
    assert (code, found['missing'], found['robot']) == (0, [], 'so101')
    assert (found['family'], found['kind'], found['rate_hz']) == ('lerobot', 'pi05', 30.0)
    assert found['cameras']['wrist'] == {'must_be': None, 'trained_on': [48, 64]}
    assert found['state']['names'][5] == 'jaw'
    assert found['action']['columns'] == 6
    memory = found['memory_mb']
    assert memory['float32'] == pytest.approx(found['parameters'] * 4 / 1e6)
    assert memory['bf16'] == pytest.approx(memory['float32'] / 2)
    assert memory['stored'] == pytest.approx(memory['float32'])
    assert 'reasoner.pruning.method' in found['techniques']
    assert 'hold the state' in found['refused']['actor.architecture']
    told = capsys.readouterr().out
    assert 'pi05 · LeRobot' in told
    assert 'It can drive so101.' in told
    assert 'chunk          8 rows, 0.27 s' in told
    assert 'perception: cache.method, quantization.mode' in told


def test_a_unit_that_the_numbers_of_training_speak_against_is_doubted(tmp_path, capsys):
    robot = so101(tmp_path)
    _, found = inspected(LEROBOT / 'act', tmp_path, '--robot', str(robot))
    assert found['doubts'] == []
    so101(tmp_path, ('unit: [deg, deg, deg, deg, deg', 'unit: [rad, rad, rad, rad, rad'))
    _, found = inspected(LEROBOT / 'act', tmp_path, '--robot', str(robot))
    with safe_open(next((LEROBOT / 'act').glob('policy_post*.safetensors')), 'np') as file:
        low, high = (file.get_tensor(f'action.{name}')[0] for name in ('q01', 'q99'))
    said = (
        f'unit of shoulder_pan is rad, but the policy learned numbers from {low:.3g} to {high:.3g}'
    )
    assert said in found['doubts'][0]
    assert 'doubt  ' in capsys.readouterr().out


def test_all_that_is_missing_for_a_robot_is_told_at_once(tmp_path, capsys):
    code, found = inspected(LEROBOT / 'act', tmp_path, '--robot', 'metaworld')
    assert code == 1
    assert [sentence[:30] for sentence in found['missing']] == [
        'the policy looks through front',
        'the policy was trained on imag',
        'joints.names has 4 names (x, y',
        'the state of the policy has 6 ',
    ]
    assert capsys.readouterr().out.count('missing  ') == 4


def test_without_a_robot_it_says_what_a_profile_has_to_say(tmp_path, capsys):
    code, found = inspected(LEROBOT / 'act', tmp_path)
    assert (code, found['missing']) == (0, [])
    assert found['open'] == [
        'which joint each column is, and its unit',
        'what a row is',
        'the rows a second',
    ]
    assert 'front, exactly 64x48 pixels' in capsys.readouterr().out


@pytest.mark.parametrize('policy', ['evla-nano', 'passthrough'])
def test_policies_of_this_package_fit_their_simulated_robot(tmp_path, policy):
    code, found = inspected(policy, tmp_path, '--robot', 'metaworld')
    assert (code, found['missing'], found['rate_hz']) == (0, [], 80.0)
    assert found['state']['names'] == ['x', 'y', 'z', 'gripper']
    assert 'reasoner.pruning.method' in found['techniques']


def test_methods_of_a_policy_are_those_whose_files_it_has(tmp_path):
    folder = tmp_path / 'policy'
    folder.mkdir()
    for name in ('policy.json', 'config.json', 'otter.safetensors'):
        shutil.copy(Path(__file__).parents[2] / 'models' / 'evla-nano' / name, folder)
    _, found = inspected(folder, tmp_path)
    assert 'reasoner.resampling.method=otter' in found['techniques']
    assert 'train --policy' in found['refused']['actor.head=flow']


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('policy.json', '{"policy_type": "nobody"}'),
        ('policy.json', '{"policy_type": "evla", "horizon": 1e400}'),
        ('config.json', '{"model_type": {}}'),
    ],
)
def test_what_no_policy_says_is_told_in_a_sentence(tmp_path, capsys, name, text):
    (tmp_path / name).write_text(text)
    assert main(['inspect', str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_a_model_without_a_decoder_is_inspected_all_the_same(tmp_path):
    (tmp_path / 'policy.json').write_text('{"policy_type": "evla"}')
    (tmp_path / 'config.json').write_text('{"model_type": "llava", "text_config": null}')
    _, found = inspected(tmp_path, tmp_path)
    assert 'reasoner.engine' in found['techniques']


def test_weights_need_not_be_there_and_are_missed(tmp_path, capsys):
    folder = tmp_path / 'policy'
    shutil.copytree(
        LEROBOT / 'act', folder, ignore=lambda path, names: {'model.safetensors', 'reference.npz'}
    )
    code, found = inspected(folder, tmp_path)
    assert code == 1
    assert found['missing'] == [
        f'{folder / "model.safetensors"} is missing. Copy the whole checkpoint folder.'
    ]
    assert found['kind'] == 'act'
    assert '\nweights' not in capsys.readouterr().out


def test_a_vision_language_model_alone_is_no_policy_yet(tmp_path, capsys):
    folder = tmp_path / 'model'
    folder.mkdir()
    (folder / 'config.json').write_text('{"model_type": "smolvlm"}')
    code, found = inspected(folder, tmp_path)
    assert (code, found['family'], found['kind']) == (1, 'vlm', 'smolvlm')
    assert f'efficient-vla train --vlm {folder}' in found['missing'][0]
    assert 'vision-language model' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['nowhere'], 'nowhere is no folder; expected the folder of a policy'),
        ([str(LEROBOT)], 'policy.json is missing'),
        (['evla-nano', '--robot', 'r2d2'], "robot 'r2d2' is unknown; expected one of metaworld"),
        (['evla-nano', '--set', 'actor.rate=3'], 'expected --robot beside it'),
        (['evla-nano', '--robot', 'metaworld', '--set', 'actor.rte=3'], "'actor.rte' names no"),
    ],
)
def test_what_cannot_be_inspected_is_one_sentence(capsys, words, sentence):
    assert main(['inspect', *words]) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert len(told.err.splitlines()) == 1
    assert not told.out


def test_what_is_set_is_stronger_than_the_profile(tmp_path):
    robot = so101(tmp_path, ('rate: 30.0', 'rate: 0.0'))
    code, _ = inspected(LEROBOT / 'act', tmp_path, '--robot', str(robot))
    assert code == 1
    words = ('--set', 'actor.joints.rate=25.0')
    code, found = inspected(LEROBOT / 'act', tmp_path, '--robot', str(robot), *words)
    assert (code, found['rate_hz']) == (0, 25.0)


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / 'token'
    file.write_text('a-word-that-nobody-guesses')
    file.chmod(0o600)
    return file


def test_a_server_that_demands_a_word_gets_it(tmp_path, capsys, serve, token_file):
    place = f'ws://127.0.0.1:{serve(token=token_file.read_text())}'
    assert main(['inspect', place]) == 1
    assert 'status 401' in capsys.readouterr().err
    code, found = inspected(place, tmp_path, '--token-file', str(token_file))
    assert (code, found['family'], found['action']['rows']) == (0, 'remote', 40)
    robot = tmp_path / 'robot.yaml'
    robot.write_text(f'/**: {{ros__parameters: {{remote: {{token_file: {token_file}}}}}}}')
    code, found = inspected(place, tmp_path, '--robot', str(robot))
    assert (code, found['robot'], found['missing']) == (0, 'robot', [])


def test_a_folder_asks_for_no_word(capsys, token_file):
    assert main(['inspect', 'evla-nano', '--token-file', str(token_file)]) == 2
    assert 'is a folder. Leave it out.' in capsys.readouterr().err


def test_neither_torch_nor_ros_is_loaded():
    program = (
        'import sys\n'
        'from efficient_vla.cli import main\n'
        f'main(["inspect", {str(LEROBOT / "smolvla")!r}, "--robot", "metaworld"])\n'
        'sys.exit(str({"torch", "rclpy", "mujoco", "transformers"} & set(sys.modules) or ""))\n'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stderr.strip() == ''
