# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A loaded policy as a server offers it: its metadata, and an answer for each observation."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from efficient_vla.joint_settings import SPANS, JointSettings
from efficient_vla.policy import Policy
from efficient_vla.serving.observation import Keys, Observation, read
from efficient_vla.serving.protocol import MAX_ANSWER, packed, unpacked
from efficient_vla.types import QUATERNION, ActionChunk

VERSION = 1
"""Of what the metadata say beside openpi's protocol."""
RESET = 'reset'
"""A client that knows this package sends it as true with the first observation of an episode."""


class ServedPolicy:
    """One policy for all clients: it starts anew whenever another client than the last one asks."""

    def __init__(self, policy: Policy, name: str, keys: Keys, first: Observation) -> None:
        """Run one pass on ``first``, so that what cannot run is known before somebody asks."""
        self._policy, self._keys = policy, keys
        self._client: object = None
        self._name = name
        self.chunk = self._pass(first)
        policy.reset()

    def metadata(self) -> dict[str, Any]:
        """Return what a client is told first."""
        keys, chunk = self._keys, self.chunk
        return {
            'efficient_vla': {
                'version': VERSION,
                'policy': self._name,
                'cameras': dict(keys.images),
                'state': {part.key: list(part.names) for part in keys.state},
                'prompt': keys.prompt,
                'reset': RESET,
                'actions': {
                    'names': list(chunk.names),
                    'control_mode': chunk.control_mode.name,
                    'frame': chunk.frame,
                    'absolute': list(chunk.absolute),
                    'dt': chunk.dt,
                    'rows': len(chunk.actions),
                },
            }
        }

    def answer(self, client: object, frame: bytes | str, timing: Mapping[str, float]) -> bytes:
        """Return the answer to one frame of a client.

        Raises ``ProtocolError`` for a frame that is none, and ``InvalidRecordError`` for an
        observation that the policy cannot take.
        """
        begin = time.perf_counter()
        message = unpacked(frame)
        observation = read(message, self._keys)
        if client is not self._client or message.get(RESET) is True:
            self._policy.reset()
            self._client = client
        chunk = self._pass(observation)
        took = (time.perf_counter() - begin) * 1e3
        return packed(
            {
                'actions': chunk.actions,
                'policy_timing': {'infer_ms': took, 'actor_ms': chunk.latency_ms},
                'server_timing': {'infer_ms': took, **timing},
            },
            MAX_ANSWER,
        )

    def _pass(self, observation: Observation) -> ActionChunk:
        return self._policy.act(observation.images, observation.prompt, state=observation.state)


def at_rest(
    cameras: Mapping[str, tuple[int, int]], names: Sequence[str], joints: JointSettings
) -> Observation:
    """Return black images and a state inside every calibrated range, for a first pass."""
    ranges = dict(zip(joints.names, zip(*joints.columns(), strict=False), strict=False))
    middle = [
        (ranges[name][3] + ranges[name][4]) / 2
        if name in ranges and ranges[name][0] in SPANS
        else float(name == QUATERNION[-1])
        for name in names
    ]
    images = {camera: np.zeros((*size, 3), np.uint8) for camera, size in cameras.items()}
    return Observation(images, np.array(middle, np.float32), 'stand still')
