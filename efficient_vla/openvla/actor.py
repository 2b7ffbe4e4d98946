# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plan -> ActionChunk, in the units of the robot."""

from efficient_vla.action.stage import Actor
from efficient_vla.end_effector import EndEffectorSpace
from efficient_vla.openvla.heads import ActionTokens, ChunkRegression
from efficient_vla.types import InvalidRecordError, Plan


class OpenVlaActor(Actor):
    """Decode the prefix of a plan, or its slots, of any number of rows."""

    def __init__(
        self, head: ChunkRegression | ActionTokens, space: EndEffectorSpace, width: int
    ) -> None:
        """Decode plans whose latents are of ``width``."""
        self._actions, self._width = len(space.joints.layout.names), width
        super().__init__(head, (), space, None, (self._actions, width), 'single')

    def _check_plan(self, plan: Plan) -> None:
        """Refuse a plan of another policy, and one whose keys and values stayed elsewhere."""
        count, width = plan.latents.shape
        regression = isinstance(self.generator, ChunkRegression)
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
