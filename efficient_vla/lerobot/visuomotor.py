# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages of policies that turn images and state into a chunk, without words.

The images go to the actor itself.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from efficient_vla.action.settings import ActorSettings
from efficient_vla.engined import device_for
from efficient_vla.frame_stages import FramePerception, SentenceReasoner
from efficient_vla.joints import Joints
from efficient_vla.lerobot import facts
from efficient_vla.lerobot.features import STATE, cameras_of
from efficient_vla.lerobot.folder import LeRobotFolder, open_folder
from efficient_vla.lerobot.frames import EarlierFrames
from efficient_vla.lerobot.processors import Batch
from efficient_vla.lerobot.techniques import IMAGE_POLICIES
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import InvalidSettingError, refuse_techniques
from efficient_vla.types import (
    ActionChunk,
    Execution,
    Frame,
    HeadHelp,
    InvalidRecordError,
    Plan,
)

Network = TypeVar('Network', bound=nn.Module)


class ImagePolicy(Protocol):
    """What is behind the actor."""

    parameters_mb: float
    observations: int
    """Frames that a chunk is made of."""

    def describe(self, batch: Batch) -> Any:
        """Return what the policy is told of one frame."""

    def act(self, told: Sequence[Any]) -> tuple[torch.Tensor, int]:
        """Return the rows to execute, normalised [1, H, A], and passes; ``told`` ends with now."""

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on."""

    def reset(self) -> None:
        """Start a new episode."""


class ImageActor:
    """Images, state -> chunk in the robot's names and units."""

    needs_image = True

    def __init__(
        self,
        folder: LeRobotFolder,
        policy: ImagePolicy,
        settings: ActorSettings,
        device: torch.device,
        refused: Mapping[str, str] = IMAGE_POLICIES,
    ) -> None:
        """Take the joints of the robot from the settings; ``refused`` is what they must not ask.

        Raises ``InvalidSettingError`` where they do not say what the folder leaves open.
        """
        self.joints: Joints = folder.joints(settings.joints)
        self.cameras = folder.camera_names
        self.state_names = self.joints.state_names if folder.state_width else ()
        self.parameters_mb = policy.parameters_mb
        self._folder, self._policy, self._device = folder, policy, device
        self._refused = refused
        self.engine: Any = None
        """What is known of the engine that executes the network, where that is not torch."""
        sizes = cameras_of(folder.input_features)
        self._sizes = {
            name: (key, sizes[own])
            for name, (key, own) in zip(self.cameras, folder.cameras.items(), strict=True)
        }
        self._sequence = 0
        self._frames = EarlierFrames(policy.observations, self.joints.dt)
        self._told: dict[float, tuple[Batch, Any]] = {}
        """Capture time -> the batch of a frame, and what the policy is told of it."""
        self.architecture = 'dual' if settings.architecture == 'auto' else settings.architecture
        self.configure(settings)

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on."""
        if settings.own_head != 'regression':
            raise InvalidSettingError(
                f'head is {settings.head}; expected auto, as a policy of type {self._folder.type} '
                'has its own head.'
            )
        refuse_techniques('actor', settings, self._refused)
        self._policy.configure(settings)

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode."""
        self._frames.clear()
        self._told.clear()
        self._policy.reset()

    @property
    def looks_back(self) -> float:
        """Seconds to the oldest frame that a chunk is made of."""
        return self._frames.span

    def see(self, frame: Frame) -> None:
        """Remember a frame for later chunks."""
        self._frames.add(frame)

    def note_execution(self, execution: Execution | None) -> None:
        """Refuse a blending that needs a head which draws to the chunk before."""
        if execution is not None and execution.help != HeadHelp.NONE:
            raise InvalidSettingError(
                f'controller.blending.method is {execution.blending}, but a policy of type '
                f'{self._folder.type} cannot draw a chunk to the one before. Set '
                'controller.blending.method to offset_fade or temporal_ensemble.'
            )

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return the actions that follow ``frame``.

        Raises ``InvalidRecordError`` where an image or the state is not as in training.
        """
        begin = time.perf_counter()
        self._frames.add(frame)
        frames, note = self._frames.until(frame)
        # Whoever gives no times of their own may give one twice, with another image.
        self._told.pop(frame.stamp, None)
        with torch.inference_mode():
            self._told = {one.stamp: self._tell(one) for one in frames}
            batch = self._told[frame.stamp][0]
            chunk, steps = self._policy.act([self._told[one.stamp][1] for one in frames])
            actions = self._folder.postprocess(chunk.cpu(), batch)[0].numpy()
        if not np.isfinite(actions).all():
            raise InvalidRecordError(
                'the policy made a chunk with numbers that are not finite; expected finite ones. '
                'Check its folder.'
            )
        self._sequence += 1
        return ActionChunk.of(
            plan,
            frame,
            actions=self.joints.rows_to_robot(actions, frame.state),
            dt=self.joints.dt,
            **self.joints.meaning,
            sequence=self._sequence,
            latency_ms=(time.perf_counter() - begin) * 1e3,
            steps=steps,
            note=note,
        )

    def _tell(self, frame: Frame) -> tuple[Batch, Any]:
        """Return the batch of a frame, and what the policy is told of it."""
        known = self._told.get(frame.stamp)
        if known is not None:
            return known
        batch = self._folder.preprocess(self._raw(frame))
        there = {
            key: value.to(self._device) if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()
        }
        return batch, self._policy.describe(there)

    def _raw(self, frame: Frame) -> dict[str, Any]:
        """Return the observation under the keys of the dataset, in its order and units."""
        raw: dict[str, Any] = {}
        for name, (key, size) in self._sizes.items():
            image = frame.images.get(name)
            if image is None or image.shape[:2] != size:
                given = 'missing' if image is None else f'{image.shape[1]}x{image.shape[0]} pixels'
                raise InvalidRecordError(
                    f'image of camera {name!r} is {given}; expected {size[1]}x{size[0]} pixels, '
                    'as the policy was trained. Set the camera driver to that size.'
                )
            raw[key] = image
        if self.state_names:
            if frame.state.shape != (len(self.state_names),):
                raise InvalidRecordError(
                    f'robot state has {len(frame.state)} numbers; the policy expects '
                    f'{len(self.state_names)}: {", ".join(self.state_names)}. Check the driver.'
                )
            raw[STATE] = self.joints.state_to_policy(frame.state)
        return raw


def network_of(folder: LeRobotFolder, kind: Callable[..., Network], root: str) -> Network:
    """Return the network of a folder, whose tensors are below ``root``.

    Raises ``CheckpointError`` where its tensors are not those that ``config.json`` describes.
    """
    network = kind(
        folder.config,
        cameras_of(folder.input_features),
        folder.state_width,
        folder.action_width,
        folder.tensors.at(root),
    )
    folder.tensors.finish()
    return network.eval()


def load_perception(folder: Path, settings: PerceptionSettings) -> FramePerception:
    """Return the perception of such a policy."""
    return FramePerception(tuple(facts(folder).cameras), settings, IMAGE_POLICIES)


def load_reasoner(folder: Path, settings: ReasonerSettings) -> SentenceReasoner:
    """Return the reasoner of such a policy."""
    return SentenceReasoner(settings, IMAGE_POLICIES)


def open_for(folder: Path, settings: ActorSettings) -> tuple[LeRobotFolder, torch.device]:
    """Return the folder for an actor, and where it computes."""
    return open_folder(folder, settings.unnorm_key), device_for(settings)
