# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Check an installation and say what is wrong: `efficient-vla doctor`."""

import argparse
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from efficient_vla.bringup.check import Check, Result
from efficient_vla.bringup.check_machine import MACHINE_CHECKS
from efficient_vla.bringup.check_software import SOFTWARE_CHECKS

STYLES = {Result.OK: 'green', Result.WARN: 'yellow', Result.FAIL: 'bold red'}


def run_checks() -> list[Check]:
    """Return the outcome of every check; takes about ten seconds."""
    return list(_outcomes())


def main(arguments: argparse.Namespace | None = None) -> int:
    """Show every check as it ends; return 1 if any failed, else 0."""
    console = Console(highlight=False, soft_wrap=True)
    results = []
    for check in _outcomes():
        results.append(check.result)
        style = STYLES[check.result]
        console.print(
            f'[{style}]{check.result.value:<4}[/]  {check.name:<16}  {escape(check.detail)}'
        )
        if check.remedy:
            console.print(f'{"":24}mend it with:  {escape(check.remedy)}')
    failed = results.count(Result.FAIL)
    warned = results.count(Result.WARN)
    console.print(f'{len(results)} checks, {failed} failed, {warned} with a warning')
    return int(failed > 0)


def _outcomes() -> Iterator[Check]:
    """Yield the outcome of one check after the other; a check that breaks has failed."""
    for check in (*SOFTWARE_CHECKS, *MACHINE_CHECKS):
        try:
            yield check()
        except Exception as error:
            name = check.__name__.replace('_', ' ')
            yield Check(name, Result.FAIL, f'{type(error).__name__}: {error}', 'make setup')
