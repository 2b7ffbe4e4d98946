# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of a benchmark of several parts, declared as data and written from its rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from efficient_vla.bench.rows import REFUSED, Rows

Row = Mapping[str, Any]
Parts = Mapping[str, Sequence[Row]]
"""Part -> its rows that are whole."""
Columns = tuple[tuple[str, str], ...]
"""Head and template of every column, such as ``('p50 ms', '{p50_ms:.1f}')``."""
SUCCESS: Columns = (
    ('success', '{success_rate:.0%}'),
    ('95 %', '{ci_low:.0%} to {ci_high:.0%}'),
)
OWN = ('part', 'key', 'commit')
"""Columns of the file itself."""


@dataclass(frozen=True, slots=True)
class PageSection:
    """A part of the page: a paragraph, a picture, a table, and what follows from the numbers."""

    title: str
    """With its marks, such as ``## Soak``; without one it goes on with the section before."""
    part: str
    text: str = ''
    """Template that is filled with the first row."""
    picture: tuple[str, str] = ('', '')
    """Its words and its file."""
    columns: Columns = ()
    """Without any, all that the rows have."""
    hidden: tuple[str, ...] = ()
    """Columns left out where all are shown."""
    rows: Callable[[Parts], Sequence[Row]] | None = None
    """Makes the rows of the table; without one they are those of the part."""
    groups: str = ''
    """Template: rows for which it says the same share a table, with these words above it."""
    findings: Callable[[Parts], Sequence[str]] | None = None
    """Makes sentences; a quick run has none."""

    def lines(self, parts: Parts, quick: bool) -> list[str]:
        """Return the section in Markdown, nothing where there is nothing to say."""
        rows = self.rows(parts) if self.rows else parts.get(self.part, ())
        found = list(self.findings(parts)) if self.findings and not quick else []
        if not rows and not found:
            return []
        lines = ['', self.title] if self.title else []
        if self.text and rows:
            lines += ['', fill(self.text, rows[0])]
        if self.picture[0]:
            lines += ['', f'![{self.picture[0]}]({self.picture[1]})']
        for words, members in grouped(rows, self.groups).items():
            lines += ['', words] if words else []
            lines += ['', *table(self.columns or self._all(members), members)]
        return lines + [line for text in found for line in ('', text)]

    def _all(self, rows: Sequence[Row]) -> Columns:
        names = dict.fromkeys(name for row in rows for name in row)
        left_out = (*OWN, *self.hidden)
        return tuple((n.replace('_', ' '), f'{{{n}}}') for n in names if n not in left_out)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture beside the page."""

    file: str
    draw: Callable[[Path, Parts], bool]
    """Returns whether there was something to draw."""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole page with its pictures."""

    file: str
    title: str
    sections: tuple[PageSection, ...]
    pictures: tuple[Picture, ...] = ()
    text: str = ''
    """What a reader has to know of all numbers."""
    whole: Callable[[Row], bool] = lambda row: True
    """Whether a row that was not refused has all that it should."""

    def page(self, rows: Sequence[Row], manifest: Mapping[str, Any]) -> str:
        """Return the page in Markdown; parts without rows are left out."""
        machine = manifest['machine']
        command = ' '.join(str(manifest['command']).split()[:3])
        lines = [
            f'# {self.title}',
            '',
            f'Measured by `{command}` on {machine["cores"]} cores of {machine["cpu"]}. '
            f'{origin(rows)} Every number is in the JSON file beside this page.',
        ]
        if self.text:
            lines += ['', self.text]
        if manifest['quick']:
            lines += ['', 'A quick run: it shows that everything runs, its numbers mean nothing.']
        parts = self.parts(rows)
        for section in self.sections:
            lines += section.lines(parts, manifest['quick'])
        for row in rows:
            if REFUSED in row:
                lines += ['', f'Not measured: {row.get("name", row["part"])}. {row[REFUSED]}']
        return '\n'.join(lines) + '\n'

    def parts(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        """Return part -> its rows that are whole."""
        found: dict[str, list[Row]] = {row['part']: [] for row in rows}
        for row in rows:
            if REFUSED not in row and self.whole(row):
                found[row['part']].append(row)
        return found

    def write(self, rows: Rows) -> Iterator[Path]:
        """Write the page and its pictures beside the rows; yield what was written."""
        every = rows.every()
        if not every:
            return
        folder, parts = rows.path.parent, self.parts(every)
        for picture in self.pictures:
            if picture.draw(folder / picture.file, parts):
                yield folder / picture.file
        (folder / self.file).write_text(self.page(every, rows.manifest))
        yield folder / self.file


def origin(rows: Sequence[Row]) -> str:
    """Say how many rows are of which commit and of which files of the policy, most first."""
    sentences = []
    for what, names in (
        ('Rows by commit', Counter(row.get('commit') or 'unknown' for row in rows)),
        ('by checkpoint (sha256)', Counter(filter(None, map(_checkpoint, rows)))),
    ):
        if names:
            tally = ', '.join(f'{count} at `{name}`' for name, count in names.most_common())
            sentences.append(f'{what}: {tally}')
    return '; '.join(sentences) + '.'


def _checkpoint(row: Row) -> str | None:
    parts = row.get('key', '').split(' ')
    return parts[2] if len(parts) == 3 else None


class _Template(Formatter):
    """``str.format`` for rows: what is missing or ``None`` is a dash, percent have a space."""

    def get_value(self, key: int | str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        return kwargs.get(str(key))

    def format_field(self, value: Any, format_spec: str) -> Any:
        if value is None:
            return '-'
        if isinstance(value, float) and not format_spec:
            return f'{value:.4g}'
        text = format(value, format_spec)
        return text.replace('%', ' %') if format_spec.endswith('%') else text


def fill(template: str, row: Row) -> str:
    """Return the template with the values of a row."""
    return _Template().vformat(template, (), row)


def grouped(rows: Sequence[Row], template: str) -> dict[str, list[Row]]:
    """Return the words of the template -> the rows for which it says them."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(fill(template, row), []).append(row)
    return found


def table(columns: Columns, rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table in Markdown; a bar in a cell would end it."""
    body = [[fill(template, row).replace('|', '/') for _, template in columns] for row in rows]
    return [
        '| ' + ' | '.join(head for head, _ in columns) + ' |',
        '|' + '---|' * len(columns),
        *('| ' + ' | '.join(cells) + ' |' for cells in body),
    ]
