# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the seam properties of translating and of turning tools have in common."""

import os

from hypothesis import strategies as st

from efficient_vla.control.settings import BLENDING_METHODS, ControllerSettings
from efficient_vla.settings import build

CASES = int(os.environ.get('EFFICIENT_VLA_SEAM_CASES', '300'))


def delays():
    """Return the strategy of when chunks arrive after their observation [s], ``None`` for never."""
    delay = st.one_of(st.floats(0.0, 0.4), st.sampled_from([0.0, 0.1, 0.4]), st.none())
    return st.lists(delay, min_size=2, max_size=6)


def events():
    """Return the strategy of what an operator does, when, and for how long [s]."""
    return st.tuples(
        st.sampled_from(['nothing', 'pause', 'flush', 'stop', 'configure']),
        st.floats(0.05, 0.8),
        st.floats(0.0, 0.3),
    )


def interrupt(controller, action, case, values, now):
    """Do what an operator does in mid-motion."""
    if action == 'resume':
        controller.resume(now)
    elif action == 'flush':
        controller.flush(now, 'new instruction')
    elif action == 'stop':
        controller.stop(now)
    else:
        other = BLENDING_METHODS[(BLENDING_METHODS.index(case.method) + 1) % len(BLENDING_METHODS)]
        controller.configure(build(ControllerSettings, {**values, 'blending.method': other}))
