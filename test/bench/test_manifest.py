# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a manifest says of a run."""

from efficient_vla.bench.manifest import checkpoint_hash


def test_what_engines_keep_beside_a_policy_is_no_part_of_it(tmp_path):
    (tmp_path / 'config.json').write_text('{}')
    before = checkpoint_hash(tmp_path)
    kept = tmp_path / 'engines_cache' / '1.bin'
    kept.parent.mkdir()
    kept.write_bytes(b'1')
    assert checkpoint_hash(tmp_path) == before
    (tmp_path / 'model.safetensors').write_bytes(b'1')
    assert checkpoint_hash(tmp_path) != before


def test_a_linked_folder_is_part_of_a_policy(tmp_path):
    own, profile = tmp_path / 'own', tmp_path / 'profile'
    for folder in (own / 'vlm', profile):
        folder.mkdir(parents=True)
    words = own / 'vlm' / 'tokenizer.json'
    words.write_text('{}')
    (profile / 'vlm').symlink_to(own / 'vlm')
    before = checkpoint_hash(profile)
    assert before == checkpoint_hash(own)
    words.write_text('{"a": 0}')
    assert before != checkpoint_hash(profile) == checkpoint_hash(own)
