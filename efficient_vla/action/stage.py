# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plan (+ Frame) -> ActionChunk."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch

from efficient_vla.action.heads import Generator, Given, Since
from efficient_vla.action.settings import ActorSettings
from efficient_vla.columns import GRIPPER, POSITION_MODES
from efficient_vla.dual_settings import OWN
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import weights_mb
from efficient_vla.types import (
    ActionChunk,
    ControlMode,
    Execution,
    Frame,
    HeadHelp,
    InvalidRecordError,
    Plan,
)

KEPT = 8
"""Chunks that are remembered; the robot follows the newest that reached it."""
PASSED = 4096
"""States that are remembered with their times at most, since the frame of the newest plan."""
LATE_ROWS = 2
"""A chunk that is not followed by so much more than the delay was lost, or refused."""
DELAYS = 10
"""Measured delays that are remembered."""
LARGEST_EFFORT = 1.5
"""What a head may give for an effort of 1 before it is told; an effort saturates."""
ROUNDING = 1e-3
"""Rows by which a delay of whole rows may be measured too long."""


class Space(Protocol):
    """Units and names on both sides of a fast policy."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """Of the robot's state."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of a chunk."""

    @property
    def meaning(self) -> dict[str, Any]:
        """Names and mode, and what else a chunk is told of its columns."""

    @property
    def dt(self) -> float:
        """Seconds one row lasts."""

    def normalised(self, state: np.ndarray) -> np.ndarray:
        """Return the policy's state, float32 [S], for the robot's."""

    def actions(self, chunk: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return the robot's rows, float32 [H, A], for those of the policy made at ``state``."""

    def carried(self, chunk: np.ndarray, before: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Return the policy's rows [H, A] made at one state of the robot as made at another."""


@dataclass(frozen=True, slots=True)
class ActionSpace:
    """Units and names of a policy of this package.

    Its rows are displacements, or positions, which are counted from the measured state.
    """

    state_names: tuple[str, ...]
    state_mean: np.ndarray
    state_std: np.ndarray
    names: tuple[str, ...]
    scale: np.ndarray
    control_mode: ControlMode
    dt: float

    def normalised(self, state: np.ndarray) -> np.ndarray:
        """Return the policy's state, float32 [S], for the robot's."""
        return ((state - self.state_mean) / self.state_std).astype(np.float32)

    def actions(self, chunk: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return the robot's rows, float32 [H, A], for those of the policy made at ``state``."""
        return (chunk * self.scale + self._origin(state)).astype(np.float32)

    @property
    def meaning(self) -> dict[str, Any]:
        """What a chunk is told of its columns."""
        return {'names': self.names, 'control_mode': self.control_mode}

    def carried(self, chunk: np.ndarray, before: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Return rows for the same motion; a displacement means the same in any state."""
        shift = (self._origin(before) - self._origin(now)) / self.scale
        return (chunk + shift).astype(np.float32)

    def _origin(self, state: np.ndarray) -> np.ndarray:
        """Return what the columns of a row are counted from, [A]."""
        if self.control_mode not in POSITION_MODES:
            return np.zeros(len(self.names), np.float32)
        measured = dict(zip(self.state_names, state, strict=True))
        return np.array([measured.get(name, 0.0) for name in self.names], np.float32)


@dataclass(frozen=True, slots=True)
class _Last:
    """The chunk before."""

    normalised: torch.Tensor
    """[H, A]."""
    state: np.ndarray
    """Of the robot, [S]."""
    stamp: float
    sentence: str


class Actor:
    """Decode plans into chunks: from the plan alone, or with a fresh image beside it."""

    def __init__(
        self,
        generator: Generator,
        cameras: tuple[str, ...],
        space: Space,
        pixels: Callable[[dict[str, np.ndarray]], np.ndarray] | None,
        plan_shape: tuple[int, int],
        architecture: str = '',
    ) -> None:
        """Decode plans of ``plan_shape``, [Q, D].

        ``pixels`` turns the images of a frame into a float array [cameras * 3, rows, columns],
        where the policy looks at images. ``architecture`` says at which rate chunks are made, by
        default by whether it does.
        """
        self.generator = generator
        self.cameras = cameras
        self.space = space
        self.needs_image = generator.needs_image
        self.architecture = architecture or ('dual' if self.needs_image else 'single')
        self.state_names = space.state_names
        held = chain(generator.parameters(), generator.buffers())
        # Weights that an engine holds are on no device here.
        self._device = next((one.device for one in held if not one.is_meta), torch.device('cpu'))
        self._pixels = pixels
        self._plan_shape = plan_shape
        self.engine: Any = None
        """What is known of the engine that executes the head, where that is not torch."""
        self.conditioning = OWN
        """How plans steer the fast policy."""
        self._passed: deque[tuple[float, np.ndarray]] = deque(maxlen=PASSED)
        self._sequence = 0
        self._made: deque[_Last] = deque(maxlen=KEPT)
        self._delays: deque[int] = deque(maxlen=DELAYS)
        self._execution: Execution | None = None

    @property
    def parameters_mb(self) -> float:
        """Resident size of the policy's weights [MB]."""
        return weights_mb(self.generator)

    @property
    def delay(self) -> int:
        """Rows that are taken to be executed before the next chunk arrives."""
        return max(self._delays, default=0)

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on.

        Raises ``InvalidSettingError`` where an add-on that they need was not loaded.
        """
        self.generator.configure(settings)

    def note_execution(self, execution: Execution | None) -> None:
        """Take in how the controller executes its newest chunk, ``None`` where it has none.

        The greatest of the last ten delays is assumed for the next chunk (RTC, arXiv 2506.07339).
        NaN, which a controller says at its start and after a pause, is left out.
        Raises ``InvalidSettingError`` where its blending needs help that the head cannot give.
        """
        known, self._execution = self._execution, execution
        if execution is None:
            self._made.clear()
            return
        fresh = known is None or known.stamp != execution.stamp
        if fresh and math.isfinite(execution.delay):
            self._delays.append(max(0, math.ceil(execution.delay - ROUNDING)))
        if execution.help in (HeadHelp.NONE, *self.generator.helps):
            return
        lacks = 'cannot draw a chunk to the one before'
        if self.generator.helps:
            lacks = 'was not trained for it'
        if self.engine is not None:
            lacks = f'executed by {self.engine.engine}, cannot draw a chunk to the one before'
        raise InvalidSettingError(
            f'controller.blending.method is {execution.blending}, but this head {lacks}. Set '
            'controller.blending.method to offset_fade, or actor.head to flow in a policy that '
            'has it.'
        )

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode: forget the chunk before; the delay is the machine's and stays."""
        self._made.clear()
        self._passed.clear()
        self._execution = None
        self.generator.reset()

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return the actions that follow ``frame``.

        'single' takes no image; its frame carries the state at the plan's capture time.
        Raises ``InvalidRecordError`` for a plan or a state of the wrong shape, and where tokens of
        a head make no chunk.
        """
        started = time.perf_counter()
        self._check_plan(plan)
        if frame.state.shape != (len(self.state_names),):
            raise InvalidRecordError(
                f'robot state has {len(frame.state)} numbers; the policy expects '
                f'{len(self.state_names)}: {", ".join(self.state_names)}. Check the robot driver.'
            )
        space = self.space
        state = torch.from_numpy(space.normalised(frame.state))[None].to(self._device)
        pixels = None
        if self.needs_image:
            assert self._pixels is not None
            pixels = torch.from_numpy(self._pixels(frame.images))[None].to(self._device)
        before, same_task = self._before(plan, frame)
        with torch.inference_mode():
            made = self.generator.make(
                Given(
                    torch.from_numpy(plan.latents)[None].to(self._device),
                    state,
                    pixels,
                    before,
                    self.delay,
                    same_task,
                    self._execution.help if self._execution is not None else HeadHelp.NONE,
                    plan.cache,
                    self._since(plan, frame) if self.generator.needs_since else None,
                )
            )
        self._made.append(_Last(made.chunk, frame.state, frame.stamp, plan.sentence))
        self._sequence += 1
        actions = space.actions(made.chunk.cpu().numpy(), frame.state)
        note = made.note
        if GRIPPER in space.names:
            effort = actions[:, space.names.index(GRIPPER)]
            worst = float(effort[np.abs(effort).argmax()])
            if abs(worst) > LARGEST_EFFORT:
                note = '; '.join(filter(None, [note, f'gripper {worst:.4g} taken as its end']))
            effort[:] = effort.clip(-1, 1)
        return ActionChunk.of(
            plan,
            frame,
            actions=actions,
            dt=space.dt,
            **space.meaning,
            sequence=self._sequence,
            latency_ms=(time.perf_counter() - started) * 1e3,
            steps=made.steps,
            delay=made.delay,
            note=note,
        )

    def _check_plan(self, plan: Plan) -> None:
        """Refuse a plan of another policy, and one whose keys and values stayed elsewhere."""
        if plan.latents.shape != self._plan_shape:
            raise InvalidRecordError(
                f'plan has shape {list(plan.latents.shape)}; the policy expects '
                f'{list(self._plan_shape)}. Give reasoner and actor the same policy.'
            )
        if not self.generator.needs_cache:
            return
        if plan.cache is None:
            raise InvalidRecordError(
                'plan came without the keys and values that this policy decodes. Run reasoner and '
                'actor in the same process.'
            )
        self.generator.check(plan.cache)
        fixed = plan.cache.state is not None and plan.cache.renewed is None
        if fixed and self.architecture == 'dual':
            raise InvalidRecordError(
                'plan came from another process with the state of the robot in its cache; '
                'architecture dual renews that row, which only the process of the reasoner can. '
                'Run both in one process, or set architecture to single.'
            )

    def _since(self, plan: Plan, frame: Frame) -> Since:
        """Return what happened since the frame of a plan, by the state that is nearest to it."""
        passed = self._passed
        passed.append((frame.stamp, frame.state))
        while len(passed) > 1 and passed[1][0] <= plan.stamp:
            passed.popleft()
        _, state = min(list(passed)[:2], key=lambda passed: abs(passed[0] - plan.stamp))
        space = self.space
        carried = space.carried(np.zeros((1, len(space.names)), np.float32), state, frame.state)
        rows = max(0, round((frame.stamp - plan.stamp) / space.dt))
        return Since(
            torch.tensor([rows], device=self._device),
            torch.from_numpy(space.normalised(state))[None].to(self._device),
            torch.from_numpy(carried)[None].to(self._device),
        )

    def _before(self, plan: Plan, frame: Frame) -> tuple[torch.Tensor | None, bool]:
        """Return the rows of the chunk before from this frame on, and whether its task is ours.

        They are the policy's own at the state of this frame, counted from what the controller says
        of that chunk, as far as it did yet, and from the observation otherwise. Of a robot that
        stands none is ahead.
        """
        if not self._made or frame.stamp < self._made[-1].stamp:
            return None, True
        last, execution = self._followed(), self._execution
        ahead = (frame.stamp - last.stamp) / self.space.dt
        if execution is not None and self._is_of(execution, last):
            if execution.time_scale == 0:
                return None, True
            ahead = execution.row_at(frame.stamp, self.space.dt)
        passed = round(ahead)
        if passed >= len(last.normalised):
            return None, True
        rows = self.space.carried(last.normalised[passed:].cpu().numpy(), last.state, frame.state)
        return torch.from_numpy(rows).to(self._device), last.sentence == plan.sentence

    def _followed(self) -> _Last:
        """Return the chunk that the robot follows when the next one comes.

        That is the newest, unless the controller should have it by now and tells of another one:
        it was lost then, refused or replaced on its way.
        """
        newest, execution = self._made[-1], self._execution
        due = newest.stamp + (self.delay + LATE_ROWS) * self.space.dt
        if execution is None or execution.time < due:
            return newest
        followed = [made for made in self._made if self._is_of(execution, made)]
        return followed[-1] if followed else newest

    def _is_of(self, execution: Execution, made: _Last) -> bool:
        return abs(execution.stamp - made.stamp) < self.space.dt / 2
