# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What flowed in a graph as frames of a LeRobotDataset, a fixed time apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from efficient_vla.errors import EpisodeError
from efficient_vla.records import SentEpisode


class Recorded(NamedTuple):
    """Frames of an episode, as ``DatasetWriter.add_episode`` takes them."""

    images: np.ndarray
    """uint8 [T, rows, columns, 3]."""
    state: np.ndarray
    """float32 [T, S]."""
    action: np.ndarray
    """float32 [T, A]: displacements during the frame, then what was commanded at its end."""
    repeated: int
    """Frames that show the image of the frame before, since no newer one was captured."""


def resampled(flow: SentEpisode, fps: float, relative: int) -> Recorded:
    """Return an episode at ``fps`` frames a second.

    The first ``relative`` columns of an action are displacements. A frame has the image whose
    capture time is nearest, the state at that time between the two measured around it, and what
    was commanded until the time of the next frame. Raises ``EpisodeError`` where images, states or
    commands are missing.
    """
    for name in ('images', 'states', 'commands'):
        if not getattr(flow, name):
            raise EpisodeError(
                f'no {name} were recorded; expected some in every episode. Check that the graph '
                'runs in this ROS domain and that its camera publishes.'
            )
    seen = np.array([stamp for stamp, _ in flow.images])
    order = np.argsort(seen, kind='stable')
    seen = seen[order]
    count = int(np.floor((seen[-1] - seen[0]) * fps + 0.5)) + 1
    times = seen[0] + np.arange(count) / fps
    near = _nearest(seen, times)
    taken = seen[near]
    ends = np.append(taken[1:], taken[-1] + 1 / fps)
    # A frame that shows an old image again still lasts as long as every other.
    ends = np.maximum(ends, times + 0.5 / fps)
    commanded = _held(flow.commands, np.append(taken[:1], ends))  # [T + 1, A]
    action = commanded[1:].copy()
    action[:, :relative] -= commanded[:-1, :relative]
    return Recorded(
        np.stack([flow.images[index][1] for index in order[near]]),
        _between(flow.states, taken).astype(np.float32),
        action.astype(np.float32),
        int((np.diff(near) == 0).sum()),
    )


def _nearest(stamps: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the index of the stamp nearest to each time, both in order."""
    after = np.clip(np.searchsorted(stamps, times), 1, max(len(stamps) - 1, 1))
    after = np.minimum(after, len(stamps) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(times - stamps[before] <= stamps[after] - times, before, after)


def _between(samples: Sequence[tuple[float, np.ndarray]], times: np.ndarray) -> np.ndarray:
    """Return values [T, N] at the times, on straight lines between the samples."""
    stamps, values = _sorted(samples)
    return np.stack([np.interp(times, stamps, column) for column in values.T], axis=1)


def _held(samples: Sequence[tuple[float, np.ndarray]], times: np.ndarray) -> np.ndarray:
    """Return the newest value [T, N] at each time; before the first sample, that one."""
    stamps, values = _sorted(samples)
    return values[np.maximum(np.searchsorted(stamps, times, side='right') - 1, 0)]


def _sorted(samples: Sequence[tuple[float, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    stamps = np.array([stamp for stamp, _ in samples])
    order = np.argsort(stamps, kind='stable')
    return stamps[order], np.stack([values for _, values in samples])[order]
