# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Rewrite the include paths in the ROS wheels' CMake files to those of this interpreter.

The wheels export the paths of the machine that built them, and CMake's generate step fails on a
folder that does not exist. Run with the interpreter of the environment; running again is harmless.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

PYTHON = re.compile(r'/[^";]*/include/python3\.\d+')
NUMPY = re.compile(r'/[^";]*/numpy/_?core/include')


def patch(prefix: Path, python_include: str, numpy_include: str) -> int:
    """Patch every exported CMake file below ``prefix`` and return how many changed."""
    changed = 0
    for path in sorted(prefix.glob('share/*/cmake/*.cmake')):
        text = path.read_text()
        patched = PYTHON.sub(lambda _: python_include, text)
        patched = NUMPY.sub(lambda _: numpy_include, patched)
        if patched != text:
            path.write_text(patched)
            changed += 1
    return changed


if __name__ == '__main__':
    count = patch(Path(sys.prefix), sysconfig.get_path('include'), numpy.get_include())
    sys.stdout.write(f'patched {count} CMake files of the ROS wheels\n')
