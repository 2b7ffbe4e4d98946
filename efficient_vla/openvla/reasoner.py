# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""VisualTokens + instruction -> Plan, with the prompt of OpenVLA and the robot's state of OFT."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from efficient_vla.dataset_statistics import Scale
from efficient_vla.errors import CheckpointError
from efficient_vla.joints import Joints
from efficient_vla.openvla.facts import REFUSED
from efficient_vla.openvla.trunk import OpenVlaTrunk
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.reasoning.states import States
from efficient_vla.reasoning.words import Words
from efficient_vla.settings import refuse_techniques
from efficient_vla.types import Plan, VisualTokens

LACKING = {
    'fastdrivevla': 'its scorer is trained together with the action queries of a policy of this '
    'package, which an OpenVLA does not have. Choose another method.'
}
"""Learned methods of the reasoner -> why an OpenVLA has no module of theirs."""
BEFORE, AFTER = 'In: What action should the robot take to ', '?\nOut:'
LAST = 29871
"""Token of Llama 2 behind the prompt, an empty word, as in training."""


def prompt_encoder(tokenizer: Tokenizer) -> Callable[[str], Words]:
    """Return what puts a sentence into the prompt, its first token before all images."""

    def encode(sentence: str) -> Words:
        sentence = sentence.strip().lower()
        encoded = tokenizer.encode(f'{BEFORE}{sentence}{AFTER}')
        ids = list(encoded.ids)
        first, last = len(BEFORE), len(BEFORE) + len(sentence)
        inside = [k for k, (a, b) in enumerate(encoded.offsets) if a < last and b > first]
        if ids[-1] != LAST:
            ids.append(LAST)
        after = torch.ones(len(ids), dtype=torch.int64)
        after[0] = 0
        return Words(torch.tensor(ids), after, torch.tensor(inside, dtype=torch.int64))

    return encode


def load_tokenizer(folder: Path, given: str) -> Tokenizer:
    """Return the tokenizer of a folder, or of the one that is ``given``.

    Raises ``CheckpointError`` where there is none, or it has more tokens than the language model.
    """
    path = (Path(given).expanduser() if given else folder) / 'tokenizer.json'
    if not path.is_file():
        raise CheckpointError(
            f'{path} is missing. Copy it, the tokenizer of Llama 2 that comes with OpenVLA, there, '
            'or name its folder by the parameter tokenizer.'
        )
    try:
        made = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more precise
        raise CheckpointError(f'{path} is no tokenizer: {error}. Copy it again.') from error
    made.no_padding()
    made.no_truncation()
    if len(made.encode('').ids) != 1:
        raise CheckpointError(
            f'{path} puts no token before a sentence; expected the one that Llama 2 begins with, '
            'behind which OpenVLA puts the image. Copy the tokenizer of the folder again.'
        )
    return made


class OpenVlaReasoner(Reasoner):
    """The reasoner, whose plans hold a prefix to decode, or the slots of a chunk."""

    def __init__(
        self,
        trunk: OpenVlaTrunk,
        tokenizer: Tokenizer,
        tokens_per_camera: int,
        settings: ReasonerSettings,
        joints: Joints,
        proprio: Scale | None,
    ) -> None:
        """Read the robot's state by ``joints`` and, for OFT, scaled by ``proprio``."""
        self.trunk: OpenVlaTrunk
        super().__init__(
            trunk,
            tokenizer.encode,
            tokens_per_camera,
            settings,
            joints.state_names,
            lacking=LACKING,
            encode=prompt_encoder(tokenizer),
        )
        self._joints, self._proprio, self._per_camera = joints, proprio, tokens_per_camera
        self._states = States()

    def configure(self, settings: ReasonerSettings) -> None:
        """Apply settings from the next plan on; raises ``InvalidSettingError`` for others."""
        refuse_techniques('reasoner', settings, REFUSED)
        super().configure(settings)

    def observe(self, state: np.ndarray, stamp: float) -> None:
        """Take in the robot's state [S] at ``stamp`` [s]."""
        super().observe(state, stamp)
        self._states.add(state, stamp)

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode."""
        super().reset(reason)
        self._states.clear()

    def plan(self, tokens: VisualTokens, instruction: str) -> Plan:
        """Return the plan for one frame, of as many cameras as its tokens are of.

        Raises ``InvalidRecordError`` also where it needs a state and none is of the time of the
        frame.
        """
        self.text_start = self._per_camera * (int(tokens.camera.max()) + 1)
        if self._proprio is not None:
            state = self._joints.state_to_policy(self._states.nearest(tokens.stamp))
            self.trunk.state = torch.from_numpy(self._proprio.normalised(state)).to(self._device)
        return super().plan(tokens, instruction)
