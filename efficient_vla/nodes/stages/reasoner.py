# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Visual tokens and an instruction in, a plan out."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Empty

from efficient_vla import msg
from efficient_vla.bringup.settings import ReasonerNodeSettings
from efficient_vla.nodes.base.conversions import (
    message_to_tokens,
    plan_to_message,
    refuse_future,
    stamp_to_seconds,
)
from efficient_vla.nodes.base.history import overtaken
from efficient_vla.nodes.base.qos import latched_qos, newest_qos
from efficient_vla.nodes.base.source import SOURCE_S, OneSource
from efficient_vla.nodes.stages import plan_cache
from efficient_vla.nodes.stages.calibration import CameraCalibration
from efficient_vla.nodes.stages.cameras import transport_ms
from efficient_vla.nodes.stages.instructed import InstructedNode
from efficient_vla.nodes.stages.stage import SIGNALS_WANTED, Pass
from efficient_vla.places import PolicyPlace
from efficient_vla.policy import load_reasoner
from efficient_vla.stages import ReasonerStage
from efficient_vla.types import InvalidRecordError, Plan, VisualTokens

if TYPE_CHECKING:
    from efficient_vla.nodes.stages.subtasks import Subtasks

NEVER = float('-inf')
FRESH_WAIT_S = 0.5
"""A new task waits so long for a frame that was captured after it was given."""
FRESH_LOOK_S = 0.1
"""How often it is looked whether that time is over."""
STATES_S = 10.0
"""Robot states of so long wait for the next plan; the oldest go first."""


@dataclass(frozen=True, slots=True)
class PlanJob:
    """Tokens and the instruction that holds now."""

    tokens: VisualTokens
    instruction: str
    subtask: str
    """What the decoder reads in its place; empty: the instruction."""
    task: int
    """Counts instructions: the same sentence given again is another task."""
    episode: int
    """Counts tasks that began anew; a change of mind under way does not."""
    transport_ms: float


