# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which variable names the profile of Fast DDS; nothing but the standard library is imported here.

tools/efficient_vla_workspace.py asks this whenever Python starts.
"""

import os
from collections.abc import Mapping
from pathlib import Path


def profile_variable(present: Mapping[str, str]) -> str:
    """Return the variable that the installed Fast DDS reads.

    Version 2, whose library is libfastrtps, knows only the older name; version 3, libfastdds, warns
    about it. Where ROS 2 comes from wheels no ROS_DISTRO tells which one it is.
    """
    prefixes = present.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    folders = [Path(prefix, 'lib') for prefix in prefixes if prefix]
    # Debian's libraries of ROS lie one folder deeper on some architectures.
    for pattern in ('libfast*.so*', '*-linux-gnu/libfast*.so*'):
        for folder in folders:
            names = {path.name.partition('.')[0] for path in folder.glob(pattern)}
            if 'libfastdds' in names:
                return 'FASTDDS_DEFAULT_PROFILES_FILE'
            if 'libfastrtps' in names:
                return 'FASTRTPS_DEFAULT_PROFILES_FILE'
    return 'FASTDDS_DEFAULT_PROFILES_FILE'
