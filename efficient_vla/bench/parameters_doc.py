# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Write docs/parameters.md and the default parameter files from the settings dataclasses.

``python -m efficient_vla.bench.parameters_doc`` writes both into the source tree; a test fails
while a committed file differs from what this makes.
"""

import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from efficient_vla.bench.overrides import KINDS, has_parameter
from efficient_vla.bringup.catalogue import NODE_SETTINGS
from efficient_vla.settings import Spec, specs

HEADER = '# Copyright 2026 efficient_vla contributors\n# SPDX-License-Identifier: Apache-2.0\n'
ROS_BOOLEANS = ('y', 'Y', 'n', 'N')
"""Bare words that the parser of ROS takes for booleans and that of Python does not."""
SOURCE = 'efficient_vla.bench.parameters_doc'
WIDTH = 100
ABOUT = f"""\
# Parameters

Made by `python -m {SOURCE}` from the settings classes; do not edit.

Every node declares its parameters with these types, ranges and descriptions, which
`ros2 param describe` shows. A set of changes is checked as a whole and refused with the reason
when a value or the set breaks a rule. *Fixed* parameters are read when a node is configured;
all others take effect while the node runs, the *locked* ones of the controller only while it is
disabled and the robot at rest. *Graph* parameters belong to the ROS node and not to the
stage that it runs: `efficient-vla eval` takes them only with `--graph`, and `Policy` not at all.
Names on the command line are `node.parameter=value`, for example
`--set reasoner.pruning.keep=0.5`. Later files are stronger: `config/<node>.yaml`,
hardware profile, robot profile, policy profile, files of your own, then single overrides.
"""


def main() -> int:
    """Write all generated files into the source tree."""
    for path, text in generated(Path(__file__).resolve().parents[2]).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


def generated(root: Path) -> dict[Path, str]:
    """Return path -> text of every generated file."""
    files = {root / 'config' / f'{node}.yaml': defaults_yaml(node) for node in documented()}
    return {root / 'docs' / 'parameters.md': page(), **files}


def documented() -> dict[str, tuple[str, ...]]:
    """Return the first node of each kind -> all of that kind, such as the simulated robots."""
    alike: dict[type, list[str]] = {}
    for node, kind in NODE_SETTINGS.items():
        alike.setdefault(kind, []).append(node)
    return {nodes[0]: tuple(nodes) for nodes in alike.values()}


def page() -> str:
    """Return the page with one table for each kind of node."""
    tables = (f'## {", ".join(nodes)}\n\n{_table(name)}' for name, nodes in documented().items())
    return '\n'.join([ABOUT, *tables])


def defaults_yaml(node: str) -> str:
    """Return the parameter file of a node with every default, each with its comment."""
    lines = [
        f'# Parameters of the node {node}, all at their defaults. Made by',
        f'# python -m {SOURCE} from the settings classes; put changes into a',
        '# profile or a file of your own. Units and effects are in the comments.',
        '/**:',
        f'  {node}:',
        '    ros__parameters:',
    ]
    shown: tuple[str, ...] = ()
    for name, default, spec in specs(NODE_SETTINGS[node]):
        *groups, leaf = name.split('.')
        for depth, part in enumerate(groups):
            if shown[: depth + 1] != tuple(groups[: depth + 1]):
                lines.append(f'{_indent(depth)}{part}:')
        shown = tuple(groups)
        indent = _indent(len(groups))
        comment = f'{spec.description} {limits(spec)}'.strip()
        lines += textwrap.wrap(
            comment,
            WIDTH,
            initial_indent=f'{indent}# ',
            subsequent_indent=f'{indent}# ',
            break_on_hyphens=False,
        )
        value = _scalar_yaml(default)
        # ROS gives an empty list no type and refuses the file.
        lines.append(f'{indent}{"# " if value == "[]" else ""}{leaf}: {value}')
    return HEADER + '\n'.join(lines) + '\n'


def limits(spec: Spec) -> str:
    """Return unit, range and whether it may change while running, as one or two sentences."""
    parts = []
    if spec.choices:
        parts.append(f'One of {", ".join(spec.choices)}.')
    elif bounds := _range(spec):
        parts.append(f'{bounds}.')
    elif spec.unit:
        parts.append(f'In {spec.unit}.')
    if spec.read_only:
        parts.append('Fixed once the node has started.')
    if spec.locked:
        parts.append('Not while the controller is enabled.')
    return ' '.join(parts)


def _range(spec: Spec) -> str:
    """Return the bounds with their unit, '' where there are none."""
    low, high = (None if bound is None else _number(bound) for bound in (spec.low, spec.high))
    if low is None and high is None:
        return ''
    unit = f' {spec.unit}' if spec.unit else ''
    if low is None:
        return f'At most {high}{unit}'
    return f'{low} to {high}{unit}' if high is not None else f'At least {low}{unit}'


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f'{value:g}'


def _table(node: str) -> str:
    rows = ['| parameter | default | allowed | | meaning |', '|---|---|---|---|---|']
    for name, default, spec in specs(NODE_SETTINGS[node]):
        allowed = ', '.join(f'`{choice}`' for choice in spec.choices)
        allowed = allowed or _range(spec) or spec.unit
        marks = ['fixed'] if spec.read_only else ['locked'] if spec.locked else []
        if not has_parameter(KINDS, node, name):
            marks.append('graph')
        rows.append(
            f'| `{name}` | `{_scalar_yaml(default)}` | {allowed} | {", ".join(marks)} '
            f'| {spec.description} |'
        )
    return '\n'.join(rows) + '\n'


def _indent(depth: int) -> str:
    return ' ' * (6 + 2 * depth)


def _scalar_yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return f'[{", ".join(map(_scalar_yaml, value))}]'
    if isinstance(value, str):
        plain = value and yaml.safe_load(value) == value and value not in ROS_BOOLEANS
        return value if plain else f"'{value}'"
    text: str = yaml.safe_dump(value).removesuffix('\n...\n').strip()
    return text


if __name__ == '__main__':
    sys.exit(main())
