# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Thousands of frames with everything that can change changing, to find what breaks or leaks."""

import gc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from efficient_vla.bench.overrides import build_settings
from efficient_vla.policy import Policy
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import InvalidSettingError, Spec, build, specs
from efficient_vla.sim.metaworld.tasks import INSTRUCTIONS
from efficient_vla.types import Frame, InvalidRecordError, Plan, VisualTokens

PERIOD_S = 0.1
SIDE = 144
WARM_UP_SHARE = 0.2
"""Of the frames; allocators and kernels have settled after them."""
MEMORY_EVERY = 10
GROWTH_LIMIT_MB = 48.0
"""More than this between the first and the last frames after warm-up is a leak: it would be 5 kB a
frame of a long run."""
CLOCK_SLACK_S = 1e-3
"""Ages are float32, caps are compared in float64."""

PARAMETERS = 0.1
INSTRUCTION = 0.01
DROPPED = 0.1
RESET = 0.005
JUMP = 0.005
MOTION = 0.5
"""Chances a frame."""


class AnyCamera:
    """A picture with noise in which a block moves in some frames; new scenery after a reset."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self.change_scene()

    def change_scene(self) -> None:
        """Show something else from now on."""
        coarse = self._random.integers(0, 255, (12, 12, 3), np.uint8)
        self._scene = np.kron(coarse, np.ones((SIDE // 12, SIDE // 12, 1), np.uint8))
        self._at = self._random.integers(0, SIDE - 24, 2)

    def image(self) -> np.ndarray:
        """Return uint8 [SIDE, SIDE, 3]."""
        if self._random.random() < MOTION:
            self._at = (self._at + self._random.integers(-8, 9, 2)).clip(0, SIDE - 24)
        image = self._scene + self._random.integers(0, 2, self._scene.shape, np.uint8)
        row, column = self._at
        image[row : row + 24, column : column + 24] = (200, 40, 40)
        return image


def soak(policy: Path, frames: int, seed: int) -> dict[str, Any]:
    """Run ``frames`` frames and return the row; ``failures`` is 0 where all went well.

    The same seed gives the same frames, settings, instructions and accidents.
    """
    run = Soak(policy, np.random.default_rng(seed))
    process = psutil.Process()
    for index in range(frames):
        run.frame(index)
        if index >= WARM_UP_SHARE * frames and index % MEMORY_EVERY == 0:
            run.memory_mb.append(process.memory_info().rss / 1e6)
    return run.row(frames)


class Soak:
    """A policy under accidents, and what happened so far."""

    def __init__(self, policy: Path, random: np.random.Generator) -> None:
        settings = build_settings({})
        self.memory_mb: list[float] = []
        self._random = random
        self._stages = Policy.from_settings(policy, settings)
        self._settings = {node: settings[node] for node in ('perception', 'reasoner')}
        self._camera = AnyCamera(random)
        self._sentence = next(iter(INSTRUCTIONS.values()))
        self._now = 0.0
        self._state: np.ndarray = np.zeros(len(self._stages.actor.state_names), np.float32)
        self._counts: Counter[str] = Counter()
        self._failures: list[str] = []
        self._refusals: Counter[str] = Counter()
        self._oldest_token_s = self._oldest_slot_s = 0.0
        self._valid_until = 0.0

    def frame(self, index: int) -> None:
        """Let time pass, something happen perhaps, and show the next frame."""
        random = self._random
        self._now += PERIOD_S
        if random.random() < JUMP:
            self._now += random.choice((-30.0, -0.5, 0.5, 5.0, 60.0))
            self._counts['clock jumps'] += 1
        if random.random() < PARAMETERS:
            self._change_parameters()
        if random.random() < INSTRUCTION:
            self._sentence = str(random.choice(list(INSTRUCTIONS.values())))
            self._counts['instruction changes'] += 1
        if random.random() < RESET:
            self._reset_camera()
        noise = random.normal(0, 0.01, self._state.shape)
        self._state = (self._state + noise).astype(np.float32)
        images = dict.fromkeys(self._stages.perception.cameras, self._camera.image())
        if random.random() < DROPPED:
            self._counts['dropped frames'] += 1
        else:
            self._pass(Frame(images, self._state, self._now), index)

    def row(self, frames: int) -> dict[str, Any]:
        """Return what happened in so many frames."""
        gc.collect()
        memory, failures = self.memory_mb, self._failures
        growth = memory_growth(memory)
        if growth > GROWTH_LIMIT_MB:
            failures.append(f'memory grew by {growth:.0f} MB; expected {GROWTH_LIMIT_MB:.0f}')
        return {
            'name': f'{frames} frames',
            'frames': frames,
            'failures': len(failures),
            'first_failure': failures[0] if failures else '',
            'oldest_token_s': self._oldest_token_s,
            'oldest_slot_s': self._oldest_slot_s,
            'memory_growth_mb': growth,
            'memory_growth_second_half_mb': memory_growth(memory[len(memory) // 2 :]),
            'memory_mb': memory[-1] if memory else None,
            **{name.replace(' ', '_'): count for name, count in sorted(self._counts.items())},
            'refusals': '; '.join(f'{n}x {text}' for text, n in self._refusals.most_common(3)),
        }

    def _change_parameters(self) -> None:
        """Set some parameters of one stage; a set that is refused must leave it as it was."""
        node = str(self._random.choice(('perception', 'reasoner')))
        before = self._settings[node]
        values = draw_settings(self._random, type(before))
        self._counts['parameter changes'] += 1
        try:
            settings = build(type(before), values, before)
            getattr(self._stages, node).configure(settings)
        except (InvalidSettingError, InvalidRecordError):
            self._counts['refused sets'] += 1
            return
        self._settings[node] = settings

    def _reset_camera(self) -> None:
        self._counts['camera resets'] += 1
        self._camera.change_scene()
        if self._random.random() < 0.5:
            self._stages.perception.reset('camera restarted')
        else:
            self._stages.reset()

    def _pass(self, frame: Frame, index: int) -> None:
        try:
            self._stages.reasoner.observe(frame.state, frame.stamp)
            tokens = self._stages.perception.encode(frame)
            if tokens is None:
                self._counts['unchanged frames'] += 1
                return
            self._check_tokens(tokens, index)
            if self._random.random() < DROPPED:
                self._counts['lost tokens'] += 1
                return
            plan = self._stages.reasoner.plan(tokens, self._sentence)
        except InvalidRecordError as error:
            # Two stages may be set so that they do not fit, such as a selector without its signals.
            # The message says so and somebody sets the reasoner back.
            self._counts['refused passes'] += 1
            self._refusals[str(error)[:120]] += 1
            self._settings['reasoner'] = ReasonerSettings()
            self._stages.reasoner.configure(self._settings['reasoner'])
        except Exception as error:
            self._failures.append(f'frame {index}: {type(error).__name__}: {error}')
        else:
            self._check_plan(plan, index)

    def _check_tokens(self, tokens: VisualTokens, index: int) -> None:
        oldest, cap = float(tokens.age.max()), self._settings['perception'].cache.max_age
        self._oldest_token_s = max(self._oldest_token_s, oldest)
        if oldest > cap + CLOCK_SLACK_S:
            self._failures.append(
                f'frame {index}: a token is {oldest:.3f} s old; cache.max_age is {cap:.3f}'
            )

    def _check_plan(self, plan: Plan, index: int) -> None:
        self._counts['plans'] += 1
        valid_until = plan.stamp + plan.valid_for
        if plan.reason.startswith('plan before'):
            # No slot is used: what bounds the age of such a plan is how long it was valid anyway.
            self._counts['plans that answered again'] += 1
            if valid_until > self._valid_until + CLOCK_SLACK_S:
                self._failures.append(f'frame {index}: the plan before is valid for longer now')
            return
        self._valid_until = valid_until
        oldest, reuse = float(plan.reused_age.max(initial=0.0)), self._settings['reasoner'].reuse
        self._oldest_slot_s = max(self._oldest_slot_s, oldest)
        self._counts['plans with reused slots'] += bool(len(plan.reused))
        self._counts['plans with dropped tokens'] += len(plan.kept) < plan.tokens_total
        if len(plan.reused) and reuse.method == 'none':
            self._failures.append(f'frame {index}: slots are reused although reuse.method is none')
        if oldest > reuse.max_age + CLOCK_SLACK_S:
            self._failures.append(
                f'frame {index}: a slot is {oldest:.3f} s old; reuse.max_age is {reuse.max_age:.3f}'
            )


def draw_settings(random: np.random.Generator, kind: type) -> dict[str, Any]:
    """Return random values, inside their ranges, for about a third of a kind's live settings."""
    return {
        name: _draw(random, default, spec)
        for name, default, spec in specs(kind)
        if not spec.read_only and random.random() < 1 / 3
    }


def _draw(random: np.random.Generator, default: Any, spec: Spec) -> Any:
    if spec.choices:
        return str(random.choice(spec.choices))
    if isinstance(default, bool):
        return bool(random.random() < 0.5)
    if isinstance(default, (int, float)):
        low = spec.low if spec.low is not None else 0.0
        high = spec.high if spec.high is not None else low + 100.0
        # Ranges span decades: half of the draws stay near the default.
        if random.random() < 0.5:
            high = min(high, max(2.0 * default, low + 1e-3))
        value = random.uniform(low, max(low, high))
        return round(value) if isinstance(default, int) else float(value)
    return default


def memory_growth(samples_mb: list[float]) -> float:
    """Return how much the last tenth of the samples is above the first tenth, by medians [MB]."""
    if len(samples_mb) < 2:
        return 0.0
    tenth = max(1, len(samples_mb) // 10)
    return float(np.median(samples_mb[-tenth:]) - np.median(samples_mb[:tenth]))
