# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Drive a robot arm by a vision-language-action policy at control rate on modest hardware.

``Policy`` is the public interface without ROS. It loads on first use, because the controller's
process imports this package and must not load torch.
"""

from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from efficient_vla.policy import Policy

# In a source tree the generated modules (msg, srv) lie elsewhere, in install/. An installed
# package holds both in one folder and nothing is added.
__path__ = extend_path(__path__, __name__)

__version__ = '0.1.0'

__all__ = ['Policy', '__version__']


def __getattr__(name: str) -> Any:
    if name == 'Policy':
        from efficient_vla.policy import Policy

        return Policy
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
