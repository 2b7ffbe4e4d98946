# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy folder of LeRobot: its configuration, weights, and both processors."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError
from efficient_vla.joint_settings import POSITIONS, JointSettings
from efficient_vla.joints import Joints, joints_of
from efficient_vla.lerobot import adapters, kind_of, legacy, tokenizer as tokenizers
from efficient_vla.lerobot.agreement import check_processors, check_same
from efficient_vla.lerobot.base import ADAPTER_CONFIG, WEIGHTS, has_adapter
from efficient_vla.lerobot.features import (
    ACTION,
    STATE,
    Features,
    camera_name,
    cameras_of,
    features_of,
)
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.processors import Batch, Context, Step, pipeline
from efficient_vla.lerobot.tokenizer import TaskTokenizer
from efficient_vla.lerobot.weights import Stored, Tensors, stored
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import InvalidRecordError

BEFORE, AFTER = 'policy_preprocessor', 'policy_postprocessor'


@dataclass(frozen=True)
class LeRobotFolder:
    """A checked folder; weights are read when a policy is built of it."""

    path: Path
    type: str
    config: Fields
    input_features: Features
    """In the order of the file, which is that of the cameras."""
    output_features: Features
    tensors: Tensors
    before: list[Step]
    after: list[Step]
    renamed: Mapping[str, str]
    """Key of the robot -> key of the policy, where they differ."""
    normalisation: Mapping[str, str]
    """Feature -> mode."""
    words: TaskTokenizer | None
    """Tokenizer, where a step needs one."""
    relative: bool
    """Whether actions are counted from the state of their observation."""

    @property
    def cameras(self) -> dict[str, str]:
        """Key by which the robot gives an image -> key of the policy, in the policy's order."""
        given = {policy: robot for robot, policy in self.renamed.items()}
        return {given.get(key, key): key for key in cameras_of(self.input_features)}

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the robot's cameras."""
        return tuple(camera_name(key) for key in self.cameras)

    @property
    def state_width(self) -> int:
        """Numbers of the robot's state; 0 for a policy that does not look at it."""
        state = self.input_features.get(STATE)
        return state.shape[0] if state else 0

    @property
    def action_width(self) -> int:
        """Numbers of an action."""
        return self.output_features[ACTION].shape[0]

    def joints(self, settings: JointSettings) -> Joints:
        """Return the robot's side of state and actions, as its settings name it.

        Raises ``InvalidSettingError`` where they do not say what the folder leaves open.
        """
        if self.relative and settings.mode not in ('unknown', *POSITIONS):
            raise InvalidSettingError(
                f'joints.mode is {settings.mode}; expected {" or ".join(POSITIONS)}: the '
                f'processors of {self.path} add the state to the rows of this policy, so that they '
                'say where to go. Set it.'
            )
        named = self.config.raw('action_feature_names', None) is not None
        names = self.config.words('action_feature_names') if named else ()
        return joints_of(settings, self.state_width, self.action_width, names)

    def preprocess(self, raw: Mapping[str, Any]) -> Batch:
        """Return what the policy sees of an observation, as far as it is given.

        ``raw`` has images uint8 [rows, columns, 3] in rgb order under ``observation.images.NAME``,
        ``observation.state`` [S] in the units of the dataset, and the sentence under ``task``.
        Tensors get a first axis of 1. Raises ``InvalidRecordError`` for another shape.
        """
        batch = {key: self._tensor(key, value) for key, value in raw.items()}
        for step in self.before:
            batch = step(batch)
        return batch

    def postprocess(self, chunk: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return a normalised chunk [1, H, A] in the units of the dataset.

        ``batch`` is the observation that it was made from, as ``preprocess`` returned it.
        """
        batch = batch | {ACTION: chunk}
        for step in self.after:
            batch = step(batch)
        found: torch.Tensor = batch[ACTION]
        return found

    def _tensor(self, key: str, value: Any) -> Any:
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        if array.ndim == 3:
            if array.dtype != np.uint8 or array.shape[2] != 3:
                raise InvalidRecordError(
                    f'{key} is {array.dtype} {array.shape}; expected uint8 [rows, columns, 3].'
                )
            # One thread of numpy is done before those of torch are awake.
            planes = np.ascontiguousarray(array.transpose(2, 0, 1), np.float32)
            planes /= 255
            return torch.from_numpy(planes)[None]
        feature = self.input_features.get(self.renamed.get(key, key))
        if feature is not None and array.shape != feature.shape:
            raise InvalidRecordError(
                f'{key} has shape {list(array.shape)}; the policy expects {list(feature.shape)}. '
                'Check the robot driver.'
            )
        return torch.from_numpy(np.array(array, np.float32))[None]


def open_folder(
    path: Path, unnorm_key: str = '', tokenizer: str = '', words: bool = True
) -> LeRobotFolder:
    """Return the policy folder at ``path``, checked but for the values of its weights.

    ``unnorm_key`` names the dataset whose statistics apply where there are several, ``tokenizer``
    the folder of a tokenizer that is neither in this one nor in the cache; without ``words`` none
    is needed.
    Raises ``CheckpointError`` for what is missing or damaged, ``InvalidSettingError`` for an
    ``unnorm_key`` that the folder does not have.
    """
    kind = kind_of(path)
    config = Fields(path / 'config.json', read_json(path / 'config.json'))
    inputs, outputs = features_of(config, 'input_features'), features_of(config, 'output_features')
    _check_features(config, inputs, outputs)
    files = adapters.merged(path) if has_adapter(path) else stored(path / WEIGHTS)
    tensors = Tensors(files)
    context = Context(
        path,
        {**inputs, **outputs},
        unnorm_key,
        partial(tokenizers.load, folder=path, given=tokenizer) if words else None,
    )
    said = _processors(path, config, files, tensors, context)
    before, after = (pipeline(said[name], context) for name in (BEFORE, AFTER))
    relative = check_processors(kind, config, said[BEFORE], said[AFTER])
    if context.statistics is None:
        check_same(said[BEFORE], said[AFTER])
    return LeRobotFolder(
        path,
        kind,
        config,
        inputs,
        outputs,
        tensors,
        before,
        after,
        context.renamed,
        context.normalised,
        context.tokenizer,
        relative,
    )


def _check_features(config: Fields, inputs: Features, outputs: Features) -> None:
    """Raise ``CheckpointError`` for features that no policy of this package can have."""
    kinds = {STATE: 'STATE', ACTION: 'ACTION'}
    for key, feature in (*inputs.items(), *outputs.items()):
        if kinds.get(key, feature.kind) != feature.kind:
            raise config.error(f'type of {key}', feature.kind, kinds[key])
    wrong = [key for key, feature in inputs.items() if feature.kind == 'ACTION']
    if wrong:
        raise config.error('input_features', list(inputs), f'no action such as {wrong[0]}')
    if not cameras_of(inputs):
        raise config.error('input_features', list(inputs), 'at least one image')
    if config.values.get('use_peft') and not has_adapter(config.path.parent):
        raise CheckpointError(
            f'{config.path} has use_peft true, but no {ADAPTER_CONFIG} is beside it; expected the '
            'adapter, without which the policy is that of before its training. Copy it too.'
        )
    features = {**inputs, **outputs}
    for key, name in ((STATE, 'max_state_dim'), (ACTION, 'max_action_dim')):
        found = features.get(key)
        if found is not None and name in config.values:
            config.integer(name, low=found.shape[0])
    if 'chunk_size' in config.values:
        config.integer('n_action_steps', high=config.integer('chunk_size'))
    if list(outputs) != [ACTION]:
        raise config.error('output_features', list(outputs), f'{ACTION} alone')


def _processors(
    path: Path,
    config: Fields,
    files: Mapping[str, Stored],
    tensors: Tensors,
    context: Context,
) -> dict[str, Fields]:
    """Return both files of processors, of an older folder as they would be today."""
    places = {name: path / f'{name}.json' for name in (BEFORE, AFTER)}
    if legacy.is_legacy(files):
        tensors.without_effect(rf'{name}\..*' for name in legacy.WITHOUT_EFFECT)
        if not any(place.exists() for place in places.values()):
            context.statistics = lambda step: legacy.statistics_of(
                step, tensors, path / WEIGHTS, context.features
            )
            made = legacy.processors_of(config)
            return {name: Fields(path / 'config.json', made[name]) for name in places}
    return {name: Fields(place, read_json(place)) for name, place in places.items()}
