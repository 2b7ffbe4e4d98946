# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plan, image and robot state in, action chunks out."""

import math
from typing import Any, NamedTuple

from efficient_vla import msg
from efficient_vla.bringup.settings import ActorNodeSettings
from efficient_vla.instructions import checked_instruction
from efficient_vla.nodes.base.bounded import publisher_node
from efficient_vla.nodes.base.conversions import (
    chunk_to_message,
    message_to_execution,
    message_to_plan,
    refuse_future,
    stamp_to_seconds,
)
from efficient_vla.nodes.base.history import KEEP_S, overtaken
from efficient_vla.nodes.base.qos import latched_qos, newest_qos
from efficient_vla.nodes.base.source import SOURCE_S, OneSource
from efficient_vla.nodes.stages import plan_cache
from efficient_vla.nodes.stages.cameras import Cameras, ImageSet, transport_ms
from efficient_vla.nodes.stages.instructed import InstructedNode
from efficient_vla.nodes.stages.stage import Pass
from efficient_vla.places import PolicyPlace
from efficient_vla.policy import load_actor
from efficient_vla.settings import InvalidSettingError
from efficient_vla.stages import ActorStage, looking_back, takes_sent_cache
from efficient_vla.types import Frame, InvalidRecordError, Plan

PLAN_GRACE_S = 1.5
"""So long after an instruction a missing plan is no fault: the reasoner is at work."""
SILENT_S = 10.0
"""A reasoner that was silent for so long may be replaced, however long its plans are valid."""
LATE = 4
"""So may one that was silent for so many of its last pauses, but not before ``SOURCE_S``."""
WARN_AT = 0.8
"""Fraction of a plan's validity after which its age is reported."""


class ChunkJob(NamedTuple):
    """A plan and what the robot and its cameras said at one time."""

    plan: Plan
    frame: Frame
    task: int
    """Counts instructions: the same sentence given again is another task."""
    transport_ms: float


