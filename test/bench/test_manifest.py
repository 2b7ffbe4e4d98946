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
