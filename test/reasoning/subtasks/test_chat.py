# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server of chat completions is asked, and which of its answers are subtasks."""

import base64
import io
import json

import numpy as np
import pytest
from fixtures.chat import completion, naming
from PIL import Image

from efficient_vla.errors import PolicyServerError
from efficient_vla.reasoning.subtasks.chat import LONGEST, Question, read_answer, request_body
from efficient_vla.reasoning.subtasks.settings import SubtaskSettings, completions_url
from efficient_vla.settings import InvalidSettingError, build

KNOWN = ('open the drawer', 'close the window')
TASK = 'open the drawer and then close the window'


def asked(question, **values):
    return json.loads(request_body(question, build(SubtaskSettings, values)))


def test_the_model_is_told_the_task_the_steps_and_what_is_under_way():
    question = Question(TASK, ('open the drawer',), 'close the window', 3.4)
    body = asked(question, choices=KNOWN, prompt='Plan.', max_tokens=64, model='m')
    system, user = body['messages']
    (text,) = user['content']
    assert (body['model'], body['max_tokens'], system['content']) == ('m', 64, 'Plan.')
    assert text['text'].splitlines() == [
        f'Task: {TASK}',
        'Steps that the arm knows: open the drawer; close the window',
        'Steps before: open the drawer',
        'Step under way for 3 s: close the window',
    ]


def test_the_answer_is_held_to_the_sentences_that_the_policy_knows():
    schema = asked(Question(TASK), choices=KNOWN)['response_format']['json_schema']['schema']
    assert schema['properties']['subtask']['enum'] == list(KNOWN)
    assert (schema['required'], schema['additionalProperties']) == (['subtask'], False)


def test_images_are_shrunk_and_sent_as_jpeg():
    image = np.full((100, 200, 3), (250, 10, 10), np.uint8)
    _, user = asked(Question(TASK, images=(image, image)), image_size=50)['messages']
    _, first, second = user['content']
    assert first == second
    kind, _, data = first['image_url']['url'].partition(',')
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (kind, picture.format, picture.size) == ('data:image/jpeg;base64', 'JPEG', (50, 25))
    assert np.abs(np.array(picture).mean((0, 1)) - image[0, 0]).max() < 10


@pytest.mark.parametrize('said', ['close the window', ' Close the  window. ', 'CLOSE THE WINDOW!'])
def test_a_subtask_is_the_known_sentence_that_it_means(said):
    assert read_answer(naming(said), KNOWN) == 'close the window'


def test_without_known_sentences_any_sentence_is_a_subtask():
    assert read_answer(naming('  put the  cup down '), ()) == 'put the cup down'


@pytest.mark.parametrize(
    ('body', 'words'),
    [
        (b'', 'expected JSON'),
        (b'<html>Bad gateway</html>', 'expected JSON'),
        (b'\xff\xfe\x00', 'expected JSON'),
        (b'[' * 100_000, 'expected JSON'),
        (b'[]', 'expected choices'),
        (b'{"choices": []}', 'expected choices'),
        (b'{"choices": {"message": 1}}', 'expected choices'),
        (b'{"error": {"message": "no such model"}}', 'expected choices'),
        (completion(None), 'expected choices'),
        (completion([{'text': 'open the drawer'}]), 'expected choices'),
        (completion('open the drawer'), 'expected JSON'),
        (completion('{"subtask": "open the dra', finish_reason='length'), 'max_tokens'),
        (completion('"open the drawer"'), 'expected {"subtask"'),
        (completion('{"step": "open the drawer"}'), 'expected {"subtask"'),
        (completion('{"subtask": "open the drawer", "speed": 9}'), 'expected {"subtask"'),
        (naming(7), 'expected one sentence'),
        (naming(None), 'expected one sentence'),
        (naming(''), 'is empty'),
        (naming('открой ящик'), 'not a Latin letter'),
        (naming('a' * (LONGEST + 1)), f'at most {LONGEST}'),
        (naming('throw the cup'), 'expected one of subtasks.choices'),
    ],
)  # fmt: skip
def test_any_other_answer_is_refused_in_one_short_line(body, words):
    with pytest.raises(PolicyServerError) as refused:
        read_answer(body, KNOWN)
    said = str(refused.value)
    assert words in said
    assert len(said) < 400
    assert said.isprintable()


@pytest.mark.parametrize(
    ('server', 'url'),
    [
        ('http://gpu.lan:8000', 'http://gpu.lan:8000/v1/chat/completions'),
        ('https://host/v1/', 'https://host/v1/chat/completions'),
        ('http://[::1]:80/api', 'http://[::1]:80/api/v1/chat/completions'),
    ],
)
def test_completions_are_below_the_address(server, url):
    assert completions_url(server) == url


@pytest.mark.parametrize(
    'server',
    ['gpu.lan:8000', 'ws://h:1', 'http://', 'http://h:99999', 'http://h:1/?a=b', 'http://h h:1',
     'http://[zz]:1', 'file:///etc/passwd', 'http://h:1\n'],
)  # fmt: skip
def test_what_is_no_address_is_refused(server):
    with pytest.raises(InvalidSettingError, match=r'expected http://HOST:PORT'):
        completions_url(server)


def test_an_address_with_a_password_is_refused_and_not_repeated():
    with pytest.raises(InvalidSettingError) as refused:
        build(SubtaskSettings, {'server': 'http://me:secret@h:1', 'model': 'm'})
    assert 'secret' not in str(refused.value)
    assert 'without user and password' in str(refused.value)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'server': 'http://h:1'}, 'subtasks.model is empty'),
        ({'server': 'http://h:1', 'model': 'm', 'certificate': 'ca.pem'}, 'no https'),
        ({'server': 'http://h:1', 'model': 'm', 'images': ('',)}, 'names of topics'),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values, words):
    with pytest.raises(InvalidSettingError, match=words):
        build(SubtaskSettings, values)


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'choices': ['']}, 'instruction is empty'),
        ({'choices': ['open ' * 41]}, 'at most 200 characters'),
        ({'choices': ['open the drawer\n']}, 'without superfluous space'),
        ({'choices': ['открой']}, 'not a Latin letter'),
        ({'choices': ['Open it', 'open it.']}, "'open it' more than once"),
        ({'images': ['bad topic!']}, 'expected names of topics'),
        ({'images': ['a/image', 'a/image']}, 'each once'),
        ({'max_age': 1.0, 'period': 2.0}, r'at least period and timeout, 7\.0 s'),
    ],
)
def test_settings_under_which_no_answer_could_hold_are_refused(values, reason):
    with pytest.raises(InvalidSettingError, match=reason):
        build(SubtaskSettings, {'server': 'http://127.0.0.1:1', 'model': 'm', **values})
