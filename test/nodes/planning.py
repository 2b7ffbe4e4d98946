# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A reasoner whose neighbours the test plays."""

import numpy as np
import pytest

from efficient_vla import msg
from efficient_vla.nodes.base.conversions import stamp_to_seconds, tokens_to_message
from efficient_vla.nodes.base.qos import latched_qos, newest_qos
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.types import VisualTokens


def tokens(stamp: float, count: int = 4):
    number = np.arange(count, dtype=np.int32)
    return tokens_to_message(
        VisualTokens(
            features=np.ones((count, 3), np.float32),
            camera=number * 0,
            row=number // 2,
            column=number % 2,
            position=number,
            age=np.zeros(count, np.float32),
            grid=(2, 2),
            stamp=stamp,
        )
    )


class Setup:
    def __init__(self, graph, **values):
        self.graph = graph
        self.node = graph.add(ReasonerNode, **values)
        self.plans = graph.hear(msg.Plan, 'plan', latched_qos())
        self.tokens = graph.publisher(msg.VisualTokens, 'visual_tokens', newest_qos())
        self.instructions = graph.publisher(msg.Instruction, 'instruction', latched_qos())
        graph.until(self.node._plan.get_subscription_count)

    def instruct(self, text):
        self.instructions.publish(msg.Instruction(text=text))

    def plan(self, stamp):
        """Send tokens and wait for the plan about them."""
        self.tokens.publish(tokens(stamp))
        self.graph.until(lambda: self.plans and self.stamp(-1) == pytest.approx(stamp))

    def stamp(self, index):
        return stamp_to_seconds(self.plans[index].header.stamp)
