# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a folder of LeRobot says of itself, without its weights and without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from efficient_vla.errors import CheckpointError
from efficient_vla.policy_folders import FolderFacts, folder_facts

LEROBOT = Path(__file__).resolve().parents[1] / 'fixtures' / 'lerobot'
JOINTS = ('shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'gripper')
PROCESSOR = 'policy_postprocessor_step_0_unnormalizer_processor.safetensors'


@pytest.fixture(autouse=True)
def hub(monkeypatch):
    monkeypatch.setenv('HF_HUB_CACHE', str(LEROBOT / 'hub'))


def facts(name: str) -> FolderFacts:
    return folder_facts(LEROBOT / name)


def copied(name: str, folder: Path) -> Path:
    """Link a fixture's files into ``folder``, whose own ones replace them."""
    for file in (LEROBOT / name).iterdir():
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)
    return folder


def header(path: Path, *names: str) -> None:
    said = {name: {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]} for name in names}
    text = json.dumps(said).encode()
    path.write_bytes(len(text).to_bytes(8, 'little') + text)


def test_act_needs_images_of_one_size_and_no_words():
    found = facts('act')
    assert (found.family, found.kind, found.tokenizer) == ('lerobot', 'act', None)
    assert found.cameras == {'front': (48, 64), 'wrist': (48, 64)}
    assert (found.state_width, found.action_width, found.horizon, found.dt) == (6, 6, 8, None)
    assert found.normalisation['action'] == 'MEAN_STD'
    assert found.one_process


def test_parameters_are_those_of_the_weights_and_megabytes_as_they_are_stored():
    size = (LEROBOT / 'act' / 'model.safetensors').stat().st_size
    found = facts('act')
    assert found.memory_mb == found.parameters * 4 / 1e6
    assert 0.9 * size < found.memory_mb * 1e6 < size
    # Half of these are bfloat16.
    base = facts('smolvla_base')
    assert base.memory_mb < base.parameters * 3 / 1e6


def test_smolvla_takes_any_image_and_its_tokenizer_is_in_the_cache(monkeypatch, tmp_path):
    found = facts('smolvla')
    assert found.cameras == {'front': None, 'wrist': None}
    assert found.trained_sizes == {'front': (48, 64), 'wrist': (48, 64)}
    assert 'SmolVLM2-500M-Video-Instruct' in (found.tokenizer or '')
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setenv('HOME', str(tmp_path))
    assert facts('smolvla').tokenizer == ''


def test_cameras_have_the_names_that_the_robot_gives_them():
    assert list(facts('smolvla_base').cameras) == ['top', 'wrist', 'camera3']


def test_columns_are_named_where_the_folder_names_them():
    assert facts('pi05').action_names == tuple(f'{joint}.pos' for joint in JOINTS)
    assert facts('pi0').action_names == ()


def test_statistics_in_groups_are_listed(tmp_path):
    header(
        tmp_path / PROCESSOR,
        'so100.buffer.action.mean',
        'so100.buffer.action.std',
        'so101.buffer.action.mean',
    )
    assert folder_facts(copied('smolvla', tmp_path)).groups == ('so100', 'so101')
    assert facts('smolvla').groups == ()


def test_statistics_inside_the_weights_of_older_folders_are_listed(tmp_path):
    names = ('normalize_inputs.x_y_buffer_action.q', 'unnormalize_outputs.x_y_buffer_action.q')
    header(tmp_path / 'model.safetensors', *names, 'model.weight')
    (tmp_path / 'config.json').write_text((LEROBOT / 'act' / 'config.json').read_text())
    assert folder_facts(tmp_path).groups == ('x_y',)
    header(tmp_path / 'model.safetensors', 'unnormalize_outputs.buffer_action.mean')
    assert folder_facts(tmp_path).groups == ()


def test_what_is_missing_or_damaged_is_told(tmp_path):
    (tmp_path / 'config.json').write_text('{"type": "act", "input_features": {}}')
    with pytest.raises(CheckpointError, match=r'config\.json has no output_features'):
        folder_facts(tmp_path)
    (tmp_path / 'config.json').unlink()
    (tmp_path / 'model.safetensors').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'model\.safetensors cannot be read'):
        folder_facts(copied('act', tmp_path))


def test_torch_stays_away():
    program = (
        'import sys\n'
        'from pathlib import Path\n'
        'from efficient_vla.policy_folders import folder_facts\n'
        f'folder_facts(Path({str(LEROBOT / "smolvla")!r}))\n'
        'sys.exit("torch" in sys.modules)\n'
    )
    subprocess.run([sys.executable, '-c', program], check=True)
