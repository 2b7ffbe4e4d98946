# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunks come only from a valid plan of the present instruction, a fresh image and its state."""

import math

import numpy as np
import pytest
from fixtures.serving import offered, running
from sensor_msgs.msg import Image, JointState

from efficient_vla import msg
from efficient_vla.nodes.base.conversions import plan_to_message, seconds_to_stamp, stamp_to_seconds
from efficient_vla.nodes.base.qos import image_qos, latched_qos, newest_qos, state_qos
from efficient_vla.nodes.stages.actor import ActorNode
from efficient_vla.policy import Policy
from efficient_vla.types import Execution, Plan

TASK = 'open the drawer'


class Setup:
    def __init__(self, graph, **values):
        self.graph = graph
        self.node = graph.add(ActorNode, **values)
        self.chunks = graph.hear(msg.ActionChunk, 'action_chunk', newest_qos())
        self.states = graph.publisher(JointState, 'robot_state', state_qos())
        self.plans = graph.publisher(msg.Plan, 'plan', latched_qos())
        self.instructions = graph.publisher(msg.Instruction, 'instruction', latched_qos())
        if self.node.stage.needs_image:
            self.images = graph.publisher(Image, 'camera/image_raw', image_qos())
        graph.until(self.node._chunk.get_subscription_count)
        self.seen = 0

    def ready(self):
        """Give a state, an instruction and a valid plan."""
        self.send_state(self.graph.state())
        self.instructions.publish(msg.Instruction(text=TASK))
        self.graph.until(lambda: self.node._instruction == TASK)
        self.send_plan()

    def send_plan(self, stamp=None, text=TASK, valid_for=2.0, sequence=1):
        latents = np.array([[0.0, 0.1, 0.0], [0, 0, 0]], np.float32)
        stamp = self.graph.now if stamp is None else stamp
        earlier = self.node._plan
        self.plans.publish(plan_to_message(Plan(latents, text, stamp, valid_for, sequence)))
        self.graph.until(lambda: self.node._plan is not earlier)

    def send_state(self, message):
        items = self.node._states._items
        newest = items[-1] if items else None
        self.states.publish(message)
        self.graph.until(
            lambda: (items and items[-1] is not newest) or self.node.health.message('state')
        )

    def see(self, image):
        """Send an image and wait until the node has looked at it."""
        taken = []
        received = self.node._cameras._received
        self.node._cameras._received = lambda images: (taken.append(1), received(images))
        self.images.publish(image)
        self.graph.until(lambda: taken)
        self.node._cameras._received = received
        self.graph.settle()


@pytest.fixture
def setup(graph):
    setup = Setup(graph)
    setup.ready()
    return setup


def test_image_state_and_plan_make_a_chunk(graph, setup):
    setup.see(graph.image())
    graph.until(lambda: setup.chunks)
    chunk = setup.chunks[0]
    assert stamp_to_seconds(chunk.header.stamp) == graph.now
    assert (chunk.horizon, list(chunk.names)) == (40, ['x', 'y', 'z', 'gripper'])
    assert (chunk.sequence, chunk.plan_sequence) == (1, 1)
    assert stamp_to_seconds(chunk.plan_stamp) == graph.now


def test_rate_is_kept_by_capture_times(graph, setup):
    for index in range(10):
        graph.set_time(100.0 + index / 30)
        setup.send_state(graph.state())
        setup.see(graph.image())
    graph.until(lambda: len(setup.chunks) >= 3)
    assert 3 <= len(setup.chunks) <= 4


def test_single_makes_one_chunk_for_each_plan_on_the_newest_image(graph, setup):
    setup.node.stage.architecture = 'single'
    for index in range(3):
        graph.set_time(100.0 + index / 10)
        setup.send_state(graph.state())
        setup.see(graph.image())
    assert not setup.chunks
    setup.send_plan(stamp=100.1, sequence=2)
    graph.until(lambda: setup.chunks)
    graph.settle()
    assert [c.plan_sequence for c in setup.chunks] == [2]
    assert stamp_to_seconds(setup.chunks[0].header.stamp) == pytest.approx(100.2)


