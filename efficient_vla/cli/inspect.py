# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla inspect``."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efficient_vla.bringup.graph import parse_overrides, robot_met
from efficient_vla.bringup.inspection import checked_place, facts_at, inspection
from efficient_vla.cli.options import add_overrides, policy_given
from efficient_vla.errors import UsageError
from efficient_vla.places import policy_place
from efficient_vla.sim.catalogue import DEFAULT_ROBOT

DESCRIPTION = """\
Say what a policy folder is: cameras, state, action, units, normalisation, rate, memory, which
techniques apply to it, and, with --robot, what is missing before it can drive that robot.

Weights are not read, and need not be there. Ends with 0 where nothing is missing, and with 1
otherwise."""

EXAMPLE = """\
  efficient-vla inspect evla-nano --robot metaworld
  efficient-vla inspect outputs/train/act/checkpoints/last/pretrained_model --robot so101.yaml
  efficient-vla inspect wss://gpu.lan:8000 --token-file ~/.efficient_vla_token"""

FAMILIES = {
    'evla': 'efficient_vla',
    'passthrough': 'efficient_vla, without a network',
    'lerobot': 'LeRobot',
    'openvla': 'OpenVLA',
    'nora': 'NORA',
    'vlm': 'vision-language model of transformers, no policy',
    'remote': 'policy server',
}
"""Family -> how people call it."""
NOT_SAID = 'not in the folder'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        'folder',
        metavar='FOLDER',
        help='folder of a policy, name of a shipped one or of a system, or ws://host:port',
    )
    parser.add_argument(
        '--robot',
        metavar='NAME',
        help='robot profile: a name in config/robots, or a .yaml file of your own',
    )
    parser.add_argument(
        '--token-file',
        metavar='FILE',
        default='',
        help='file with the word that a server demands (default: remote.token_file of the robot)',
    )
    parser.add_argument('--json', metavar='OUT', type=Path, help='write all of it as JSON')
    add_overrides(parser)


def main(arguments: argparse.Namespace) -> int:
    """Tell; 1 where something is missing."""
    folder = policy_given(arguments.folder, arguments.robot or DEFAULT_ROBOT, still=True)
    place = checked_place(policy_place(folder))
    overrides = parse_overrides(arguments.overrides)
    if overrides and arguments.robot is None:
        raise UsageError('--set says what a robot has; expected --robot beside it. Add it.')
    robot = None if arguments.robot is None else robot_met(arguments.robot, overrides)
    token_file = arguments.token_file or (robot.token_file if robot else '')
    if arguments.token_file and isinstance(place, Path):
        raise UsageError(f'--token-file is for a server; {place} is a folder. Leave it out.')
    facts = facts_at(place, token_file)
    found = inspection(place, facts, robot)
    if arguments.json is not None:
        try:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(found, indent=2) + '\n')
        except OSError as error:
            raise UsageError(f'cannot write {arguments.json}: {error}. Choose another.') from error
    show(found, Console())
    return 1 if found['missing'] else 0


def show(found: dict[str, Any], console: Console) -> None:
    """Print what was found."""
    family = FAMILIES.get(found['family'], found['family'])
    console.print(Text.assemble((found['kind'], 'bold'), f' · {family}'))
    console.print(Text(found['place'], 'dim'), soft_wrap=True)
    console.print()
    table = Table.grid(padding=(0, 2))
    table.add_column(style='cyan', no_wrap=True)
    table.add_column(overflow='fold')
    for name, text in _rows(found):
        table.add_row(name, text)
    console.print(table)
    console.print()
    for sentence in found['missing']:
        console.print(Text.assemble(('missing  ', 'bold red'), sentence))
    for sentence in found['doubts']:
        console.print(Text.assemble(('doubt  ', 'bold yellow'), sentence))
    if found['open']:
        told = '; '.join(found['open'])
        console.print(
            Text.assemble(('open  ', 'bold yellow'), f'a robot profile has to say: {told}.')
        )
    if not found['missing']:
        where = f'It can drive {found["robot"]}.' if found['robot'] else 'Nothing of it is missing.'
        console.print(Text(where, 'bold green'))


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what each line is about, and what it says."""
    state, action = found['state'], found['action']
    said = bool(action['columns'])
    rate = found['rate_hz']
    memory = found['memory_mb']
    lines = [
        ('cameras', '\n'.join(_camera(*item) for item in found['cameras'].items())),
        ('state', _columns(state) if state['columns'] else ''),
        ('action', _columns(action) if said else ''),
        ('units', found['units'] or (NOT_SAID if said else '')),
        ('chunk', _chunk(action['rows'], rate)),
        ('rate', f'{rate:g} rows a second' if rate else NOT_SAID if said else ''),
        ('normalisation', ', '.join(f'{k} {v}' for k, v in found['normalisation'].items())),
        ('sentence', found['prompt'].encode('unicode_escape').decode()),
        ('tokenizer', 'not found' if found['tokenizer'] == '' else found['tokenizer'] or ''),
        (
            'weights',
            f'{_count(found["parameters"])} numbers: {_size(memory["stored"])} as stored, '
            f'{_size(memory["float32"])} in float32, {_size(memory["bf16"])} in bf16'
            if found['parameters']
            else '',
        ),
        ('limits', '\n'.join(found['limits'])),
        ('process', 'one for all stages' * found['one_process']),
        ('techniques', '\n'.join(_by_node(found['techniques']))),
        ('refused', '\n'.join(_by_reason(found['refused']))),
    ]
    return [(name, text) for name, text in lines if text]


def _camera(name: str, sizes: dict[str, Any]) -> str:
    size = sizes['must_be'] or sizes['trained_on']
    if size is None:
        return f'{name}, of any size'
    rows, columns = size
    what = 'exactly' if sizes['must_be'] else 'of any size, trained on'
    return f'{name}, {what} {columns}x{rows} pixels'


def _by_node(techniques: list[str]) -> list[str]:
    """Return the parameters, a line for each node."""
    nodes: dict[str, list[str]] = {}
    for name in techniques:
        node, _, parameter = name.partition('.')
        nodes.setdefault(node, []).append(parameter)
    return [f'{node}: {", ".join(parameters)}' for node, parameters in nodes.items()]


def _by_reason(refused: dict[str, str]) -> list[str]:
    """Return the parameters that do not apply, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, why in refused.items():
        reasons.setdefault(why, []).append(name)
    return [f'{", ".join(names)}: {why}' for why, names in reasons.items()]


def _columns(part: dict[str, Any]) -> str:
    return f'{part["columns"]} columns: {", ".join(part["names"]) or NOT_SAID}'


def _chunk(rows: int, rate: float | None) -> str:
    return (f'{rows} rows' + (f', {rows / rate:.2f} s' if rate else '')) if rows else ''


def _count(number: int) -> str:
    for unit, name in ((1e9, 'billion'), (1e6, 'million'), (1e3, 'thousand')):
        if number >= unit:
            return f'{number / unit:.3g} {name}'
    return str(number)


def _size(megabytes: float) -> str:
    return f'{megabytes / 1e3:.2f} GB' if megabytes >= 1e3 else f'{megabytes:.3g} MB'
