# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plan -> ActionChunk, in the units of the robot."""

from dataclasses import dataclass

import numpy as np

from efficient_vla.action.stage import Actor
from efficient_vla.joints import Joints
from efficient_vla.openvla.heads import Regression, Tokens
from efficient_vla.openvla.space import with_effort
from efficient_vla.openvla.statistics import Scale
from efficient_vla.types import ControlMode, InvalidRecordError, Plan


@dataclass(frozen=True, slots=True)
class OpenVlaSpace:
    """Units and names on both sides of a policy; see ``action.stage.Space``."""

    joints: Joints
    scale: Scale
    gripper: str

    @property
    def state_names(self) -> tuple[str, ...]:
        """Of the robot's state."""
        return self.joints.state_names

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of a chunk."""
        return self.joints.action_names

    @property
    def control_mode(self) -> ControlMode:
        """What a row means."""
        return self.joints.control_mode

    @property
    def dt(self) -> float:
        """Seconds one row lasts."""
        return self.joints.dt

    def normalised(self, state: np.ndarray) -> np.ndarray:
        """Return the state as it is: heads of OpenVLA read the plan alone."""
        return state.astype(np.float32)

    def actions(self, chunk: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return the robot's rows, float32 [H, A], for those of the policy from -1 to 1."""
        rows = with_effort(self.scale.restored(chunk), self.names, self.gripper)
        return self.joints.rows_to_robot(rows)

    def carried(self, chunk: np.ndarray, before: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Return the rows as they are, since no head of OpenVLA draws to the chunk before."""
        return chunk


class OpenVlaActor(Actor):
    """Decode the prefix of a plan, or its slots, of any number of rows."""

    def __init__(self, head: Regression | Tokens, space: OpenVlaSpace, width: int) -> None:
        """Decode plans whose latents are of ``width``."""
        super().__init__(head, (), space, None, (len(space.names), width), 'single')
        self._actions, self._width = len(space.names), width

    def _check_plan(self, plan: Plan) -> None:
        """Refuse a plan of another policy, and one whose keys and values stayed elsewhere."""
        count, width = plan.latents.shape
        regression = isinstance(self.generator, Regression)
        if width != self._width:
            raise InvalidRecordError(
                f'plan is {width} wide; the policy expects {self._width}. Give reasoner and actor '
                'the same policy.'
            )
        if plan.cache is None and count % self._actions:
            raise InvalidRecordError(
                f'plan has {count} rows and no keys and values; expected those, which are handed '
                f'on inside one process, or a row for each of {self._actions} numbers of a chunk. '
                'Run reasoner and actor in one process.'
            )
        if plan.cache is not None and regression:
            raise InvalidRecordError(
                'plan has no slots, while the folder has the head of OpenVLA-OFT; expected a slot '
                'for each number of a chunk. Set openvla.chunk of the reasoner.'
            )
