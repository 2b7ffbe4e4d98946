# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of ``efficient-vla up`` that other commands share."""

import argparse
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

from efficient_vla import presets
from efficient_vla.bringup.system_folders import under_profile
from efficient_vla.errors import UsageError
from efficient_vla.systems import system_word

MAKER = 'efficient_vla.cli.system_policies'
"""What makes folders with random weights; a robot has none."""


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


def policy_given(text: str, robot: str, still: bool = False) -> str:
    """Return the policy that a user names; of a system the folder that was made for it.

    ``still`` says that a robot that is not simulated does not move. Raises ``UsageError``,
    ``CheckpointError`` or ``InvalidSettingError`` for a system that cannot be made.
    """
    word = system_word(text)
    if word is None:
        return text
    if word.folder is not None:
        return str(under_profile(word.name, word.folder))
    if find_spec(MAKER) is None:
        raise UsageError(
            f'policy {text!r} has random weights, which training makes, and that is not installed '
            f'where a robot runs; expected {word.name}=FOLDER. Name a trained folder.'
        )
    return str(resolve_name(f'{MAKER}:folder_of')(word, robot, still))
