# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What reasoner and actor share: they follow the instruction, and look at the robot."""

from abc import abstractmethod
from typing import Any, TypeVar

import numpy as np
from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.bringup.settings import InstructedNodeSettings
from efficient_vla.instructions import checked_instruction
from efficient_vla.nodes.base.conversions import (
    AbsentNamesError,
    refuse_future,
    stamp_to_seconds,
)
from efficient_vla.nodes.base.frames import POSE, Transforms
from efficient_vla.nodes.base.history import StateHistory
from efficient_vla.nodes.base.joint_states import JointStates
from efficient_vla.nodes.base.qos import latched_qos, state_qos
from efficient_vla.nodes.base.waiting import Expectation
from efficient_vla.nodes.stages.stage import Job, PolicyStage, StageNode
from efficient_vla.types import InvalidRecordError

Settings = TypeVar('Settings', bound=InstructedNodeSettings)


class RobotStates:
    """States of ``names``: joints that messages tell, and the tool's pose where tf2 tells it."""

    def __init__(
        self, names: tuple[str, ...], frames: Transforms | None, settings: InstructedNodeSettings
    ) -> None:
        self._names, self._frames, self._settings = names, frames, settings
        posed = set(POSE) if frames is not None else set()
        self._told = [name for name in names if name not in posed]
        self._joints = JointStates(self._told, settings.joint_names)

    def take(self, message: JointState, stamp: float, max_age: float) -> np.ndarray | None:
        """Return the values [N] as ``JointStates.take`` does."""
        told = self._joints.take(message, stamp, max_age) if self._told else np.zeros(0)
        if told is None or self._frames is None:
            return told
        base, tool = self._settings.base_frame, self._settings.tool_frame
        pose = self._frames.pose(base, tool, stamp, max_age).tolist()
        values = {**dict(zip(POSE, pose, strict=True)), **dict(zip(self._told, told, strict=True))}
        return np.array([values[name] for name in self._names])


class InstructedNode(StageNode[Settings, Job, PolicyStage]):
    """A stage at work while there is an instruction; what it did for another one is dropped."""

    def __init__(self, name: str, kind: type[Settings], **options: Any) -> None:
        self._instruction: str | None = None
        """What the robot is to do; empty: nothing; ``None``: nobody said yet."""
        self._task = 0
        """Counts instructions: the same sentence given again is another task."""
        self._states = StateHistory()
        self._frames: Transforms | None = None
        super().__init__(name, kind, **options)
        self.create_subscription(
            msg.Instruction, 'instruction', self._instruction_received, latched_qos()
        )

    @property
    def tasked(self) -> bool:
        """Whether there is something to do."""
        return self.active and bool(self._instruction)

    @abstractmethod
    def begin_task(self, earlier: str | None, message: msg.Instruction) -> None:
        """Prepare for the instruction that holds from now on."""

    def follow_robot(self, names: tuple[str, ...], required: bool) -> None:
        """Subscribe to the robot's state, where the stage looks at it; ``required`` to work."""
        if not names:
            return

        if self.settings.tool_frame and set(names) & set(POSE):
            self._frames = Transforms(self)
        states = RobotStates(names, self._frames, self.settings)

        def received(message: JointState) -> None:
            if self.active:
                self._take_state(message, states, expected)

        expected = self.follow(
            JointState, 'robot_state', state_qos(), received, lambda: self.tasked, required
        )

    def state_taken(self, stamp: float) -> None:
        """Look at a state that has come and was captured at ``stamp`` [s]."""

    def teardown(self) -> None:
        """Free the policy, and listen to no transforms any more."""
        super().teardown()
        if self._frames is not None:
            self._frames.close()
        self._frames = None

    def flush(self, reason: str) -> None:
        """Forget earlier states."""
        self._states.clear()
        super().flush(reason)

    def drop_superseded(self, task: int, what: str) -> bool:
        """Return whether what was made for ``task`` comes too late; it is counted."""
        late = task != self._task
        self.health.counts[f'superseded_{what}'] += late
        return late

    def _take_state(self, message: JointState, states: RobotStates, expected: Expectation) -> None:
        now = self.seconds()
        try:
            stamp = stamp_to_seconds(message.header.stamp)
            refuse_future('robot state', stamp, now, self.settings.max_future)
            values = states.take(message, stamp, self.settings.joint_age)
        except InvalidRecordError as error:
            expected.unusable(str(error))
            # Several drivers may share the topic.
            if not isinstance(error, AbsentNamesError):
                self.health.error('state', str(error))
            return
        self.health.clear('state')
        if values is None:
            return
        expected.heard(stamp)
        self._states.add(stamp, values.astype(np.float32))
        self.state_taken(stamp)

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
        earlier, self._instruction = self._instruction, text
        self._task += 1
        self._pace.reset()
        if self._worker is not None:
            self._worker.discard()
        self.begin_task(earlier, message)
