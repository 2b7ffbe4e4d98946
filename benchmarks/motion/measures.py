# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What is measured on a motion."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.motion.playback import Played
from benchmarks.motion.recording import RecordedMotion

SEAM_STEPS = 3
"""Steps from the arrival of a chunk on that belong to its seam."""


def measure(recording: RecordedMotion, played: Played) -> dict[str, float]:
    """Return the numbers of one motion, against the motion without delay.

    Velocity, acceleration and jerk are differences of the set-points from one step to the next,
    the largest over axes and steps. Steps before the first seam are left out: nothing is blended
    there. Idle is the share of the whole motion, wherever the first seam of a method lies; the time
    scale is the mean over the rest.
    """
    dt = recording.dt
    first = played.arrivals[0] if played.arrivals else len(played.positions) - 1
    path = np.concatenate([recording.start[None], played.positions])  # [T + 1, 3]
    velocity = np.diff(path, axis=0) / dt
    change = np.diff(velocity, axis=0, prepend=velocity[:1])
    acceleration = change / dt
    jerk = np.diff(acceleration, axis=0, prepend=acceleration[:1]) / dt
    seams = np.unique([s for a in played.arrivals for s in range(a, a + SEAM_STEPS)])
    seams = seams[seams < len(path) - 1].astype(int)
    error = np.linalg.norm(played.positions - recording.path, axis=1)
    return {
        'max_jerk': _largest(jerk[first:]),
        'max_acceleration': _largest(acceleration[first:]),
        'seam_velocity_step': _largest(change[seams]),
        'seam_acceleration_step': _largest(jerk[seams] * dt),
        'tracking_rms_mm': 1e3 * float(np.sqrt(np.mean(error[first:] ** 2))),
        'tracking_max_mm': 1e3 * float(error[first:].max(initial=0.0)),
        'idle': float(np.mean(~played.driven)),
        'time_scale': float(np.mean(played.time_scale[played.driven])),
    }


def roughness(recording: RecordedMotion) -> float:
    """Return the largest jerk inside single chunks [m/s^3]: no method can be blamed for it."""
    return _largest(np.diff(recording.chunks[:, :, :3], n=3, axis=1) / recording.dt**3)


def merged(found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return one row for several motions: the largest of the maxima, the mean of the others."""
    columns: dict[str, Any] = {}
    for name in found[0]:
        values = [item[name] for item in found]
        average = name in ('tracking_rms_mm', 'idle', 'time_scale')
        columns[name] = float(np.mean(values)) if average else float(np.max(values))
    columns['median_max_jerk'] = float(np.median([item['max_jerk'] for item in found]))
    columns['motions'] = len(found)
    return columns


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))
