# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""VisualTokens, instruction and state -> keys and values, of policies of LeRobot."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from efficient_vla import checkpoint
from efficient_vla.attention import PrefixCache
from efficient_vla.engined import device_for, fit_prefix, in_format
from efficient_vla.joints import Joints
from efficient_vla.lerobot.features import STATE
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.lerobot.parts import PrefixParts, finish
from efficient_vla.lerobot.processors import MASK, TASK, TOKENS, Batch
from efficient_vla.lerobot.techniques import LACKING, techniques
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.depth.mole import LayerRouter, RouterPilot
from efficient_vla.reasoning.depth.pilot import Pilot
from efficient_vla.reasoning.depth.prefix_exits import PrefixExits, prefix_pilot
from efficient_vla.reasoning.depth.static import shorten
from efficient_vla.reasoning.prefix import Prefix
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.stage import Entering, Reasoner, Techniques
from efficient_vla.reasoning.states import States
from efficient_vla.reasoning.words import Words
from efficient_vla.settings import refuse_techniques
from efficient_vla.types import Plan, VisualTokens

DEPTH = checkpoint.DEPTH | {'early_exit': PrefixExits}
"""``depth.method`` -> the module of its add-on."""


class PrefixReasoner(Reasoner):
    """Plan the keys and values of a prefix with the state nearest to the frame."""

    trunk: Prefix

    def __init__(
        self,
        prefix: Prefix,
        folder: LeRobotFolder,
        joints: Joints,
        settings: ReasonerSettings,
        refused: Mapping[str, str],
        pilot: Pilot | None = None,
    ) -> None:
        """Refuse the techniques of ``refused``, each with the reason there."""
        self._folder, self._joints = folder, joints
        self._refused = refused
        self._states = States()
        self._batch: Batch = {}
        super().__init__(
            prefix, _no_words, 0, settings, joints.state_names, lacking=LACKING, pilot=pilot
        )

    def configure(self, settings: ReasonerSettings) -> None:
        """Apply settings from the next plan on; raises ``InvalidSettingError`` for others."""
        refuse_techniques('reasoner', settings, self._refused)
        super().configure(settings)

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode."""
        super().reset(reason)
        self._states.clear()

    def observe(self, state: np.ndarray, stamp: float) -> None:
        """Take in the robot's state [S] at ``stamp`` [s]."""
        super().observe(state, stamp)
        self._states.add(state, stamp)

    def plan(self, tokens: VisualTokens, instruction: str) -> Plan:
        """Return the plan for one frame.

        Raises ``InvalidRecordError`` where no state is known of the time of the frame.
        """
        state = self._joints.state_to_policy(self._states.nearest(tokens.stamp))
        self._batch = self._folder.preprocess({STATE: state, TASK: instruction})
        return super().plan(tokens, instruction)

    def _words(self, instruction: str) -> Words:
        """Return the instruction without padding, as the processors of the folder wrote it."""
        ids = self._batch[TOKENS][self._batch[MASK]].to(self._device)
        return Words(ids, None, torch.arange(len(ids), device=self._device))

    def _decode(
        self, tokens: VisualTokens, entering: Entering, techniques: Techniques
    ) -> tuple[torch.Tensor, runner.PassResult, PrefixCache | None]:
        features, _, text, _ = entering
        state = self._batch[STATE].to(self._device)
        cache, result = self.trunk(features, tokens.camera, text[0], state, *techniques)
        return result.hidden[0, -1:], result, cache


def _no_words(*given: Any) -> Any:
    raise NotImplementedError('words come from the processors of the folder')


def load(parts: PrefixParts, settings: ReasonerSettings) -> PrefixReasoner:
    """Return the reasoner of a folder, with its decoder in the number format of the settings."""
    _, refused = techniques(parts.state_in_words)
    refuse_techniques('reasoner', settings, refused)
    folder = parts.folder
    joints = folder.joints(settings.joints)
    prefix = parts.prefix()
    chosen = checkpoint.load_depth(folder.path, settings.depth, prefix.decoder, DEPTH)
    shorten(prefix, settings.depth, chosen)
    finish(parts, 'reasoner')
    prefix.to(device_for(settings))
    decoder, layers = in_format(prefix.decoder, settings, ('reasoner', folder.path))
    prefix.replace(decoder)
    engine = fit_prefix(prefix, settings, folder.path, layers)
    pilot: Pilot | None = None
    if isinstance(chosen, PrefixExits):
        pilot = prefix_pilot(chosen.to(prefix.parts.device), prefix.parts.left)
    elif isinstance(chosen, LayerRouter):
        pilot = RouterPilot(chosen.to(prefix.parts.device), prefix.parts.left)
    made = PrefixReasoner(prefix, folder, joints, settings, refused, pilot)
    made.engine = engine
    return made
