# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Visual tokens and an instruction in, a plan out."""

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.bringup.settings import ReasonerNodeSettings
from efficient_vla.instructions import checked_instruction
from efficient_vla.nodes.base.conversions import (
    message_to_tokens,
    plan_to_message,
    stamp_to_seconds,
)
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, state_qos
from efficient_vla.nodes.stages.cameras import refuse_future, transport_ms
from efficient_vla.nodes.stages.stage import Pass, StageNode, timed
from efficient_vla.policy import load_reasoner
from efficient_vla.types import InvalidRecordError, Plan, VisualTokens

NEVER = float('-inf')
FRESH_WAIT_S = 0.5
"""A new task waits so long for a frame that was captured after it was given."""
STATES = 1000
"""Robot states that wait for the next plan: some seconds; the oldest go first."""


@dataclass(frozen=True, slots=True)
class PlanJob:
    """Tokens and the instruction that holds now."""

    tokens: VisualTokens
    instruction: str
    task: int
    """Counts instructions: the same sentence given again is another task."""
    episode: int
    """Counts tasks that began anew; a change of mind under way does not."""
    transport_ms: float


class ReasonerNode(StageNode[ReasonerNodeSettings, PlanJob]):
    """Plan anew on the newest tokens, and at once when the instruction changes."""

    stage_constant = msg.EfficiencyStats.STAGE_REASONER

    def __init__(self, **options: Any) -> None:
        self._instruction = ''
        self._task = 0
        self._episode = 0
        self._stage_episode = 0
        self._newest: tuple[VisualTokens, float] | None = None
        self._not_before = NEVER
        self._sequence = 0
        self._robot_state: Any = None
        self._states: deque[tuple[np.ndarray, float]] = deque(maxlen=STATES)
        super().__init__('reasoner', ReasonerNodeSettings, **options)
        self._plan = self.create_lifecycle_publisher(msg.Plan, 'plan', latched_qos())
        self.offer_reset()
        self.create_subscription(
            msg.Instruction, 'instruction', self._instruction_received, latched_qos()
        )
        self.create_subscription(
            msg.VisualTokens, 'visual_tokens', self._tokens_received, newest_qos()
        )

    def load(self, folder: Path) -> Any:
        """Return the reasoner."""
        return load_reasoner(folder, self.settings)

    def connect(self) -> None:
        """Subscribe to the robot's state, where the reasoner looks at it."""
        if self.stage.state_names:
            self._robot_state = self.create_subscription(
                JointState, 'robot_state', self._state_received, state_qos()
            )

    def disconnect(self) -> None:
        """End the subscription."""
        if self._robot_state is not None:
            self.destroy_subscription(self._robot_state)
        self._robot_state = None

    def start(self) -> None:
        """Plan from the next tokens on; an instruction from before still holds."""
        super().start()
        self._sequence = 0
        self._newest = None
        self._states.clear()

    def flush(self, reason: str) -> None:
        """Forget earlier tokens and states."""
        self._newest = None
        # Set by the clock before; no frame of the new one would be late enough.
        self._not_before = NEVER
        self._states.clear()
        super().flush(reason)

    def method(self) -> str:
        """Return pruning with its gate, reuse and quantization."""
        pruning, reuse = self.applied.pruning, self.applied.reuse
        parts = []
        if pruning.method != 'none':
            parts.append(f'pruning={pruning.method} keep={pruning.keep}')
            if pruning.layer >= 0:
                parts.append(f'layer={pruning.layer}')
            if pruning.gate.method != 'none':
                parts.append(f'gate={pruning.gate.method}')
        if reuse.method != 'none':
            parts.append(f'reuse={reuse.method} threshold={reuse.threshold}')
        if self.applied.quantization.mode != 'none':
            parts.append(f'quantization={self.applied.quantization.mode}')
        return ' '.join(parts)

    def work(self, job: PlanJob) -> None:
        """Make one plan; it is not sent when the instruction changed meanwhile."""
        if job.episode != self._stage_episode:
            self._stage_episode = job.episode
            self.stage.reset('a task began')
        self._observe()
        begin = time.perf_counter()
        plan = self.stage.plan(job.tokens, job.instruction)
        latency = timed(begin)
        if job.task != self._task:
            self.health.counts['superseded_plans'] += 1
            return
        self._sequence += 1
        message = plan_to_message(plan)
        message.sequence = self._sequence
        self._plan.publish(message)
        self.publish_pass(
            Pass(
                stamp=plan.stamp,
                latency_ms=latency,
                transport_ms=job.transport_ms,
                tokens_total=plan.tokens_total,
                tokens_kept=len(plan.kept),
                tokens_reused=len(plan.reused),
                oldest_age_s=float(plan.reused_age.max(initial=0.0)),
                refresh_reason=self._refresh_reason(plan),
                reason=plan.reason,
                saved_ms=plan.saved_ms,
            )
        )

    def publish_diagnostics(self) -> None:
        """Say which rules fired; and plan on what there is, where nothing fresh comes."""
        super().publish_diagnostics()
        # The cache method skip sends no tokens while the scene does not change.
        if self.active and self.seconds() > self._not_before + FRESH_WAIT_S:
            waiting = self._newest is not None and self._newest[0].stamp < self._not_before
            self._not_before = NEVER
            if waiting:
                self._plan_newest()

    def _instruction_received(self, message: msg.Instruction) -> None:
        text = ''
        try:
            text = checked_instruction(message.text, message.language) if message.text else ''
            self.health.clear('instruction')
        except InvalidRecordError as error:
            # The old task must not go on in place of one that was not understood.
            self.health.error('instruction', f'rejected: {error}')
        if text == self._instruction:
            return
        # A task that begins may begin in a new scene, which earlier tokens do not show; a change
        # of mind under way does not.
        if self._instruction:
            self._not_before = NEVER
        else:
            self._not_before = min(stamp_to_seconds(message.header.stamp), self.seconds())
            self._episode += 1
        self._task += 1
        self._instruction = text
        self._pace.reset()
        self.health.clear('pass')
        if self._worker is not None:
            self._worker.discard()
        self._plan_newest()

    def _tokens_received(self, message: msg.VisualTokens, info: Any) -> None:
        if not self.active:
            return
        now = self.seconds()
        try:
            tokens = message_to_tokens(message)
            refuse_future('visual tokens', tokens.stamp, now, self.settings.max_future)
        except InvalidRecordError as error:
            self.health.error('tokens', str(error))
            return
        self.health.clear('tokens')
        self._newest = (tokens, transport_ms(info))
        self._plan_newest()

    def _state_received(self, message: JointState) -> None:
        found = self.robot_state(message)
        if found is not None:
            self._states.append(found)

    def _refresh_reason(self, plan: Plan) -> str:
        """Return why no keys and values were reused, where that was allowed."""
        allowed = self.applied.reuse.method != 'none'
        return plan.reason if allowed and not len(plan.reused) else ''

    def _observe(self) -> None:
        """Tell the stage how the robot moved since the last plan; on the worker thread."""
        refused = ''
        while True:
            try:
                values, stamp = self._states.popleft()
            except IndexError:
                break
            try:
                self.stage.observe(values, stamp)
            except InvalidRecordError as error:
                refused = str(error)
        if refused:
            self.health.error('motion', refused)
        else:
            self.health.clear('motion')

    def _plan_newest(self) -> None:
        if not self._instruction or self._newest is None:
            return
        tokens, transport = self._newest
        if tokens.stamp < self._not_before:
            return
        if self._pace.due(tokens.stamp, self.settings.max_rate):
            job = PlanJob(tokens, self._instruction, self._task, self._episode, transport)
            self.submit(job)
