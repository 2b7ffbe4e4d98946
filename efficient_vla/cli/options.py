# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of ``efficient-vla up`` that other commands share."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from efficient_vla import presets
from efficient_vla.errors import UsageError


class _Preset(argparse.Action):
    """Put the parameters of a preset where ``--set`` puts its own, in the order given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*before, *presets.words(values)])


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``, once for each parameter, and ``--preset``, a method with its companions."""
    parser.add_argument(
        '--set',
        metavar='NODE.PARAM=VALUE',
        action='append',
        default=[],
        dest='overrides',
        help='set a parameter, for example reasoner.pruning.method=fastv; may be repeated',
    )
    parser.add_argument(
        '--preset',
        action=_Preset,
        choices=tuple(presets.PRESETS),
        dest='overrides',
        help='a method with all that its paper has, as --set of each; later --set is stronger',
    )


def writable_folder(path: Path, option: str) -> Path:
    """Make the folder that ``option`` names, so that a long run does not fail at its end."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(f'cannot write into {path}: {error}. Choose another {option}.') from error
    return path
