# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Each public class has a name of its own, over all rooms."""

import ast
from collections import defaultdict

from package_files import PACKAGE, ROOT, sources


def test_no_two_public_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in [*sources(PACKAGE), *sources(ROOT / 'benchmarks')]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
                places[node.name].append(path.relative_to(ROOT).as_posix())
    assert not {name: found for name, found in places.items() if len(found) > 1}
