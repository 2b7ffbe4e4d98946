# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the package itself share: its files and their imports."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'efficient_vla'
FOLDERS = (
    'efficient_vla',
    'benchmarks',
    'launch',
    'config',
    'msg',
    'srv',
    'action',
    'test',
    'tools',
)
"""Folders of the repository with files that people write."""


def sources(folder: Path, pattern: str = '*.py') -> list[Path]:
    """Return the files below a folder, sorted."""
    return sorted(p for p in folder.rglob(pattern) if '__pycache__' not in p.parts)


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


@cache
def imports(path: Path, only_at_load: bool = False) -> frozenset[str]:
    """Return the dotted names a file imports, without those for type checkers only.

    ``only_at_load`` leaves out what functions import when they are called. Of
    ``from a.b import c`` both ``a.b`` and ``a.b.c`` are returned, since c may be a module.
    """
    found = set()
    for node in _statements(ast.parse(path.read_text()), only_at_load):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path} has a relative import'
            found.add(str(node.module))
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return frozenset(found)


def _statements(node: ast.AST, only_at_load: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and 'TYPE_CHECKING' in ast.unparse(child.test):
            continue
        if only_at_load and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield child
        yield from _statements(child, only_at_load)


@cache
def third_party(path: Path) -> frozenset[str]:
    """Return the top-level packages a file imports beside the standard library and its own."""
    tops = {name.split('.')[0] for name in imports(path)}
    own = {
        'efficient_vla',
        'benchmarks',
        'test',
        *(path.stem for path in (ROOT / 'test').iterdir()),
    }
    return frozenset(tops - set(sys.stdlib_module_names) - own)
