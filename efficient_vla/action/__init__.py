# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""From plan (and frame) to action chunk.

ROS looks up the action interfaces in a module of this very name, so ``ExecuteTask`` is reachable
here too; it loads on first use, since the stage itself runs without ROS.
"""

from pkgutil import extend_path
from typing import Any

__path__ = extend_path(__path__, __name__)


def __getattr__(name: str) -> Any:
    if name == 'ExecuteTask':
        from efficient_vla.action._execute_task import ExecuteTask

        return ExecuteTask
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