class ReasonerNode(InstructedNode[ReasonerNodeSettings, PlanJob, ReasonerStage]):
    """Plan anew on the newest tokens, and at once when the instruction changes."""

    stage_constant = msg.EfficiencyStats.STAGE_REASONER

    def __init__(self, **options: Any) -> None:
        self._episode = 0
        self._stage_episode = 0
        self._newest: tuple[VisualTokens, float] | None = None
        self._not_before = NEVER
        self._observed = NEVER
        self._fresh_timer: Any = None
        self._signals_wanted: Any = None
        self._calibration: CameraCalibration | None = None
        self._subtasks: Subtasks | None = None
        self._projects = False
        """Whether the newest projection waits for the end of the pass under way."""
        super().__init__('reasoner', ReasonerNodeSettings, **options)
        self._states.keep = STATES_S
        self._plan = self._output = self.create_lifecycle_publisher(msg.Plan, 'plan', latched_qos())
        self._cache = self.create_lifecycle_publisher(
            msg.PlanCache, plan_cache.TOPIC, latched_qos()
        )
        self.offer_reset()
        self._source = OneSource(self, 'visual_tokens', 'visual tokens')
        qos = newest_qos()
        self.create_subscription(msg.VisualTokens, 'visual_tokens', self._tokens_received, qos)
        self._expected = self.waiting.expect(
            'visual_tokens', msg.VisualTokens, qos, needed=lambda: self.tasked
        )

    def load(self, place: PolicyPlace) -> ReasonerStage:
        """Return the reasoner."""
        return load_reasoner(place, self.settings)

    def connect(self) -> None:
        """Subscribe to the robot's state; plans go on without it."""
        self.follow_robot(self.loaded.state_names, required=False)
        if self.settings.camera_infos:
            self._projects = False
            self._calibration = CameraCalibration(self, self._projected)
        if self.settings.subtasks.server:
            from efficient_vla.nodes.stages.subtasks import Subtasks

            self._subtasks = Subtasks(self)
        self.changed(self.settings, self.settings)

    def changed(self, earlier: ReasonerNodeSettings, settings: ReasonerNodeSettings) -> None:
        """Let perception see whether it must not switch its signals off; nothing is sent."""
        wanted = self.stage is not None and settings.pruning.needs_signals
        if wanted and self._signals_wanted is None:
            self._signals_wanted = self.create_subscription(
                Empty, SIGNALS_WANTED, lambda _: None, newest_qos()
            )
        elif not wanted and self._signals_wanted is not None:
            self.destroy_subscription(self._signals_wanted)
            self._signals_wanted = None

    def accept(self, settings: ReasonerNodeSettings) -> None:
        """Keep the projection that was measured."""
        known = None if self._calibration is None else self._calibration.projection
        super().accept(settings if known is None else _projecting(settings, known))

    def teardown(self) -> None:
        """Free the policy; nothing is needed of perception then."""
        super().teardown()
        if self._calibration is not None:
            self._calibration.close()
        self._calibration = None
        if self._subtasks is not None:
            self._subtasks.close()
        self._subtasks = None
        plan_cache.forget(self._plan.topic_name)
        self.changed(self.settings, self.settings)

    def start(self) -> None:
        """Plan from the next tokens on; an instruction from before still holds."""
        super().start()
        self._newest = None
        self._states.clear()
        self._fresh_timer = self.every(FRESH_LOOK_S, self._look_around)

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self._fresh_timer is not None:
            self.destroy_timer(self._fresh_timer)
        self._fresh_timer = None
        super().stop()

    def flush(self, reason: str) -> None:
        """Forget earlier tokens."""
        self._newest = None
        # Set by the clock before; no frame of the new one would be late enough.
        self._not_before = NEVER
        super().flush(reason)

    def method(self) -> str:
        """Return depth, width, pruning with its gate, reuse and quantization."""
        pruning, reuse = self.applied.pruning, self.applied.reuse
        parts = []
        if self.applied.depth.method != 'none':
            parts.append(f'depth={self.applied.depth.method}')
        if self.applied.width.method != 'none':
            parts.append(f'width={self.applied.width.method}')
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

    def work(self, job: PlanJob) -> Pass | None:
        """Make one plan; it is not sent when the instruction changed meanwhile."""
        if job.episode != self._stage_episode:
            self._stage_episode = job.episode
            self.loaded.reset('a task began')
        self._observe()
        plan = self.timed(self.loaded.plan, job.tokens, job.subtask or job.instruction)
        if job.subtask:
            plan = replace(plan, instruction=job.instruction, subtask=job.subtask)
        if self.drop_superseded(job.task, 'plans'):
            return None
        plan_cache.keep(self._plan.topic_name, plan)
        self.send_cache(plan)
        return Pass(
            stamp=plan.stamp,
            transport_ms=job.transport_ms,
            message=plan_to_message(plan),
            tokens_total=plan.tokens_total,
            tokens_kept=len(plan.kept),
            tokens_reused=len(plan.reused),
            oldest_age_s=float(plan.reused_age.max(initial=0.0)),
            refresh_reason=self._refresh_reason(plan),
            reason=plan.reason,
            saved_ms=plan.saved_ms,
        )

    def report(self) -> dict[str, Any]:
        """Return what /diagnostics shows of the stage, and whose tokens are taken."""
        asked = {} if self._subtasks is None else self._subtasks.report()
        return {**super().report(), 'tokens_from': self._source.shown, **asked}

    def send_cache(self, plan: Plan) -> None:
        """Publish the cache of a plan, where an actor in another process asks for it."""
        if getattr(plan.cache, 'travels', False) and self._cache.get_subscription_count():
            from efficient_vla.nodes.stages.cache_messages import cache_to_message

            self._cache.publish(cache_to_message(plan))

    def plan_waiting(self) -> None:
        """Plan on what there is, where nothing fresh came for a task that began."""
        # The cache method skip sends no tokens while the scene does not change.
        if self.active and self.seconds() > self._not_before + FRESH_WAIT_S:
            waiting = self._newest is not None and self._newest[0].stamp < self._not_before
            self._not_before = NEVER
            if waiting:
                self._plan_newest()

    def begin_task(self, earlier: str | None, message: msg.Instruction) -> None:
        """Plan at once, or on the first frame of a task that begins anew."""
        # A task that begins may begin in a new scene, which earlier tokens do not show; a change
        # of mind under way does not.
        if earlier:
            self._not_before = NEVER
        else:
            self._not_before = min(stamp_to_seconds(message.header.stamp), self.seconds())
            self._episode += 1
        if self._subtasks is not None:
            self._subtasks.begin()
        self.health.clear('pass')
        self._plan_newest()

    def _look_around(self) -> None:
        """Plan anew where another sentence is to be read, and on what there is."""
        asked = self._subtasks if self.tasked else None
        if asked is not None and asked.look(self._instruction or '', self._not_before):
            self._pace.reset()
            self._plan_newest()
        self.plan_waiting()

    def _tokens_received(self, message: msg.VisualTokens, info: Any) -> None:
        if not self.active:
            return
        now = self.seconds()
        try:
            tokens = message_to_tokens(message)
            refuse_future('visual tokens', tokens.stamp, now, self.settings.max_future)
        except InvalidRecordError as error:
            self._expected.unusable(str(error))
            self.health.error('tokens', str(error))
            return
        self.health.clear('tokens')
        if not self._source.admit(info, now, SOURCE_S):
            return
        self._expected.heard(tokens.stamp)
        if self._newest is not None and overtaken(tokens.stamp, self._newest[0].stamp):
            return
        self.loaded.signals = len(tokens.saliency) > 0
        self._newest = (tokens, transport_ms(info))
        self._plan_newest()

    def _projected(self) -> None:
        """Let the stage know where the cameras look, from the next plan on."""
        stage, calibration = self.stage, self._calibration
        if self._worker is None or stage is None or calibration is None or self._projects:
            return
        self._projects = True

        def configure() -> None:
            # A camera that moves tells more projections than there are passes.
            self._projects = False
            assert calibration.projection is not None
            self.applied = _projecting(self.applied, calibration.projection)
            stage.configure(self.applied)

        self._worker.call(configure)

    def _refresh_reason(self, plan: Plan) -> str:
        """Return why no keys and values were reused, where that was allowed."""
        allowed = self.applied.reuse.method != 'none'
        return plan.reason if allowed and not len(plan.reused) else ''

    def _observe(self) -> None:
        """Tell the stage how the robot moved since the last plan; on the worker thread."""
        refused = ''
        for stamp, values in self._states.take():
            if overtaken(stamp, self._observed):
                continue
            self._observed = stamp
            try:
                self.loaded.observe(values, stamp)
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
        subtask = '' if self._subtasks is None else self._subtasks.reading(self._instruction)
        if subtask is None:
            return
        if self._pace.due(tokens.stamp, self.settings.max_rate):
            known = tokens, self._instruction, subtask
            self.submit(PlanJob(*known, self._task, self._episode, transport))


def _projecting(
    settings: ReasonerNodeSettings, projection: tuple[float, ...]
) -> ReasonerNodeSettings:
    """Return ``settings`` with another projection."""
    protect = replace(settings.pruning.protect, projection=projection)
    return replace(settings, pruning=replace(settings.pruning, protect=protect))
