# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Check an installation and say what is wrong: `efficient-vla doctor`."""

import argparse
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.markup import escape

from efficient_vla.bringup.check import Check, Result
from efficient_vla.bringup.check_machine import MACHINE_CHECKS
from efficient_vla.bringup.check_software import SOFTWARE_CHECKS

STYLES = {Result.OK: 'green', Result.WARN: 'yellow', Result.FAIL: 'bold red'}


DESCRIPTION = (
    'Check this installation: Python, ROS 2, the build of this package, torch, the simulator and '
    'its rendering, the shipped policy, memory and disk. Every fault is told in one sentence with '
    'the command that mends it. Exit code 1 when a check failed.'
)
EXAMPLE = '  efficient-vla doctor'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: there are none."""


def main(arguments: argparse.Namespace | None = None) -> int:
    """Show every check as it ends; return 1 if any failed, else 0."""
    return show(run_checks())


def show(checks: Iterable[Check]) -> int:
    """Show every check as it ends; return 1 if any failed, else 0."""
    console = Console(highlight=False, soft_wrap=True)
    results = []
    for check in checks:
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


def run_checks() -> Iterator[Check]:
    """Yield the outcome of every check, in about ten seconds; a check that breaks has failed."""
    for check in (*SOFTWARE_CHECKS, *MACHINE_CHECKS):
        try:
            yield check()
        except Exception as error:
            name = check.__name__.replace('_', ' ')
            yield Check(name, Result.FAIL, f'{type(error).__name__}: {error}', 'make setup')
