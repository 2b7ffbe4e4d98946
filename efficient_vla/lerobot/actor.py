# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keys and values of a prefix, and the state of now -> ActionChunk, of policies of LeRobot."""

from dataclasses import dataclass

import numpy as np
import torch

from efficient_vla.action.heads.expert import HIGH, ExpertGenerator
from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.stage import Actor
from efficient_vla.engined import fit_expert, in_format
from efficient_vla.joints import Joints, JointSpace
from efficient_vla.lerobot.features import STATE
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.lerobot.parts import PrefixParts, finish
from efficient_vla.lerobot.processors import Batch
from efficient_vla.lerobot.techniques import NO_DUAL
from efficient_vla.settings import InvalidSettingError


@dataclass(frozen=True, slots=True)
class FolderSpace(JointSpace):
    """State and actions between the robot and a policy, by the processors of its folder."""

    folder: LeRobotFolder
    joints: Joints
    rows: int
    """Of a chunk that are executed."""

    def normalised(self, state: np.ndarray) -> np.ndarray:
        """Return the policy's state, float32 [S], for the robot's."""
        found: np.ndarray = self._seen(state)[STATE][0].numpy()
        return found

    def actions(self, chunk: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return the robot's rows, float32 [H, A], for those of the policy made at ``state``."""
        return self.joints.rows_to_robot(self._restored(chunk[: self.rows], state), state)

    def carried(self, chunk: np.ndarray, before: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Return the policy's rows [H, A] made at one state of the robot as made at another.

        Those that are counted from the state are moved by its change; normalising is a line.
        """
        if not self.folder.relative:
            return chunk
        nothing, one = np.zeros_like(chunk[:1]), np.ones_like(chunk[:1])
        start, end = self._restored(nothing, before), self._restored(nothing, now)
        slope = self._restored(one, before) - start
        # A column of no width says the same whatever the policy gives.
        moved = np.divide(start - end, slope, out=np.zeros_like(slope), where=slope != 0)
        return (chunk + moved).astype(np.float32)

    def _restored(self, chunk: np.ndarray, state: np.ndarray) -> np.ndarray:
        batch = self._seen(state)
        found: np.ndarray = self.folder.postprocess(torch.from_numpy(chunk)[None], batch)[0].numpy()
        return found

    def _seen(self, state: np.ndarray) -> Batch:
        return self.folder.preprocess({STATE: self.joints.state_to_policy(state)})


def architecture_for(parts: PrefixParts, settings: ActorSettings) -> str:
    """Return at which rate chunks are made: 'single' or 'dual'.

    Raises ``InvalidSettingError`` for what such a policy cannot do.
    """
    if settings.head not in ('auto', 'flow'):
        raise InvalidSettingError(
            f'head is {settings.head}; expected auto, since a policy of type {parts.folder.type} '
            'has an action expert of its own.'
        )
    if settings.architecture == 'dual' and parts.state_in_words:
        raise InvalidSettingError(f'architecture is dual; expected single, since {NO_DUAL}.')
    return 'single' if settings.architecture == 'auto' else settings.architecture


def load(parts: PrefixParts, settings: ActorSettings) -> Actor:
    """Return the actor of a folder."""
    architecture = architecture_for(parts, settings)
    folder, config = parts.folder, parts.folder.config
    joints = folder.joints(settings.joints)
    expert = parts.expert()
    finish(parts, 'actor')
    rows = config.integer('n_action_steps', expert.shape.rows, high=expert.shape.rows)
    made, layers = in_format(expert, settings, ('actor', folder.path), HIGH)
    engine = fit_expert(made, settings, folder.path, layers)
    generator = ExpertGenerator(made, parts.steps, settings)
    width = parts.prefix_width
    space = FolderSpace(folder, joints, rows)
    actor = Actor(generator, folder.camera_names, space, None, (1, width), architecture)
    actor.engine = engine
    return actor