def test_frames_between_chunks_are_shown_to_a_policy_that_looks_back(graph, setup):
    seen = []
    setup.node.stage.looks_back = 0.1
    setup.node.stage.see = seen.append
    for index in range(3):
        graph.set_time(100.0 + index / 50)
        setup.send_state(graph.state())
        setup.see(graph.image())
    assert [round(frame.stamp, 2) for frame in seen] == [100.0, 100.02, 100.04]
    assert all(len(frame.state) == 4 and frame.images for frame in seen)


def test_plan_older_than_its_validity_makes_no_chunk(graph, setup):
    graph.set_time(103.0)
    setup.send_state(graph.state())
    setup.see(graph.image())
    assert 'it was valid for 2.0 s' in setup.node.health.message('plan')
    setup.send_plan(stamp=102.0, sequence=2)
    graph.set_time(103.2)
    setup.send_state(graph.state())
    setup.see(graph.image())
    graph.until(lambda: setup.chunks)
    assert [c.plan_sequence for c in setup.chunks] == [2]
    assert not setup.node.health.message('plan')


def test_plan_near_its_end_warns_but_still_drives(graph, setup):
    setup.send_plan(stamp=98.3)
    setup.see(graph.image())
    graph.until(lambda: setup.chunks)
    assert '1.700 s old' in setup.node.health.message('plan')
    assert setup.node.health.status('', {}).level == b'\x01'


def test_plan_of_another_instruction_makes_no_chunk(graph, setup):
    setup.send_plan(text='close the window', sequence=5)
    setup.see(graph.image())
    # Just instructed: the reasoner may be at work.
    assert not setup.node.health.message('plan')
    graph.set_time(102.1)
    setup.send_plan(text='close the window', sequence=6)
    setup.send_state(graph.state())
    setup.see(graph.image())
    assert 'another instruction' in setup.node.health.message('plan')
    setup.send_plan(sequence=7)
    graph.set_time(102.3)
    setup.send_state(graph.state())
    setup.see(graph.image())
    graph.until(lambda: setup.chunks)
    assert [c.plan_sequence for c in setup.chunks] == [7]


def test_plan_ends_with_its_task(graph, setup):
    for text in ('', TASK):
        setup.instructions.publish(msg.Instruction(text=text))
        graph.until(lambda t=text: setup.node._instruction == t)
    graph.set_time(100.2)
    setup.send_state(graph.state())
    setup.see(graph.image())
    assert setup.node._plan is None
    graph.set_time(102.3)
    setup.send_state(graph.state())
    setup.see(graph.image())
    assert 'no plan for the instruction' in setup.node.health.message('plan')
    assert not setup.chunks


def test_subtask_that_is_no_sentence_is_refused(graph, setup):
    plan = Plan(np.zeros((1, 3), np.float32), TASK, graph.now, 2.0, 8, subtask='x' * 10_000)
    setup.plans.publish(plan_to_message(plan))
    graph.until(lambda: 'expected at most 1000' in setup.node.health.message('plan'))
    assert setup.node._plan.sequence == 1


def test_plan_of_the_future_is_refused(graph, setup):
    setup.plans.publish(
        plan_to_message(Plan(np.zeros((1, 3), np.float32), TASK, graph.now + 9, 2.0, 8))
    )
    graph.until(lambda: 'in the future' in setup.node.health.message('plan'))
    assert setup.node._plan.sequence == 1


