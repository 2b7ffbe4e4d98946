# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Carries the degradation ladder out: lowers parameters of the stages and gives them back.

One change at a time, by the services that a person would use, so that a stage refuses what it
cannot do. What somebody else changed meanwhile is left as it is.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.parameter import Parameter, parameter_value_to_python
from std_srvs.srv import SetBool

from efficient_vla import msg
from efficient_vla.bringup.ladder import HOLD, Ladder, LadderRules, Step
from efficient_vla.control.state import HELD, State
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, report_qos
from efficient_vla.nodes.monitor.measures import FOLLOWING, Measures

ANSWER_S = 15.0
"""A stage answers between two passes; one that takes longer is asked again."""
RESUME = 'call its service pause with false where the robot may move again.'
KINDS = {
    'get_parameters': GetParameters,
    'set_parameters_atomically': SetParametersAtomically,
}
Changes = dict[str, tuple[Any, Any]]
"""Parameter -> its value before and the lowered one."""


class Degradation:
    """The ladder of a graph, for ``node``; ``act`` False only tells what would be done."""

    def __init__(
        self,
        node: ManagedNode[Any],
        table: LadderRules,
        act: bool,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ladder = Ladder(table)
        self.measures = Measures(node.get_namespace())
        self.held: dict[str, Changes] = {}
        """Steps that were taken; of ``hold`` nothing is changed but that the controller holds."""
        self._node = node
        self._act = act
        self._steady = steady
        self._told: set[str] = set()
        self._closed = False
        self._asked = 0.0
        self._waiting: dict[Any, Any] = {}
        """Answer to come -> the client that waits; the newest was asked for at ``_asked`` [s]."""
        # From the start on, so that the services are discovered when they are needed.
        self._clients = {'controller/hold': node.create_client(SetBool, 'controller/hold')}
        for stage in {step.node for step in table.steps.values()}:
            for word, kind in KINDS.items():
                self._clients[f'{stage}/{word}'] = node.create_client(kind, f'{stage}/{word}')
        measures, subscribe, now = self.measures, node.create_subscription, node.now
        self._inputs = [
            subscribe(
                msg.ActionChunk,
                'action_chunk',
                lambda message: measures.take_chunk(message, now()),
                newest_qos(),
            ),
            subscribe(
                msg.ControllerStatus, 'controller_status', measures.take_status, latched_qos()
            ),
            subscribe(
                DiagnosticArray,
                '/diagnostics',
                lambda message: measures.take_diagnostics(message, now()),
                report_qos(),
            ),
        ]

    def look(self) -> None:
        """Take the next step, down or up, where one is due."""
        values = self.measures.values(self._node.now())
        wanted = self.ladder.update(values, self._steady())
        rules = {rule.name: rule for rule in self.ladder.table.rules}
        told = [
            f'{step} ({rule}: {rules[rule].measure} {values.get(rules[rule].measure, 0.0):.3g})'
            for step, rule in wanted.items()
        ]
        verb = 'degraded' if self._act else 'would be degraded'
        self._node.health.warn('ladder', f'{verb}: {", ".join(told)}' if told else '')
        left = self.measures.held and HOLD not in wanted and HOLD not in self.held
        self._node.health.warn('held', f'the controller is {HELD}; {RESUME}' if left else '')
        if self._act and not self._busy():
            self._go_to(wanted)

    def report(self) -> dict[str, Any]:
        """Return what /diagnostics shows."""
        values = self.measures.values(self._node.now())
        return {'ladder': ', '.join(self.held), **values}

    def close(self) -> None:
        """Give back what was lowered, as the answers come, and hear nothing more.

        A controller that holds is left so: nobody would see whether it may move again.
        """
        self._closed = True
        while self._inputs:
            self._node.destroy_subscription(self._inputs.pop())
        for name in list(self.held):
            self._leave(name)
        self._free()

    def _leave(self, name: str) -> None:
        if name == HOLD:
            self._node.get_logger().warning(f'ladder: the controller stays {HELD}; {RESUME}')
        else:
            self._give_back(name)

    def _free(self) -> None:
        while self._clients and not self._waiting:
            self._node.destroy_client(self._clients.popitem()[1])

    def _busy(self) -> bool:
        if self._steady() - self._asked >= ANSWER_S:
            while self._waiting:
                future, client = self._waiting.popitem()
                client.remove_pending_request(future)
        return bool(self._waiting)

    def _go_to(self, wanted: dict[str, str]) -> None:
        if self.ladder.calm and not self.held:
            # What was left out may be there by now: somebody changed a technique.
            self.ladder.absent.clear()
        for name in reversed(list(self.held)):
            if name not in wanted:
                self._give_back(name)
                return
        for name in wanted:
            if name not in self.held and (name != HOLD or self.measures.state in FOLLOWING):
                self._take(name)
                return

    def _take(self, name: str) -> None:
        if name == HOLD:
            # What an earlier ladder holds is taken over; what a person paused is theirs.
            if self.measures.state != State.PAUSED or self.measures.held:
                self._ask('controller/hold', self._paused, SetBool.Request(data=True))
            return
        step = self.ladder.table.steps[name]
        wanted = [*step.parameters, *(step.unless[:1] if step.unless else ())]
        self._get(step.node, wanted, partial(self._lower, name, step))

    def _lower(self, name: str, step: Step, values: dict[str, Any]) -> None:
        if self._closed:
            return
        if step.unless and values[step.unless[0]] == step.unless[1]:
            self._leave_out(name, f'{step.node}.{step.unless[0]} is {step.unless[1]}')
            return
        changes: Changes = {}
        for parameter in step.parameters:
            before = values[parameter]
            # 0 is the policy's own number, which its chunks tell.
            after = step.lowered(before or self.measures.steps)
            if after != (before or self.measures.steps):
                changes[parameter] = before, after
        if not changes:
            self._leave_out(name, f'{", ".join(step.parameters)} cannot be lower')
            return
        lowered = {key: after for key, (_, after) in changes.items()}
        self._set(step.node, lowered, partial(self._lowered, name, changes))

    def _lowered(self, name: str, changes: Changes, answer: Any) -> None:
        if not answer.result.successful:
            self._leave_out(name, answer.result.reason)
            return
        self.held[name] = changes
        text = ', '.join(f'{key} {old} -> {new}' for key, (old, new) in changes.items())
        self._node.get_logger().warning(f'ladder: {name}, {text}')
        if self._closed:
            self._leave(name)

    def _give_back(self, name: str) -> None:
        if name == HOLD:
            self._ask('controller/hold', self._resumed, SetBool.Request(data=False))
            return
        step, changes = self.ladder.table.steps[name], self.held[name]
        self._get(step.node, list(changes), partial(self._restore, name, step))

    def _restore(self, name: str, step: Step, values: dict[str, Any]) -> None:
        changes = self.held.get(name, {})
        mine = {key: old for key, (old, new) in changes.items() if values[key] == new}
        if mine:
            self._set(step.node, mine, partial(self._restored, name))
        else:
            self._forget(name)

    def _restored(self, name: str, answer: Any) -> None:
        if answer.result.successful:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self.held.pop(name, None)
        self._node.get_logger().info(f'ladder: {name} is over')

    def _paused(self, answer: Any) -> None:
        if answer.success:
            self.held[HOLD] = {}
            self._node.get_logger().warning('ladder: hold, the controller is paused')
            if self._closed:
                self._leave(HOLD)

    def _resumed(self, answer: Any) -> None:
        if answer.success:
            self._forget(HOLD)

    def _leave_out(self, name: str, reason: str) -> None:
        self.ladder.absent.add(name)
        if name not in self._told:
            self._told.add(name)
            self._node.get_logger().info(f'ladder: {name} is left out: {reason}')

    def _get(self, node: str, names: list[str], then: Callable[[dict[str, Any]], None]) -> None:
        def answered(answer: Any) -> None:
            values = [parameter_value_to_python(value) for value in answer.values]
            then(dict(zip(names, values, strict=True)))

        self._ask(f'{node}/get_parameters', answered, GetParameters.Request(names=names))

    def _set(self, node: str, values: dict[str, Any], then: Callable[[Any], None]) -> None:
        parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        self._ask(f'{node}/set_parameters_atomically', then, request)

    def _ask(self, service: str, then: Callable[[Any], None], request: Any) -> None:
        client = self._clients[service]
        if not client.service_is_ready():
            return
        future = client.call_async(request)
        self._waiting[future] = client
        self._asked = self._steady()

        def done(answered: Any) -> None:
            # One that was given up is heard no more.
            if self._waiting.pop(answered, None) is not None:
                if answered.result() is not None:
                    then(answered.result())
                if self._closed:
                    self._free()

        future.add_done_callback(done)
