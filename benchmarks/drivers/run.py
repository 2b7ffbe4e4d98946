# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure all faults of all arms: ``python -m benchmarks.drivers.run``; writes docs/drivers.md.

Needs a ROS domain of its own (``ROS_DOMAIN_ID``).
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.drivers.faults import FAULTS, FaultOutcome, faults_of
from benchmarks.drivers.faulty import ERROR, OUTSIDE
from benchmarks.drivers.rig import FaultRig

ARMS = ('so101', 'ur5e', 'panda')
PAGE = Path(__file__).parents[2] / 'docs' / 'drivers.md'
BEGIN, END = '| fault, arms |', '\n\n'
"""The table on the page begins and ends so."""


def measure(arm: str, names: Iterable[str]) -> list[FaultOutcome | str]:
    """Return what came of each fault, or what was wrong, of an arm between real processes."""
    found: list[FaultOutcome | str] = []
    with tempfile.TemporaryDirectory() as folder, FaultRig(arm, Path(folder)) as rig:
        rig.go()
        for name in [name for name in names if name in faults_of(rig)]:
            rig.faults[[ERROR, OUTSIDE]] = 0
            rig.live_for(1.0)
            sys.stderr.write(f'{arm}: {rig.faults[ERROR]:.3f} {rig.faults[OUTSIDE]:.3f} rad off\n')
            try:
                found.append(FAULTS[name](rig))
            except AssertionError as error:
                found.append(f'{name}: {error}')
            sys.stderr.write(f'{arm}: {found[-1]}\n')
            if isinstance(found[-1], str):
                break
    return found


def table(rows: dict[str, list[FaultOutcome]]) -> str:
    """Return what came of every fault as a table of Markdown."""
    lines = [
        f'{BEGIN} what the arm did | after s | way rad | goes on |',
        '|---|---|---|---|---|',
    ]
    faults = dict.fromkeys(one.fault for found in rows.values() for one in found)
    for fault in faults:
        same = {arm: one for arm, found in rows.items() for one in found if one.fault == fault}
        first = next(iter(same.values()))
        seconds, ways = (
            ', '.join(f'{getattr(one, name):.2f}' for one in same.values() if getattr(one, name))
            for name in ('seconds', 'way')
        )
        lines.append(
            f'| {fault}: {", ".join(same)} | {first.result} | {seconds or "-"} | {ways or "-"} | '
            f'{first.goes_on or "never stopped"} |'
        )
    return '\n'.join(lines)


def main() -> int:
    """Measure, and write the table; return 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arms', nargs='+', default=ARMS, choices=ARMS)
    parser.add_argument('--faults', nargs='+', default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument('--json', type=Path, help='also write what was measured here')
    given = parser.parse_args()
    rows = {arm: measure(arm, given.faults) for arm in given.arms}
    good = {arm: [one for one in row if isinstance(one, FaultOutcome)] for arm, row in rows.items()}
    text = table(good)
    sys.stdout.write(f'{text}\n')
    if good != rows:
        return 1
    if tuple(given.arms) == ARMS and list(given.faults) == list(FAULTS):
        page = PAGE.read_text()
        begin = page.index(BEGIN)
        PAGE.write_text(page[:begin] + text + page[page.index(END, begin) :])
    if given.json:
        shown = {arm: [one.__getstate__() for one in found] for arm, found in good.items()}
        given.json.write_text(json.dumps(shown, indent=2))
    return 0


if __name__ == '__main__':
    sys.exit(main())
