# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla up``."""

from efficient_vla.nodes.up import DESCRIPTION
from efficient_vla.nodes.up import EXAMPLE
from efficient_vla.nodes.up import add_arguments
from efficient_vla.nodes.up import main

__all__ = ['DESCRIPTION', 'EXAMPLE', 'add_arguments', 'main']
