# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages of a policy that a server has; the actor asks it with each frame.

While there is no answer there is no chunk, so the controller brakes and holds as it does for any
policy that falls silent. A chunk has the capture time of its frame, however long the answer took.
"""

import time
import weakref
from typing import Any

import numpy as np

from efficient_vla.action.settings import ActorSettings
from efficient_vla.addresses import ServerAddress
from efficient_vla.frame_stages import FramePerception, SentenceReasoner
from efficient_vla.joint_settings import JointSettings
from efficient_vla.perception.preprocess import shrink
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.policy_folders import FolderFacts
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.remote import IMAGE_LAYOUTS, RemoteCameraSettings, RemoteSettings
from efficient_vla.serving.client import PolicyClient
from efficient_vla.serving.contract import OURS, cameras_of, contract_of
from efficient_vla.serving.observation import put
from efficient_vla.serving.tokens import read_token
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import ActionChunk, Execution, Frame, HeadHelp, InvalidRecordError, Plan

THERE = 'the policy is in a server, where its techniques are set'
REFUSED = dict.fromkeys(
    (
        'perception.cache.method',
        'perception.quantization.mode',
        'reasoner.depth.method',
        'reasoner.width.method',
        'reasoner.pruning.method',
        'reasoner.reuse.method',
        'reasoner.schedule.method',
        'reasoner.resampling.method',
        'reasoner.quantization.mode',
        'reasoner.ecot.method',
    ),
    THERE,
)
"""Parameters that mean nothing here -> why."""


class RemoteActor:
    """Frame -> observation -> answer -> chunk."""

    architecture = 'dual'
    needs_image = True
    parameters_mb = 0.0

    def __init__(self, address: ServerAddress, settings: ActorSettings) -> None:
        """Connect; raises as ``PolicyClient`` and ``contract_of`` do."""
        self._refuse(settings)
        remote = settings.remote
        self._client = _client(address, remote, remote.timeout)
        # Nobody tells a stage that it is freed.
        weakref.finalize(self, self._client.close)
        self._contract = contract_of(str(address), self._client.metadata, remote, settings.joints)
        self._remote = remote
        self.cameras = tuple(self._contract.keys.images)
        self.state_names = self._contract.state_names
        self._fresh = True
        self._sequence = 0

    def configure(self, settings: ActorSettings) -> None:
        """Apply the time that an answer may take."""
        self._refuse(settings)
        self._client.timeout = settings.remote.timeout

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode with the next frame."""
        self._fresh = True

    def note_execution(self, execution: Execution | None) -> None:
        """Refuse a blending that needs a head which draws to the chunk before."""
        if execution is not None and execution.help != HeadHelp.NONE:
            raise InvalidSettingError(
                f'controller.blending.method is {execution.blending}, but a policy in a server '
                'cannot be told of the chunk before. Set controller.blending.method to offset_fade '
                'or temporal_ensemble.'
            )

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return the actions that follow ``frame``.

        Raises ``PolicyServerError`` where the server gives none in time.
        """
        begin = time.perf_counter()
        observation = self._observation(plan.sentence, frame)
        if self._fresh and self._contract.reset:
            put(observation, self._contract.reset, True)
        answer = self._client.ask(observation)
        self._fresh = False
        self._sequence += 1
        return ActionChunk.of(
            plan,
            frame,
            actions=self._contract.rows(answer, frame.state),
            dt=self._contract.dt,
            **self._contract.meaning,
            sequence=self._sequence,
            latency_ms=(time.perf_counter() - begin) * 1e3,
        )

    def _observation(self, instruction: str, frame: Frame) -> dict[str, Any]:
        keys = self._contract.keys
        if frame.state.shape != (len(self.state_names),):
            raise InvalidRecordError(
                f'robot state has {len(frame.state)} numbers; the policy expects '
                f'{len(self.state_names)}: {", ".join(self.state_names)}. Check the robot driver.'
            )
        message: dict[str, Any] = {}
        for camera, key in keys.images.items():
            image = frame.images[camera]
            if self._remote.image_size:
                image = shrink(image, self._remote.image_size)
            if self._remote.image_layout != IMAGE_LAYOUTS[0]:
                image = np.moveaxis(image, -1, 0)
            put(message, key, image)
        state, first = self._contract.state(frame.state), 0
        for part in keys.state:
            put(message, part.key, state[first : first + len(part.names)])
            first += len(part.names)
        put(message, keys.prompt, instruction)
        return message

    def _refuse(self, settings: ActorSettings) -> None:
        if settings.own_architecture != 'dual' or settings.own_head != 'regression':
            raise InvalidSettingError(
                f'architecture is {settings.architecture} and head {settings.head}; expected auto '
                'for both, since the policy is in a server, where they are set.'
            )


def facts(address: ServerAddress, token_file: str = '') -> FolderFacts:
    """Return what a server says of its policy, which it is asked for."""
    remote = RemoteCameraSettings(token_file=token_file)
    client = _client(address, remote, remote.connect_timeout)
    client.close()
    metadata = client.metadata
    if OURS not in metadata:
        return FolderFacts(
            family='remote',
            kind=str(address),
            cameras={},
            refused=REFUSED,
            missing=(
                f'{address} does not say what it takes and gives. Set perception.remote.cameras '
                'and actor.remote.cameras, and joints in the profile of the robot.',
            ),
        )
    contract = contract_of(str(address), metadata, RemoteSettings(), JointSettings())
    return FolderFacts(
        family='remote',
        kind=str(metadata[OURS].get('policy', address)),
        cameras=dict.fromkeys(contract.keys.images),
        state_names=contract.keys.state_names,
        state_width=len(contract.keys.state_names),
        action_names=contract.action_names,
        action_width=len(contract.action_names),
        units=contract.control_mode.name,
        horizon=contract.horizon,
        dt=contract.dt,
        refused=REFUSED,
    )


def load_perception(address: ServerAddress, settings: PerceptionSettings) -> FramePerception:
    """Return the perception, which asks the server for its cameras where no setting names them."""
    cameras = settings.remote.cameras
    if not cameras:
        client = _client(address, settings.remote, settings.remote.connect_timeout)
        client.close()
        cameras = cameras_of(str(address), client.metadata, settings.remote)
    return FramePerception(cameras, settings, REFUSED)


def load_reasoner(address: ServerAddress, settings: ReasonerSettings) -> SentenceReasoner:
    """Return the reasoner, which hands the sentence on."""
    return SentenceReasoner(settings, REFUSED)


def load_actor(address: ServerAddress, settings: ActorSettings) -> RemoteActor:
    """Return the actor, connected to the server."""
    return RemoteActor(address, settings)


def _client(address: ServerAddress, settings: RemoteCameraSettings, timeout: float) -> PolicyClient:
    return PolicyClient(address, read_token(settings.token_file), timeout, settings.connect_timeout)
