# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A tiny policy without a network: the whole graph runs with it, and nothing needs torch.

Tokens are mean colours, latents are a direction and mean colours, and chunks move in that
direction. ``policy.json`` holds ``PassthroughCard``'s fields beside ``policy_type: passthrough``.
One whose card names neither columns nor cameras takes those of the robot's profile.
"""

import math
import time
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from efficient_vla import cards
from efficient_vla.action.settings import ActorSettings
from efficient_vla.errors import CheckpointError
from efficient_vla.instructions import checked_instruction
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.statistics import Savings
from efficient_vla.types import (
    ActionChunk,
    ControlMode,
    Execution,
    Frame,
    Plan,
    VisualTokens,
    grid_map,
)


@dataclass(frozen=True, slots=True)
class PassthroughCard:
    """What a pass-through policy does."""

    of_any_robot: ClassVar[bool] = True
    """Columns and cameras may be left to the profile of the robot."""
    velocity: tuple[float, ...] = (0.0, 0.1, 0.0)
    """Direction of all motion [m/s or rad/s], a value for every column but the gripper, or one."""
    period: float = 0.0
    """The motion swings, and is where it began after so long [s]; 0: it goes on and on."""
    gripper: float = -1.0
    """Gripper effort in [-1, 1]."""
    horizon: int = 40
    dt: float = 0.0125
    """Seconds one row lasts."""
    grid: tuple[int, ...] = (4, 4)
    """Rows and columns of tokens."""
    queries: int = 4
    cameras: tuple[str, ...] = ('corner2',)
    state_names: tuple[str, ...] = ('x', 'y', 'z', 'gripper')
    action_names: tuple[str, ...] = ('x', 'y', 'z', 'gripper')
    control_mode: str = 'EE_DELTA'
    latency_ms: dict[str, float] = field(default_factory=dict)
    """Artificial time of a pass, by stage: perception (unless it reuses all), reasoner, actor."""


def read_card(path: str | PathLike[str]) -> PassthroughCard:
    """Return the card of a policy folder.

    Raises ``CheckpointError`` when the file is missing or says something else.
    """
    file = Path(path) / 'policy.json'
    values = cards.read_json(file)
    values.pop('policy_type', None)
    card = cards.make(PassthroughCard, file, values)
    axes = len(set(card.action_names) - {'gripper'})
    if len(card.velocity) not in (1, axes or 1):
        raise CheckpointError(
            f'{file} has a velocity of {len(card.velocity)} values; expected {axes}, one for every '
            'column of action_names but the gripper.'
        )
    if card.control_mode not in ControlMode.__members__:
        raise CheckpointError(
            f'{file} has control_mode {card.control_mode!r}; expected one of '
            f'{", ".join(ControlMode.__members__)}.'
        )
    return card


class PassthroughStage:
    """What all three share."""

    parameters_mb = 0.0

    def __init__(self, card: PassthroughCard, settings: Any) -> None:
        self.cameras = card.cameras or cameras_of_profile(settings)
        self.state_names = card.state_names or names_of_profile(settings)
        self._card = card
        self._settings = settings
        self._sequence = 0

    @classmethod
    def load(cls, path: str | PathLike[str], settings: Any) -> Self:
        """Return the stage of a policy folder."""
        return cls(read_card(path), settings)

    def configure(self, settings: Any) -> None:
        """Apply settings from the next pass on."""
        self._settings = settings

    def reset(self, reason: str = 'reset') -> None:
        """Forget earlier frames, where any is remembered."""

    def _wait(self, stage: str) -> None:
        time.sleep(max(self._card.latency_ms.get(stage, 0.0), 0.0) / 1e3)


class PassthroughPerception(PassthroughStage):
    """Mean colours of a grid of cells."""

    def __init__(self, card: PassthroughCard, settings: PerceptionSettings) -> None:
        super().__init__(card, settings)
        self.epoch = 0
        self.last = None
        self._reason = 'first frame'
        self._features: np.ndarray | None = None
        self._stamp = 0.0

    def encode(self, frame: Frame) -> VisualTokens | None:
        """Return [cameras * rows * columns, 3] mean colours from 0 to 1."""
        begin = time.perf_counter()
        rows, columns = self._card.grid
        colours = np.concatenate([mean_colours(i, rows, columns) for i in frame.images.values()])
        reason = self._refresh_reason(colours, frame.stamp)
        if not reason and self._settings.cache.method == 'skip':
            return None
        if reason or self._features is None:
            self._wait('perception')
            self._features, self._stamp, self._reason = colours, frame.stamp, ''
        return VisualTokens(
            features=self._features,
            **grid_map(len(colours), (rows, columns)),
            age=np.full(len(colours), frame.stamp - self._stamp, np.float32),
            grid=(rows, columns),
            stamp=frame.stamp,
            epoch=self.epoch,
            latency_ms=(time.perf_counter() - begin) * 1e3,
            refresh_reason=reason,
        )

    def reset(self, reason: str = 'reset') -> None:
        """Forget earlier frames."""
        self.epoch += 1
        self._features = None
        self._reason = reason

    def _refresh_reason(self, colours: np.ndarray, stamp: float) -> str:
        cache = self._settings.cache
        if self._features is None or self._features.shape != colours.shape:
            return self._reason or 'first frame'
        if cache.method == 'none':
            return 'cache is off'
        if not 0 <= stamp - self._stamp <= cache.max_age:
            return 'max_age'
        if np.abs(colours - self._features).max() > cache.threshold:
            return 'frame changed'
        return ''


class PassthroughReasoner(PassthroughStage):
    """The direction of the card, and mean colours."""

    signals = False

    def __init__(self, card: PassthroughCard, settings: ReasonerSettings) -> None:
        super().__init__(card, settings)
        self._savings = Savings()

    def observe(self, state: np.ndarray, stamp: float) -> None:
        """Take in the robot's state; a plan does not depend on it."""

    def plan(self, tokens: VisualTokens, instruction: str) -> Plan:
        """Return latents [Q, 3 or more]: the velocity, then mean colours of the kept tokens."""
        instruction = checked_instruction(instruction)
        begin = time.perf_counter()
        self._wait('reasoner')
        pruning = self._settings.pruning
        total = len(tokens.features)
        count = total if pruning.method == 'none' else max(round(pruning.keep * total), 1)
        kept = np.unique(np.linspace(0, total - 1, count).round().astype(int))
        names = self._card.action_names or names_of_profile(self._settings)
        axes = len(set(names) - {'gripper'})
        latents = np.zeros((self._card.queries, max(3, axes)))
        latents[:, :3] = tokens.features[kept].mean(0)
        latents[0, :axes] = self._card.velocity
        self._sequence += 1
        latency = (time.perf_counter() - begin) * 1e3
        return Plan(
            latents=latents.astype(np.float32),
            instruction=instruction,
            stamp=tokens.stamp,
            valid_for=self._settings.plan_validity,
            sequence=self._sequence,
            kept=tokens.position[kept],
            tokens_total=total,
            latency_ms=latency,
            reason='' if pruning.method == 'none' else f'kept {count} of {total}, evenly spread',
            saved_ms=self._savings.add(latency, full=count == total),
        )