class ActorNode(InstructedNode[ActorNodeSettings, ChunkJob, ActorStage]):
    """Turn the newest valid plan into chunks.

    ``dual`` makes one on the newest image, ``rate`` times a second, or on the newest state of the
    robot where the policy looks at no image beside its plan; ``single`` one for each plan, on the
    newest image where the policy looks at one.
    Without a valid plan nothing is sent, and the controller holds.
    """

    stage_constant = msg.EfficiencyStats.STAGE_ACTOR

    def __init__(self, **options: Any) -> None:
        self._plan: Plan | None = None
        self._instructed = float('-inf')
        self._valid_s = 0.0
        self._came, self._pause_s = -math.inf, math.inf
        """When the newest plan came, and how long after the one before [s]."""
        self._seen: ImageSet | None = None
        """Newest images, for the next plan where every plan gives one chunk."""
        self._state_stamp = float('-inf')
        self._lonely: tuple[msg.Plan, Any] | None = None
        """Newest plan whose cache did not come yet, from another process."""
        self._caches: Any = None
        """What is expected of them; ``None`` while reasoner and actor share a process."""
        super().__init__('actor', ActorNodeSettings, **options)
        self._chunk = self._output = self.create_lifecycle_publisher(
            msg.ActionChunk, 'action_chunk', newest_qos()
        )
        self._source = OneSource(self, 'plan', 'plans')
        self._plans = self.create_subscription(msg.Plan, 'plan', self._plan_received, latched_qos())
        # A plan that holds is waited for no longer than that, which is a rule of its own.
        self._expected = self.waiting.expect(
            'plan', msg.Plan, latched_qos(), needed=lambda: self.tasked, patience=math.inf
        )
        self.create_subscription(
            msg.ControllerStatus, 'controller_status', self._status_received, latched_qos()
        )

    def load(self, place: PolicyPlace) -> ActorStage:
        """Return the actor."""
        return load_actor(place, self.settings)

    def connect(self) -> None:
        """Subscribe to robot and cameras, where the architecture looks at images."""
        self.follow_robot(self.loaded.state_names, required=True)
        if self.loaded.needs_image:
            self._cameras = Cameras(
                self, self.loaded.cameras, self._images_received, lambda: self.tasked
            )

    def teardown(self) -> None:
        """Free the policy, and the caches of a reasoner in another process."""
        super().teardown()
        if self._caches is not None:
            plan_cache.forget(self._plans.topic_name)
        self._caches = self._lonely = None

    def flush(self, reason: str) -> None:
        """Forget states, images and the plan."""
        self._plan = self._seen = self._lonely = None
        self._state_stamp = float('-inf')
        self._instructed = min(self._instructed, self._latest)
        super().flush(reason)

    def method(self) -> str:
        """Return the architecture."""
        found = self.settings if self.stage is None else self.stage
        return f'architecture={found.architecture}'

    def work(self, job: ChunkJob) -> Pass | None:
        """Make one chunk; it is not sent when its plan ran out or was superseded meanwhile."""
        chunk = self.timed(self.loaded.chunk, job.plan, job.frame)
        outdated = bool(self._refuse(job.plan, self.now()))
        if self.drop_superseded(-1 if outdated else job.task, 'chunks'):
            return None
        message = chunk_to_message(chunk)
        message.sent = self.get_clock().now().to_msg()
        return Pass(chunk.stamp, job.transport_ms, message)

    def look(self) -> None:
        """Say that there is no valid plan, also where nothing comes that would ask for one."""
        if self.tasked:
            self._valid_plan(self.seconds())
        super().look()

    def begin_task(self, earlier: str | None, message: msg.Instruction) -> None:
        """Wait for the plan of the instruction that holds from now on."""
        # Also the plan goes: the same task later is another episode, in another scene.
        if self._plan is not None and self._plan.instruction != self._instruction:
            self._plan = None
        self._instructed = self.seconds()
        if not self._instruction:
            self.health.clear('plan')

    def _status_received(self, message: msg.ControllerStatus) -> None:
        """Pass on how the controller executes a chunk."""
        if self._worker is None or self.stage is None:
            return
        stage = self.stage

        def note() -> None:
            try:
                known = message_to_execution(message) if message.chunk_sequence else None
                stage.note_execution(known)
            except (InvalidRecordError, InvalidSettingError) as error:
                self.health.error('controller_status', str(error))
            else:
                self.health.clear('controller_status')

        self._worker.call(note)

    def _plan_received(self, message: msg.Plan, info: Any) -> None:
        now = self.seconds()
        try:
            plan = plan_cache.joined(self._plans.topic_name, message_to_plan(message))
            if plan.subtask:
                checked_instruction(plan.subtask)
            # A latched plan comes once, perhaps before the first tick of a simulated clock.
            if now > 0:
                refuse_future('plan', plan.stamp, now, self.settings.max_future)
        except InvalidRecordError as error:
            self.health.error('plan', str(error))
            return
        # Another reasoner may take over once the plan that was taken before has run out.
        late = max(SOURCE_S, LATE * self._pause_s)
        if not self._source.admit(info, now, min(self._valid_s, SILENT_S, late)):
            return
        if plan.cache is None and self.stage is not None and takes_sent_cache(self.stage):
            self._await_cache(message, info)
            return
        self._valid_s = plan.valid_for
        self._came, self._pause_s = now, now - self._came
        self._expected.heard(plan.stamp)
        newest = self._plan
        if newest and newest.sequence > plan.sequence and overtaken(plan.stamp, newest.stamp):
            return
        if self._instruction == '':
            # Made before the reasoner heard that the task ended; the next task needs a new one.
            return
        self._plan = plan
        self._states.keep = max(KEEP_S, plan.valid_for, self.settings.max_image_age)
        if not self.active or self.stage is None:
            return
        paced = self.stage.architecture == 'dual'
        if not self.stage.needs_image and paced:
            # The new plan need not wait for the turn of the next state.
            self._pace.reset()
            self.state_taken(self._state_stamp)
        elif not self.stage.needs_image:
            self._make_chunk({}, plan.stamp, now, transport_ms(info))
        elif not paced and self._seen is not None:
            seen = self._seen
            self._make_chunk(seen.images, seen.stamp, now, seen.transport_ms)

    def _await_cache(self, message: msg.Plan, info: Any) -> None:
        """Ask for the caches of a reasoner in another process, and keep the plan until it comes."""
        self._lonely = message, info
        if self._caches is None:
            self.get_logger().info(
                'reasoner is in another process: keys and values of its plans come over the topic '
                f'{plan_cache.TOPIC}'
            )
            self._caches = self.follow(
                msg.PlanCache,
                plan_cache.TOPIC,
                latched_qos(),
                self._cache_received,
                lambda: self._lonely is not None,
            )

    def _cache_received(self, message: msg.PlanCache, info: Any) -> None:
        from efficient_vla.nodes.stages.cache_messages import message_to_cache

        if self._caches is None:
            return
        refused = self._refuse_cache(info)
        self.health.warn(f'{plan_cache.TOPIC}_source', refused)
        if refused:
            return
        stamp = stamp_to_seconds(message.header.stamp)
        try:
            cache = message_to_cache(message)
        except InvalidRecordError as error:
            self._caches.unusable(str(error))
            self.health.error('plan', str(error))
            return
        self._caches.heard(stamp)
        plan_cache.put(self._plans.topic_name, stamp, message.instruction, cache)
        lonely, self._lonely = self._lonely, None
        if lonely is not None:
            self._plan_received(*lonely)

    def _refuse_cache(self, info: Any) -> str:
        """Return why a cache is not taken, or '': another node than that of the plans sent it."""
        topic, planner = plan_cache.TOPIC, self._source.name
        sender = publisher_node(self, topic, info['publisher_gid']['data'])
        # A name is discovered a moment after its publisher.
        alone = not (sender and planner) and self.count_publishers(topic) < 2
        if sender == planner or alone:
            return ''
        return (
            f'keys and values of a plan came from {sender or "an unknown node"}; expected those of '
            f'{planner or "an unknown node"}, whose plans are taken. End one of the publishers of '
            f'{topic}.'
        )

    def report(self) -> dict[str, Any]:
        """Return what /diagnostics shows of the stage, and whose plans are taken."""
        return {**super().report(), 'plans_from': self._source.shown}

    def state_taken(self, stamp: float) -> None:
        """Make a chunk of the plan and the newest state, at ``rate``, where no image is needed."""
        self._state_stamp = max(stamp, self._state_stamp)
        stage = self.stage
        if stage is None or stage.needs_image or stage.architecture != 'dual':
            return
        if self._plan is None or stamp < self._state_stamp:
            return
        due = self._pace.due(stamp, self.settings.rate)
        if due and not self._make_chunk({}, stamp, self.seconds(), 0.0):
            self._pace.reset()

    def _images_received(self, images: ImageSet) -> None:
        now = self.seconds()
        age = now - images.stamp
        if age > self.settings.max_image_age:
            self.health.error(
                'image_age',
                f'image is {age:.3f} s old; expected at most max_image_age '
                f'{self.settings.max_image_age} s. Check the camera and the network.',
            )
            return
        self.health.clear('image_age')
        if self._instruction == '' or (self._plan is None and self._instruction is None):
            return
        self._remember(images)
        if self.loaded.architecture == 'single':
            self._seen = images
        elif self._pace.due(images.stamp, self.settings.rate):
            made = self._make_chunk(images.images, images.stamp, now, images.transport_ms)
            if not made:
                # The next image, or this one once more, need not wait for its turn.
                self._pace.reset()

    def _remember(self, images: ImageSet) -> None:
        """Hand images to a stage that looks at earlier ones too, with the state of their time."""
        stage, nearest = looking_back(self.loaded), self._states.nearest(images.stamp)
        if stage is not None and nearest is not None:
            stage.see(Frame(images.images, nearest[0], images.stamp))

    def _valid_plan(self, now: float) -> Plan | None:
        """Return the plan, where it may drive the robot; otherwise say why it may not."""
        plan = self._plan
        reason = self._refuse(plan, now)
        if reason or plan is None:
            if now - self._instructed > PLAN_GRACE_S:
                self.health.error('plan', reason)
            return None
        age = now - plan.stamp
        old = f'plan {plan.sequence} is {age:.3f} s old; valid for {plan.valid_for} s.'
        self.health.warn('plan', old if age > WARN_AT * plan.valid_for else '')
        return plan

    def _make_chunk(self, images: Any, stamp: float, now: float, transport: float) -> bool:
        """Begin a chunk; return whether there is all that it needs."""
        plan = self._valid_plan(now)
        if plan is None:
            return False
        nearest = self._states.nearest(stamp)
        if nearest is None or nearest[1] > self.settings.state_skew:
            distance = 'none came' if nearest is None else f'the nearest is {nearest[1]:.3f} s off'
            self.health.error(
                'state_skew',
                f'no robot state for the observation: {distance}; expected one within state_skew '
                f'{self.settings.state_skew} s. Check the robot driver.',
            )
            return False
        self.health.clear('state_skew')
        frame = Frame(images, nearest[0], stamp)
        self.submit(ChunkJob(plan, frame, self._task, transport))
        return True

    def _refuse(self, plan: Plan | None, now: float) -> str:
        """Return why ``plan`` may not drive the robot, or an empty string."""
        if plan is None:
            return 'there is no plan for the instruction. Is the reasoner running?'
        age = now - plan.stamp
        if age > plan.valid_for:
            return (
                f'plan {plan.sequence} is {age:.3f} s old; it was valid for {plan.valid_for} s. '
                'Is the reasoner running and fast enough?'
            )
        if self._instruction is not None and plan.instruction != self._instruction:
            return f'plan {plan.sequence} follows another instruction than the present one.'
        return ''