@pytest.mark.parametrize(
    ('positions', 'names', 'words'),
    [
        ([0.0, math.nan, 0.0, 1.0], ['x', 'y', 'z', 'gripper'], 'not finite for y'),
        ([0.0, 0.0], ['x', 'y', 'z', 'gripper'], '2 positions for 4 names'),
    ],
)
def test_bad_state_is_refused(graph, positions, names, words):
    setup = Setup(graph)
    setup.instructions.publish(msg.Instruction(text=TASK))
    setup.send_plan()
    setup.send_state(JointState(name=names, position=positions))
    assert words in setup.node.health.message('state')
    setup.see(graph.image())
    assert 'none came' in setup.node.health.message('state_skew')
    assert not setup.chunks


def test_state_far_from_the_image_makes_no_chunk(graph, setup):
    graph.set_time(100.3)
    setup.see(graph.image())
    assert '0.300 s off' in setup.node.health.message('state_skew')
    assert not setup.chunks


def test_image_that_comes_again_with_its_state_makes_its_chunk(graph, setup):
    graph.set_time(100.3)
    setup.see(graph.image())
    setup.send_state(graph.state())
    setup.see(graph.image())
    graph.until(lambda: setup.chunks)
    assert stamp_to_seconds(setup.chunks[0].header.stamp) == pytest.approx(100.3)


def test_nearest_state_is_taken(graph, setup, monkeypatch):
    frames = []
    chunk = setup.node.stage.chunk
    monkeypatch.setattr(
        setup.node.stage, 'chunk', lambda plan, frame: (frames.append(frame), chunk(plan, frame))[1]
    )
    for index in range(1, 6):
        graph.set_time(100.0 + index * 0.02)
        setup.send_state(graph.state((0.0, index, 0.0)))
    setup.see(graph.image(stamp=100.065))
    graph.until(lambda: setup.chunks)
    assert frames[0].state[1] == 3


def test_old_image_makes_no_chunk(graph, setup):
    setup.see(graph.image(stamp=99.0))
    assert '1.000 s old' in setup.node.health.message('image_age')
    assert not setup.chunks


def test_chunk_of_a_superseded_instruction_is_not_sent(graph, setup, monkeypatch):
    chunk = setup.node.stage.chunk

    def overtaken(plan, frame):
        setup.node._instruction = 'close the window'
        return chunk(plan, frame)

    monkeypatch.setattr(setup.node.stage, 'chunk', overtaken)
    setup.see(graph.image())
    assert setup.node.health.counts['superseded_chunks'] == 1
    assert not setup.chunks


def test_policy_that_makes_nan_sends_nothing(graph, setup, monkeypatch):
    latents = np.array([[np.nan, 0, 0]], np.float32)
    broken = Plan(np.zeros((1, 3), np.float32), TASK, graph.now, 2.0, 1)
    object.__setattr__(broken, 'latents', latents)
    setup.node._plan = broken
    setup.see(graph.image())
    assert 'not finite' in setup.node.health.message('pass')
    assert not setup.chunks


def test_single_makes_one_chunk_a_plan_from_the_state_at_its_frame(graph):
    setup = Setup(graph, architecture='single')
    setup.instructions.publish(msg.Instruction(text=TASK))
    graph.until(lambda: setup.node._instruction == TASK)
    setup.send_state(graph.state())
    setup.send_plan(stamp=99.95)
    graph.until(lambda: setup.chunks)
    graph.settle()
    assert len(setup.chunks) == 1
    assert stamp_to_seconds(setup.chunks[0].header.stamp) == 99.95


def test_late_actor_gets_plan_and_instruction(graph):
    plans = graph.peer.create_publisher(msg.Plan, 'plan', latched_qos())
    plans.publish(plan_to_message(Plan(np.zeros((1, 3), np.float32), TASK, 99.9, 2.0, 4)))
    said = graph.peer.create_publisher(msg.Instruction, 'instruction', latched_qos())
    said.publish(msg.Instruction(text=TASK))
    node = graph.add(ActorNode)
    graph.until(lambda: node._plan is not None and node._instruction == TASK)
    assert node._plan.sequence == 4


def test_clock_that_jumps_back_forgets_plan_and_states(graph, setup):
    graph.set_time(50.0)
    setup.send_state(graph.state())
    assert setup.node._plan is None
    assert len(setup.node._states._items) == 1


