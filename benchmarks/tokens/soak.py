# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Thousands of frames with everything that can change changing, to find what breaks or leaks."""

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Soak:
    """What happened so far."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    oldest_token_s: float = 0.0
    oldest_slot_s: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)


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


def soak(
    policy: Path, frames: int, seed: int, on_frame: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Run ``frames`` frames and return the row; ``failures`` is 0 where all went well.

    The same seed gives the same frames, settings, instructions and accidents.
    """
    random = np.random.default_rng(seed)
    settings = build_settings({})
    stages = Policy.from_settings(policy, settings)
    camera, found = AnyCamera(random), Soak()
    current = {node: settings[node] for node in ('perception', 'reasoner')}
    sentences = list(INSTRUCTIONS.values())
    sentence, now = sentences[0], 0.0
    state: np.ndarray = np.zeros(len(stages.actor.state_names), np.float32)
    process = psutil.Process()
    for index in range(frames):
        now += PERIOD_S
        if random.random() < JUMP:
            now += random.choice((-30.0, -0.5, 0.5, 5.0, 60.0))
            found.counts['clock jumps'] += 1
        if random.random() < PARAMETERS:
            _change_parameters(random, stages, current, found)
        if random.random() < INSTRUCTION:
            sentence = str(random.choice(sentences))
            found.counts['instruction changes'] += 1
        if random.random() < RESET:
            _reset_camera(random, stages, camera, found)
        state = (state + random.normal(0, 0.01, state.shape)).astype(np.float32)
        frame = Frame(dict.fromkeys(stages.perception.cameras, camera.image()), state, now)
        if random.random() < DROPPED:
            found.counts['dropped frames'] += 1
        else:
            _one_frame(random, stages, frame, sentence, current, found, index)
        if index >= WARM_UP_SHARE * frames and index % MEMORY_EVERY == 0:
            found.memory_mb.append(process.memory_info().rss / 1e6)
        if on_frame:
            on_frame()
    return _row(frames, found)


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


def _change_parameters(
    random: np.random.Generator, stages: Policy, current: dict[str, Any], found: Soak
) -> None:
    """Set some parameters of one stage; a set that is refused must leave the stage as it was."""
    node = str(random.choice(('perception', 'reasoner')))
    values = draw_settings(random, type(current[node]))
    stage = getattr(stages, node)
    found.counts['parameter changes'] += 1
    try:
        settings = build(type(current[node]), values, current[node])
        stage.configure(settings)
    except (InvalidSettingError, InvalidRecordError):
        found.counts['refused sets'] += 1
        return
    current[node] = settings


def _reset_camera(
    random: np.random.Generator, stages: Policy, camera: AnyCamera, found: Soak
) -> None:
    found.counts['camera resets'] += 1
    camera.change_scene()
    if random.random() < 0.5:
        stages.perception.reset('camera restarted')
    else:
        stages.reset()


def _one_frame(
    random: np.random.Generator,
    stages: Policy,
    frame: Frame,
    sentence: str,
    current: dict[str, Any],
    found: Soak,
    index: int,
) -> None:
    try:
        stages.reasoner.observe(frame.state, frame.stamp)
        tokens = stages.perception.encode(frame)
        if tokens is None:
            found.counts['unchanged frames'] += 1
            return
        _check_tokens(tokens, current['perception'].cache, found, index)
        if random.random() < DROPPED:
            found.counts['lost tokens'] += 1
            return
        plan = stages.reasoner.plan(tokens, sentence)
    except InvalidRecordError as error:
        # Two stages may be set so that they do not fit, such as a selector without its signals.
        # The message says so and somebody sets the reasoner back.
        found.counts['refused passes'] += 1
        found.reasons[str(error)[:120]] += 1
        current['reasoner'] = ReasonerSettings()
        stages.reasoner.configure(current['reasoner'])
    except Exception as error:
        found.failures.append(f'frame {index}: {type(error).__name__}: {error}')
    else:
        found.counts['plans'] += 1
        _check_plan(plan, current['reasoner'].reuse, found, index)


def _check_tokens(tokens: VisualTokens, cache: Any, found: Soak, index: int) -> None:
    oldest = float(tokens.age.max())
    found.oldest_token_s = max(found.oldest_token_s, oldest)
    if oldest > cache.max_age + CLOCK_SLACK_S:
        found.failures.append(
            f'frame {index}: a token is {oldest:.3f} s old; cache.max_age is {cache.max_age:.3f}'
        )


def _check_plan(plan: Plan, reuse: Any, found: Soak, index: int) -> None:
    oldest = float(plan.reused_age.max(initial=0.0))
    found.oldest_slot_s = max(found.oldest_slot_s, oldest)
    found.counts['plans with reused slots'] += bool(len(plan.reused))
    found.counts['plans with dropped tokens'] += len(plan.kept) < plan.tokens_total
    if len(plan.reused) and reuse.method == 'none':
        found.failures.append(f'frame {index}: slots are reused although reuse.method is none')
    if oldest > reuse.max_age + CLOCK_SLACK_S:
        found.failures.append(
            f'frame {index}: a slot is {oldest:.3f} s old; reuse.max_age is {reuse.max_age:.3f}'
        )


def memory_growth(samples_mb: list[float]) -> float:
    """Return how much the last tenth of the samples is above the first tenth, by medians [MB]."""
    if len(samples_mb) < 2:
        return 0.0
    tenth = max(1, len(samples_mb) // 10)
    return float(np.median(samples_mb[-tenth:]) - np.median(samples_mb[:tenth]))


def _row(frames: int, found: Soak) -> dict[str, Any]:
    gc.collect()
    growth = memory_growth(found.memory_mb)
    if growth > GROWTH_LIMIT_MB:
        found.failures.append(f'memory grew by {growth:.0f} MB; expected {GROWTH_LIMIT_MB:.0f}')
    return {
        'name': f'{frames} frames',
        'frames': frames,
        'failures': len(found.failures),
        'first_failure': found.failures[0] if found.failures else '',
        'oldest_token_s': found.oldest_token_s,
        'oldest_slot_s': found.oldest_slot_s,
        'memory_growth_mb': growth,
        'memory_growth_second_half_mb': memory_growth(found.memory_mb[len(found.memory_mb) // 2 :]),
        'memory_mb': found.memory_mb[-1] if found.memory_mb else None,
        **{name.replace(' ', '_'): count for name, count in sorted(found.counts.items())},
        'refusals': '; '.join(f'{n}x {text}' for text, n in found.reasons.most_common(3)),
    }
