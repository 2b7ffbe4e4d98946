# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The interface files: every line explained, every record of types.py on the wire."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

from efficient_vla import columns, types
from package_files import ROOT

FILES = sorted(p for kind in ('msg', 'srv', 'action') for p in (ROOT / kind).iterdir())
DECLARATION = re.compile(r'^(?P<type>[\w/]+(\[\d*\])?) +(?P<name>\w+)(?P<value>=.*)?$')
ON_THE_WIRE = {
    'VisualTokens': {'stamp': 'header', 'grid': 'grid_rows'},
    'Plan': {'stamp': 'header', 'protected': 'protected_tokens'},
    'ActionChunk': {'stamp': 'header', 'control_mode': 'kinds', 'absolute': 'references'},
}
"""Fields of a record that are called otherwise in its message."""
BY_REFERENCE = {'cache'}
"""Fields that are no field of the message: keys and values are sent on their own, if at all."""


def declarations(path: Path) -> list[tuple[str, str]]:
    """Return (name, comment above it) of every field and constant."""
    found, comment = [], ''
    for line in path.read_text().splitlines():
        if line.startswith('#'):
            comment += line
            continue
        match = DECLARATION.match(line)
        assert match or line in ('', '---'), f'{path.name}: cannot read {line!r}'
        if match:
            found.append((match['name'], comment))
        comment = ''
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_every_field_has_a_comment_of_its_own(path: Path) -> None:
    assert declarations(path)
    assert not [name for name, comment in declarations(path) if not comment]


@pytest.mark.parametrize('path', (ROOT / 'msg').iterdir(), ids=lambda path: path.stem)
def test_a_message_begins_with_its_header(path: Path) -> None:
    fields = [name for name, _ in declarations(path) if not name.isupper()]
    assert fields[0] == 'header'
    assert 'std_msgs/Header header' in path.read_text()


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_enumerations_begin_with_unknown_and_count_up(path: Path) -> None:
    constants: dict[str, list[tuple[str, int]]] = {}
    for name, value in re.findall(r'^uint8 ([A-Z_]+)=(\d+)$', path.read_text(), re.M):
        group = re.match('[A-Z]+', name)
        assert group
        constants.setdefault(group[0], []).append((name, int(value)))
    for group_name, members in constants.items():
        assert members[0] == (f'{group_name}_UNKNOWN', 0)
        assert [value for _, value in members] == list(range(len(members)))


@pytest.mark.parametrize('record', ON_THE_WIRE)
def test_every_field_of_a_record_is_in_its_message(record: str) -> None:
    renamed = ON_THE_WIRE[record]
    fields = {item.name for item in dataclasses.fields(getattr(types, record))} - BY_REFERENCE
    wire = {name for name, _ in declarations(ROOT / 'msg' / f'{record}.msg')}
    assert {renamed.get(name, name) for name in fields} <= wire


@pytest.mark.parametrize('kind', [columns.Kind, columns.Reference])
def test_constants_of_columns_are_those_of_the_message(kind) -> None:
    text = (ROOT / 'msg' / 'ActionChunk.msg').read_text()
    word = kind.__name__.upper()
    wire = dict(re.findall(rf'^uint8 {word}_([A-Z_]+)=(\d+)$', text, re.M))
    assert {one.name: str(one.value) for one in kind} == wire


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_the_interface_is_built_from_this_file(path: Path) -> None:
    """A name that differs means that the build is old: run ``make build``."""
    kind = path.suffix[1:]
    module = importlib.import_module(f'efficient_vla.{kind}')
    built = getattr(module, path.stem)
    parts = {
        'msg': [built],
        'srv': [getattr(built, 'Request', None), getattr(built, 'Response', None)],
        'action': [getattr(built, part, None) for part in ('Goal', 'Result', 'Feedback')],
    }[kind]
    fields = [name for part in parts for name in part.get_fields_and_field_types()]
    assert fields == [name for name, _ in declarations(path) if not name.isupper()]