def test_how_a_chunk_is_executed_reaches_the_head(graph, setup):
    noted = []
    setup.node.stage.note_execution = noted.append
    status = graph.publisher(msg.ControllerStatus, 'controller_status', latched_qos())
    said = msg.ControllerStatus(delay_steps=8.0, row=2.5, time_scale=0.5, blending='offset_fade')
    said.header.stamp, said.observation_stamp = seconds_to_stamp(4.5), seconds_to_stamp(4.0)
    status.publish(said)
    graph.until(lambda: noted)
    said.chunk_sequence = 3
    status.publish(said)
    graph.until(lambda: len(noted) == 2)
    assert noted == [None, Execution(4.0, 4.5, 2.5, 0.5, 8.0, 'offset_fade')]


@pytest.mark.parametrize(
    ('values', 'complaint'),
    [({'row': math.nan}, 'is at row nan'), ({'time_scale': 2.0}, 'has the time scale 2.0')],
)
def test_a_status_that_makes_no_sense_is_reported_until_one_does(graph, setup, values, complaint):
    status = graph.publisher(msg.ControllerStatus, 'controller_status', latched_qos())
    status.publish(msg.ControllerStatus(chunk_sequence=1, **values))
    graph.until(lambda: complaint in setup.node.health.message('controller_status'))
    status.publish(msg.ControllerStatus(chunk_sequence=1))
    graph.until(lambda: not setup.node.health.message('controller_status'))


def test_chunk_of_the_same_sentence_in_the_episode_before_is_not_sent(graph, setup, hold):
    held = hold(setup.node.stage, 'chunk')
    setup.images.publish(graph.image())
    graph.until(held.begun.is_set)
    for text in ('', TASK):
        setup.instructions.publish(msg.Instruction(text=text))
        graph.until(lambda text=text: setup.node._instruction == text)
    held.go.set()
    graph.until(lambda: setup.node.health.counts['superseded_chunks'] == 1)
    assert not setup.chunks


def test_plan_of_a_slow_reasoner_finds_the_state_of_its_time(graph):
    setup = Setup(graph, architecture='single')
    setup.ready()
    begin = graph.now
    setup.send_plan(begin, valid_for=30.0)
    graph.until(lambda: setup.chunks)
    for step in range(1, 31):
        graph.set_time(begin + 0.1 * step)
        setup.send_state(graph.state())
    setup.send_plan(begin + 0.5, valid_for=30.0, sequence=2)
    graph.until(lambda: len(setup.chunks) == 2)


def test_latched_plan_that_comes_before_the_simulated_clock_is_kept(graph):
    graph.set_time(0.0)
    setup = Setup(graph)
    setup.send_plan(100.0)
    assert setup.node._plan.stamp == 100.0


def test_a_chunk_of_a_server_has_the_time_of_its_image_and_none_comes_without(graph, passthrough):
    served = offered(Policy.from_pretrained(passthrough))
    with running(served, '', 0) as port:
        setup = Setup(graph, policy=f'ws://127.0.0.1:{port}')
        setup.ready()
        setup.see(graph.image())
        graph.until(lambda: setup.chunks)
    assert stamp_to_seconds(setup.chunks[0].header.stamp) == graph.now
    assert setup.chunks[0].actions[1] == pytest.approx(0.1 * 0.0125)
    graph.set_time(graph.now + 0.2)
    setup.send_state(graph.state())
    setup.see(graph.image())
    graph.until(lambda: f'ws://127.0.0.1:{port}' in setup.node.health.message('pass'))
    assert len(setup.chunks) == 1


def test_an_actor_without_its_server_is_not_configured_and_names_it(graph):
    node = graph.add(ActorNode, start=False, policy='ws://127.0.0.1:1')
    assert not node.autostart()
    assert 'no policy server answers at ws://127.0.0.1:1' in node.health.message('configure')
