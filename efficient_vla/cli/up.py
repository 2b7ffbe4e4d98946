# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla up``."""

import argparse

from efficient_vla.cli.options import writable_folder
from efficient_vla.nodes import up

DESCRIPTION = up.DESCRIPTION
EXAMPLE = up.EXAMPLE

add_arguments = up.add_arguments


def main(arguments: argparse.Namespace) -> int:
    """Bring up the graph."""
    if arguments.log_folder is not None:
        writable_folder(arguments.log_folder, '--log-folder')
    return up.main(arguments)
