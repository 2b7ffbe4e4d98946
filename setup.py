# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Install the Python tree without ROS: ``pip install .`` gives ``Policy`` and ``efficient-vla``.

ROS 2 does not use this file: CMakeLists.txt installs the tree beside the generated interfaces.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
MANIFEST = (ROOT / 'package.xml').read_text()

setup(
    name='efficient_vla',
    version=re.search('<version>(.*)</version>', MANIFEST)[1],
    description='Vision-language-action policies at control rate on modest hardware.',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=['efficient_vla', 'efficient_vla.*']),
    install_requires=[
        line
        for line in (ROOT / 'requirements.txt').read_text().splitlines()
        if line and not line.startswith('#')
    ],
    entry_points={'console_scripts': ['efficient-vla = efficient_vla.cli:main']},
    zip_safe=False,
)