class PassthroughActor(PassthroughStage):
    """Rows that move with the plan's velocity."""

    def __init__(self, card: PassthroughCard, settings: ActorSettings) -> None:
        super().__init__(card, settings)
        if not (card.action_names or names_of_profile(settings)):
            raise CheckpointError(
                'the policy names no columns, and joints.names of the profile is empty; expected '
                'the joints of the robot in one of them. Name them in its profile.'
            )
        self.architecture = settings.own_architecture
        self.needs_image = self.architecture == 'dual'

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return [H, A] rows of displacements [m or rad], and the effort of a gripper."""
        begin = time.perf_counter()
        self._wait('actor')
        card = self._card
        names = card.action_names or names_of_profile(self._settings)
        moves = iter(plan.latents[0] * card.dt)
        row = np.array([0.0 if n == 'gripper' else next(moves) for n in names])
        rows = np.tile(row.astype(np.float32), (card.horizon, 1))
        if card.period:
            # The phase is that of the clock, so that every chunk goes on where the last one is.
            times = (frame.stamp % card.period) + card.dt * (np.arange(card.horizon) + 0.5)
            rows *= np.cos(2 * math.pi / card.period * times)[:, None].astype(np.float32)
        rows[:, [name == 'gripper' for name in names]] = card.gripper
        self._sequence += 1
        return ActionChunk.of(
            plan,
            frame,
            actions=rows,
            dt=card.dt,
            names=names,
            control_mode=ControlMode[self._card.control_mode],
            sequence=self._sequence,
            latency_ms=(time.perf_counter() - begin) * 1e3,
        )

    def note_execution(self, execution: Execution | None) -> None:
        """Do nothing: rows that are all alike need no knowledge of their execution."""


def names_of_profile(settings: Any) -> tuple[str, ...]:
    """Return the columns that the robot's profile names, where the stage is told any."""
    joints = getattr(settings, 'joints', None)
    return joints.names if joints is not None else ()


def cameras_of_profile(settings: Any) -> tuple[str, ...]:
    """Return the first camera whose topic the robot's profile names, or one of any name."""
    topics = getattr(settings, 'camera_topics', ())
    return (topics[0].partition(':=')[0] if topics else 'camera',)


def mean_colours(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the mean colour of each cell, float32 from 0 to 1, [rows * columns, 3]."""
    height, width = image.shape[0] // rows, image.shape[1] // columns
    cells = image[: rows * height, : columns * width].reshape(rows, height, columns, width, 3)
    means = cells.mean(axis=(1, 3), dtype=np.float32) / np.float32(255)
    return means.reshape(rows * columns, 3)


load_perception = PassthroughPerception.load
load_reasoner = PassthroughReasoner.load
load_actor = PassthroughActor.load
