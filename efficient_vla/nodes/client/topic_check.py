# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which inputs and outputs of a graph are there, before it starts: ``efficient-vla up --check``."""

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from sensor_msgs.msg import JointState

from efficient_vla.bringup.check import Check, Result
from efficient_vla.bringup.fit import cameras_of
from efficient_vla.bringup.graph import Graph, facts_of
from efficient_vla.bringup.interfaces import moving
from efficient_vla.bringup.remaps import remapped
from efficient_vla.bringup.settings import camera_topic
from efficient_vla.columns import GRIPPER
from efficient_vla.nodes.base.conversions import stamp_to_seconds
from efficient_vla.nodes.base.onlooker import Onlooker
from efficient_vla.nodes.base.pictures import image_type, pixels_of
from efficient_vla.nodes.base.qos import camera_qos, state_qos
from efficient_vla.nodes.base.waiting import Expectation
from efficient_vla.types import InvalidRecordError

GRIPPER_TOPIC = 'gripper_command'
LISTEN_S = 3.0
LATE_S = 0.5
"""Stamps that are further than this from the clock are told."""


class _Input:
    """What comes on one topic."""

    def __init__(self, node: Any, topic: str, kind: type, qos: Any) -> None:
        self.topic = node.resolve_topic_name(topic)
        self.messages = 0
        self.off = 0.0
        """What the newest stamp is behind the clock [s]."""
        self.names: Counter[str] = Counter()
        """Joints, and how often each came."""
        self.newest: Any = None
        self._clock = node.get_clock()
        self.expected = Expectation(node, self.topic, kind, qos, needed=lambda: True)
        self.expected.problem()
        node.create_subscription(kind, self.topic, self._take, qos)

    def _take(self, message: Any) -> None:
        self.messages += 1
        stamp = stamp_to_seconds(message.header.stamp)
        self.off = self._clock.now().nanoseconds * 1e-9 - stamp
        self.expected.heard(stamp)
        self.newest = message
        if isinstance(message, JointState):
            self.names.update(message.name[: len(message.position)])


def check_topics(
    graph: Graph, seconds: float = LISTEN_S, wait: Callable[[float], None] = time.sleep
) -> list[Check]:
    """Listen for so long [s]; return what was found of each input, and who hears the commands."""
    looker = Onlooker('topic_check', graph.namespace)
    try:
        node = looker.node
        state = _Input(
            node, remapped('robot_state', 'controller', graph.remaps), JointState, state_qos()
        )
        cameras = {name: _camera(node, graph, name, topic) for name, topic in _cameras(graph)}
        looker.start()
        wait(seconds)
        found = [_joints(state, graph, seconds)]
        found += [_images(name, camera, seconds) for name, camera in cameras.items()]
        return [*found, *_outputs(node, graph)]
    finally:
        looker.close()


def _cameras(graph: Graph) -> list[tuple[str, str]]:
    """Return name and topic of each camera of the policy, as far as that is known."""
    own = graph.parameters['perception']
    topics, facts = own.get('camera_topics', ()), facts_of(graph.parameters)
    names = [] if facts is None else cameras_of(facts, own.get('cameras', ()))
    names = names or [word.partition(':=')[0] for word in topics] or ['camera']
    return [(name, camera_topic(topics, names, name)) for name in names]


def _camera(node: Any, graph: Graph, name: str, topic: str) -> _Input:
    topic = remapped(topic, 'perception', graph.remaps)
    compressed = graph.parameters['perception'].get('compressed_cameras', ())
    return _Input(node, topic, image_type(topic, name, compressed), camera_qos())


def _wanted(graph: Graph) -> list[str]:
    """Return the joints that controller and policy look at."""
    controller, actor = graph.parameters['controller'], graph.parameters['actor']
    facts = facts_of(graph.parameters)
    states = () if facts is None else facts.state_names
    states = states or actor.get('joints.state_names') or actor.get('joints.names') or ()
    axes = [name for name in controller.get('names', ()) if name != GRIPPER]
    called = dict(word.split(':=') for word in actor.get('joint_names', ()))
    return list(dict.fromkeys(called.get(name, name) for name in (*axes, *states)))


def _joints(found: _Input, graph: Graph, seconds: float) -> Check:
    problem = _problem(found)
    if problem:
        return Check('robot_state', Result.FAIL, problem)
    wanted = _wanted(graph)
    missing = [name for name in wanted if name not in found.names]
    others = [name for name in found.names if name not in wanted]
    rates: dict[str, list[str]] = {}
    for name in wanted:
        if name in found.names:
            rates.setdefault(f'{found.names[name] / seconds:.3g} Hz', []).append(name)
    told = '; '.join(f'{", ".join(names)} at {rate}' for rate, names in rates.items())
    detail = f'{found.topic}: {told or "none of its joints"}'
    detail += f'; others: {", ".join(others)}' if others else ''
    if missing:
        return Check(
            'robot_state',
            Result.FAIL,
            f'{detail}; missing: {", ".join(missing)}',
            'correct controller.names and joints in the profile, or start their driver',
        )
    return _judged('robot_state', detail, found)


def _images(name: str, found: _Input, seconds: float) -> Check:
    problem = _problem(found)
    if problem:
        return Check(name, Result.FAIL, problem)
    try:
        rows, columns, _ = pixels_of(found.newest).shape
    except InvalidRecordError as error:
        return Check(name, Result.FAIL, f'{found.topic}: {error}')
    kind = type(found.newest).__name__
    rate = f'{found.messages / seconds:.3g} Hz'
    return _judged(name, f'{found.topic}: {kind} of {columns}x{rows} at {rate}', found)


def _problem(found: _Input) -> str:
    """Return why nothing came, or an empty string."""
    if found.messages:
        return ''
    return found.expected.problem() or f'{found.topic}: nothing came'


def _judged(name: str, detail: str, found: _Input) -> Check:
    if math.fabs(found.off) <= LATE_S:
        return Check(name, Result.OK, detail)
    return Check(
        name,
        Result.WARN,
        f'{detail}; the newest stamp is {found.off:.3g} s behind the clock',
        'stamp captures in the driver, synchronise the clocks, or set use_sim_time',
    )


def _outputs(node: Any, graph: Graph) -> list[Check]:
    """Return who hears each topic that moves the robot, and who offers each action."""
    controller = graph.parameters['controller']
    topics, actions = moving(controller)
    if GRIPPER not in controller.get('names', ()) and not controller.get('gripper_axis'):
        topics -= {GRIPPER_TOPIC}
    found = []
    for name in sorted(topics | actions):
        topic = node.resolve_topic_name(remapped(name, 'controller', graph.remaps))
        if name in topics:
            infos, verb = node.get_subscriptions_info_by_topic(topic), 'heard'
        else:
            infos, verb = node.get_publishers_info_by_topic(f'{topic}/_action/status'), 'offered'
        who = ', '.join(sorted({info.node_name for info in infos})) or 'nobody'
        result = Result.OK if infos or name.startswith('dry_run') else Result.WARN
        remedy = '' if result is Result.OK else 'start the driver, or correct its name'
        found.append(Check('output', result, f'{topic}: {verb} by {who}', remedy))
    return found
