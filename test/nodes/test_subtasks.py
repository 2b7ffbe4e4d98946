# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The decoder reads what a server names as next, and the operator's sentence without one."""

import base64
import io
import threading

import numpy as np
import pytest
from fixtures.chat import naming, reply
from nodes.planning import Setup, tokens
from PIL import Image as Picture
from sensor_msgs.msg import Image

from efficient_vla.nodes.base.qos import camera_qos
from efficient_vla.nodes.stages.reasoner import ReasonerNode

TASK = 'open the drawer and then close the window'
FIRST, SECOND = 'open the drawer', 'close the window'
CAMERA = 'camera/image_raw'


class Asked:
    """A reasoner with a server whose answers stand in ``names``; the last one is said for ever."""

    def __init__(self, graph, chat, monkeypatch, names, **values):
        self.graph, self.names, self.read = graph, names, []
        self.server = chat(self.answer)
        given = {'server': self.server.address, 'model': 'm', 'period': 0.1, 'images': []} | values
        self.setup = Setup(graph, **{f'subtasks__{name}': value for name, value in given.items()})
        self.node = self.setup.node
        plan = self.node.stage.plan
        monkeypatch.setattr(
            self.node.stage,
            'plan',
            lambda visual, sentence: (self.read.append(sentence), plan(visual, sentence))[1],
        )

    def answer(self, handler):
        said = self.names.pop(0) if len(self.names) > 1 else self.names[0]
        reply(handler, b'' if said is None else naming(said), 500 if said is None else 200)

    def plan(self):
        self.graph.set_time(self.graph.now + 0.2)
        self.setup.plan(self.graph.now)
        return self.setup.plans[-1]

    def until_read(self, sentence):
        """Send tokens until a plan was made of a sentence."""
        self.graph.until(lambda: self.plan().subtask == sentence and self.read[-1] == sentence)


@pytest.fixture
def asked(graph, chat, monkeypatch):
    return lambda *names, **values: Asked(graph, chat, monkeypatch, [*names], **values)


def test_the_decoder_reads_what_the_server_names_and_the_plan_follows_the_operator(graph, asked):
    case = asked(FIRST)
    case.setup.instruct(TASK)
    case.until_read(FIRST)
    plan = case.setup.plans[-1]
    assert (plan.instruction, plan.subtask) == (TASK, FIRST)
    assert case.node.report()['subtask'] == FIRST


def test_the_next_subtask_is_planned_for_at_once(graph, asked):
    case = asked(FIRST, SECOND)
    case.setup.instruct(TASK)
    case.plan()
    # No further tokens come: those that are there are planned on again.
    graph.until(lambda: case.read[-1] == SECOND)


def test_the_server_is_told_the_task_what_was_done_and_the_newest_image(graph, asked):
    case = asked(FIRST, SECOND, images=[CAMERA])
    image = graph.publisher(Image, CAMERA, camera_qos())
    case.setup.instruct(TASK)

    def shown():
        image.publish(graph.image(200))
        return len(case.server.seen) > 3

    graph.until(shown)
    text, shown = case.server.seen[-1]['messages'][1]['content']
    assert text['text'].splitlines()[:2] == [f'Task: {TASK}', f'Steps before: {FIRST}']
    assert text['text'].endswith(SECOND)
    data = base64.b64decode(shown['image_url']['url'].partition(',')[2])
    assert np.array(Picture.open(io.BytesIO(data))).mean() == pytest.approx(200, abs=3)


@pytest.mark.parametrize(
    ('age', 'reason'),
    [(None, 'no image came'), (1.5, 'too old to ask about'), (-60.0, 'in the future')],
)
def test_a_server_is_not_asked_about_what_it_does_not_see(graph, asked, age, reason):
    case = asked(FIRST, images=[CAMERA])
    image = graph.publisher(Image, CAMERA, camera_qos())
    case.setup.instruct(TASK)

    def told():
        if age is not None:
            image.publish(graph.image(200, graph.now - age))
        return reason in case.node.health.message('subtask_image')

    graph.until(told)
    assert not case.server.seen
    graph.until(lambda: image.publish(graph.image(200)) or case.server.seen)
    assert not case.node.health.message('subtask_image')


def test_an_answer_is_as_old_as_the_image_that_it_is_about(graph, asked):
    case = asked(FIRST, images=[CAMERA])
    image = graph.publisher(Image, CAMERA, camera_qos())
    case.setup.instruct(TASK)
    graph.until(lambda: image.publish(graph.image(200, graph.now - 0.8)) or case.server.seen)
    graph.until(lambda: case.node.report()['subtask'])
    assert case.node.report()['subtask_age_s'] > 0.7


