# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the perception stage."""

from dataclasses import dataclass

from efficient_vla.devices import ComputeSettings
from efficient_vla.openvla_settings import OpenVlaImages
from efficient_vla.remote import RemoteCameraSettings
from efficient_vla.settings import group, setting, share


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Temporal token cache: what is not computed because a camera image has not changed there."""

    method: str = setting(
        'none',
        'What an unchanged frame costs: none recomputes it, reuse sends the earlier tokens again, '
        'skip sends nothing so that the reasoner keeps its plan. patch computes the changed '
        'patches only, beside keys and values of the others.',
        choices=('none', 'reuse', 'skip', 'patch'),
    )
    threshold: float = share(
        0.02,
        'A patch has changed when a quarter cell of it differs by more than this mean absolute '
        'difference of intensity (0 to 1), with or without the mean difference of the patch, from '
        'the frame that its token was computed from.',
    )
    release: float = share(
        0.01,
        'A patch that has changed is computed in each frame until it changes by no more than this. '
        'At most the threshold, and above the noise of the camera.',
    )
    max_age: float = setting(
        1.0,
        'Tokens older than this are recomputed whatever the image says; all of them after a gap '
        'this long.',
        unit='s',
        low=0.0,
        high=60.0,
    )
    refresh_every: int = setting(
        0,
        'Every so many frames everything is recomputed; 0 never.',
        low=0,
        high=100_000,
    )
    max_changed: float = share(
        0.6,
        'Method patch: a camera is recomputed as a whole where more than this share of it changed.',
    )
    probe: float = setting(
        0.02,
        'Method patch: share of the patches, the oldest unchanged ones, that is computed along '
        'with the changed ones to measure the error of the others.',
        low=0.001,
        high=1.0,
    )
    max_error: float = setting(
        0.3,
        'Method patch: a camera is recomputed as a whole where the hidden state of a probed patch '
        'moved by more than this share of its length. Patches that were not probed may have moved '
        'further; more probes make the bound tighter.',
        low=0.0,
        high=100.0,
    )

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        if self.release > self.threshold:
            return (
                f'cache.release {self.release} is above cache.threshold {self.threshold}; expected '
                'at most that, since a patch would be clean and changed at once. Lower release too.'
            )
        return None


@dataclass(frozen=True, slots=True)
class PerceptionSettings(ComputeSettings):
    """Parameters of the perception stage."""

    cameras: tuple[str, ...] = setting(
        (),
        'Cameras that the robot has, of those that the policy was trained with, where it works '
        'without the others, as policies of LeRobot with a language model do; empty: all. An '
        'OpenVLA calls its images so, those of wrists last; empty: image.',
        read_only=True,
        calibrated=True,
    )
    cache: CacheSettings = group(CacheSettings)
    signals: bool = setting(
        False,
        'Compute for each token its share of edge pixels and the attention it receives in the last '
        'layer of the vision tower, which some selectors rank tokens by.',
    )
    remote: RemoteCameraSettings = group(RemoteCameraSettings)
    openvla: OpenVlaImages = group(OpenVlaImages)

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        return self.cache.check() or self.quantization.check()
