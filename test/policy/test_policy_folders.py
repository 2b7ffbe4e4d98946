# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which policy a folder holds, and what it says of itself before anything is loaded."""

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.profiles import so101
from safetensors.numpy import save_file

from efficient_vla.bringup.graph import ProfileError, Selection, describe
from efficient_vla.cli.run_options import policy_folder
from efficient_vla.errors import CheckpointError
from efficient_vla.headers import read_header
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts, policy_type, why_none

ROOT = Path(__file__).resolve().parents[2]
LEROBOT = ROOT / 'test/fixtures/lerobot'


def write(folder: Path, name: str, **values: object) -> Path:
    (folder / name).write_text(json.dumps(values))
    return folder


def test_a_card_decides_before_the_model_beside_it(tmp_path: Path) -> None:
    write(tmp_path, 'config.json', type='act')
    assert policy_type(tmp_path) == 'lerobot'
    write(tmp_path, 'policy.json', policy_type='mine')
    assert policy_type(tmp_path) == 'mine'


@pytest.mark.parametrize(
    ('files', 'expected'),
    [
        ({}, 'policy.json is missing'),
        ({'config.json': '{'}, 'config.json is not JSON'),
        ({'config.json': '{"model_type": "smolvlm"}'}, 'no queries'),
        ({'config.json': '{"model_type": "gpt2"}'}, "type 'gpt2'"),
    ],
)
def test_a_folder_without_a_policy_says_why(
    tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert expected in why_none(tmp_path)
    with pytest.raises(ProfileError, match=expected):
        describe(Selection(policy=str(tmp_path)))


def test_a_card_whose_type_is_no_word_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 'policy.json', policy_type=['evla'])
    with pytest.raises(CheckpointError, match=r"policy_type \['evla'\]; expected a name"):
        policy_type(tmp_path)


def test_a_folder_of_lerobot_is_taken_where_a_policy_is(tmp_path: Path) -> None:
    folder = LEROBOT / 'act'
    assert why_none(folder) == ''
    assert policy_folder(folder) == folder
    graph = describe(Selection(policy=str(folder), robot=str(so101(tmp_path))))
    assert graph.parameters['actor']['policy'] == str(folder)


def test_a_lerobot_policy_of_an_unknown_type_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, 'config.json', type='vqbet')
    with pytest.raises(CheckpointError, match="type 'vqbet'; expected one of act, diffusion"):
        Policy.from_pretrained(tmp_path)


def test_facts_of_a_card_are_those_that_it_names(tmp_path: Path) -> None:
    card = {'cameras': ['top'], 'image_size': 64, 'state_names': ['x', 'y'], 'dt': 0.1}
    write(tmp_path, 'policy.json', policy_type='evla', horizon=8, **card)
    facts = folder_facts(tmp_path)
    assert facts.family == 'evla'
    assert facts.cameras == {'top': None}  # the size it is brought to, not one it must have
    assert (facts.state_names, facts.state_width, facts.horizon, facts.dt) == (
        ('x', 'y'),
        2,
        8,
        0.1,
    )


def test_facts_count_the_weights_without_add_ons_and_without_reading_them(tmp_path: Path) -> None:
    nano = ROOT / 'models/evla-nano'
    facts = folder_facts(nano)
    stored = (nano / 'model.safetensors').stat().st_size
    assert facts.memory_mb == pytest.approx(stored / 1e6, rel=0.01)
    for name in ('policy.json', 'config.json'):
        shutil.copy(nano / name, tmp_path)
    for name in ('training', 'policy.training', 'flow'):
        save_file({'a': np.zeros(100, np.float32)}, tmp_path / f'{name}.safetensors')
    facts = folder_facts(tmp_path)
    assert (facts.parameters, len(facts.missing)) == (0, 1)
    for name in ('policy', 'model-00001-of-00002', 'model-00002-of-00002'):
        save_file({'a': np.zeros(7, np.float32)}, tmp_path / f'{name}.safetensors')
    facts = folder_facts(tmp_path)
    assert (facts.parameters, facts.missing) == (21, ())


def test_facts_need_neither_torch_nor_weights(tmp_path: Path) -> None:
    write(tmp_path, 'policy.json', policy_type='evla', cameras=['top'])
    code = (
        'import sys; from pathlib import Path\n'
        'from efficient_vla.policy_folders import folder_facts\n'
        f'folder_facts(Path({str(tmp_path)!r})); sys.exit("torch" in sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def header(text: str, data: bytes = b'') -> bytes:
    return struct.pack('<Q', len(text)) + text.encode() + data


ONE = '{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'


def test_a_header_says_types_shapes_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / 'w.safetensors'
    path.write_bytes(header(ONE, bytes(8)))
    entry = read_header(path)['w']
    assert (entry.dtype, entry.shape, entry.values, entry.size) == ('F32', (2,), 2, 8)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'abc',
        header('[]'),
        header('{'),
        header('{"w": {"dtype": "F32"}}'),
        header(ONE),
        header(ONE, bytes(4)),
        header(ONE, bytes(9)),
        struct.pack('<Q', 2**60) + b'{}',
    ],
)
def test_a_damaged_header_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / 'w.safetensors'
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r'w\.safetensors cannot be read: .*copy it again'):
        read_header(path)