def test_a_sentence_that_the_policy_does_not_know_is_not_read(graph, asked):
    case = asked(None, None, FIRST, choices=[FIRST, SECOND], period=1.0)
    case.setup.instruct(TASK)
    case.setup.tokens.publish(tokens(99.0))
    graph.until(lambda: 'none of subtasks.choices' in case.node.health.message('no_subtask'))
    assert not case.read
    graph.until(lambda: case.read)
    assert case.read == [FIRST]


def test_a_sentence_that_the_policy_knows_is_read_without_an_answer(graph, asked):
    case = asked(None, choices=[FIRST, SECOND])
    case.setup.instruct('Open the drawer.')
    assert case.plan().subtask == ''
    assert case.read[-1] == 'Open the drawer.'


def test_nothing_is_asked_without_a_task(graph, asked):
    case = asked(FIRST)
    graph.run(0.5)
    assert not case.server.seen


def test_a_server_in_error_is_told_and_the_operator_is_read(graph, asked):
    case = asked(None)
    case.setup.instruct(TASK)
    graph.until(lambda: 'status 500' in case.node.health.message('subtasks'))
    plan = case.plan()
    assert (plan.instruction, plan.subtask, case.read[-1]) == (TASK, '', TASK)
    assert case.node.report()['subtask_failures'] > 0


def test_a_server_that_comes_back_is_read_again(graph, asked):
    case = asked(None, None, FIRST)
    case.setup.instruct(TASK)
    case.until_read(FIRST)
    assert not case.node.health.message('subtasks')


def test_a_bad_answer_leaves_the_subtask_that_holds(graph, asked):
    case = asked(FIRST, 'fly away', choices=[FIRST, SECOND])
    case.setup.instruct(TASK)
    case.until_read(FIRST)
    graph.until(lambda: 'subtasks.choices' in case.node.health.message('subtasks'))
    assert case.plan().subtask == FIRST


def test_a_subtask_that_is_named_no_more_ends(graph, asked):
    case = asked(FIRST, None, max_age=0.5, timeout=0.4)
    case.setup.instruct(TASK)
    case.until_read(FIRST)
    graph.until(lambda: case.plan().subtask == '')
    assert case.read[-1] == TASK


def test_with_the_fallback_hold_nothing_is_planned_without_a_subtask(graph, asked):
    case = asked(None, None, FIRST, fallback='hold', period=1.0)
    case.setup.instruct(TASK)
    case.setup.tokens.publish(tokens(99.0))
    graph.until(lambda: 'no plan is made' in case.node.health.message('no_subtask'))
    assert not case.read
    graph.until(lambda: case.read)
    assert case.read == [FIRST]
    assert not case.node.health.message('no_subtask')


def test_another_task_forgets_the_subtask_and_an_answer_under_way(graph, asked):
    case = asked(FIRST)
    case.setup.instruct(TASK)
    case.until_read(FIRST)
    under_way, told = threading.Event(), threading.Event()
    answer = case.server.answer

    def late(handler):
        under_way.set()
        told.wait(20.0)
        case.names[:] = [None]
        reply(handler, naming(SECOND))

    case.server.answer = late
    graph.until(under_way.is_set)
    case.server.answer = answer
    case.names[:] = [None]
    case.setup.instruct('press the button')
    graph.until(lambda: case.node._instruction == 'press the button')
    told.set()
    graph.run(0.3)
    assert case.plan().subtask == ''
    assert case.read[-1] == 'press the button'


def test_a_server_that_never_answers_ends_with_the_node(graph, chat, asked):
    case = asked(FIRST)
    case.server.answer = lambda handler: case.server.closing.wait(30.0)
    case.setup.instruct(TASK)
    graph.until(lambda: case.server.seen)
    thread = case.node._subtasks._server._thread
    assert case.plan().subtask == ''
    graph.remove(case.node)
    thread.join(10.0)
    assert not thread.is_alive()


def test_a_token_that_is_none_is_said_when_the_node_is_configured(graph, monkeypatch):
    monkeypatch.setenv('EFFICIENT_VLA_SERVER_TOKEN', 'two words')
    node = graph.add(
        ReasonerNode, start=False, subtasks__server='http://127.0.0.1:1', subtasks__model='m'
    )
    assert not node.autostart()
    assert 'EFFICIENT_VLA_SERVER_TOKEN holds a space' in node.health.message('configure')
