# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings are parameters: described, checked as a set, applied as a set."""

import math
import re
import threading

import pytest
from nodes.test_lifecycle import NODES
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter

from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.nodes.monitor.node import MonitorNode
from efficient_vla.nodes.robot.node import SimulatedRobotNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.policy import default_policy
from efficient_vla.settings import InvalidSettingError, flatten
from efficient_vla.types import InvalidRecordError


@pytest.fixture
def reasoner(graph):
    return graph.add(ReasonerNode, pruning__method='fastv', pruning__keep=0.5)


def set_all(node, **values):
    items = [Parameter(name.replace('__', '.'), value=value) for name, value in values.items()]
    return node.set_parameters_atomically(items)


def test_start_up_values_are_taken(reasoner):
    assert reasoner.settings.pruning.keep == 0.5
    assert reasoner.get_parameter('pruning.method').value == 'fastv'


def test_descriptor_shows_unit_range_choices_and_read_only(reasoner):
    keep = reasoner.describe_parameter('pruning.keep')
    assert keep.floating_point_range[0].to_value == 1.0
    method = reasoner.describe_parameter('pruning.method')
    assert 'fastv' in method.additional_constraints
    assert reasoner.describe_parameter('quantization.mode').read_only
    assert '[s]' in reasoner.describe_parameter('plan_validity').description
    assert reasoner.describe_parameter('threads').integer_range[0].from_value == 1


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'pruning__keep': 1.5}, 'out of range'),
        ({'pruning__keep': math.nan}, 'range|finite'),
        ({'pruning__method': 'magic'}, 'expected one of'),
        ({'pruning__keep': 'half'}, 'type'),
        ({'quantization__mode': 'bf16'}, 'read-only'),
        ({'pruning__keep': 0.25, 'pruning__layer': 0}, 'pruning.layer is 0'),
    ],
)
def test_bad_set_is_rejected_whole_with_the_reason(reasoner, values, words):
    earlier = reasoner.settings
    result = set_all(reasoner, **values)
    assert not result.successful
    assert re.search(words, result.reason), result.reason
    assert reasoner.settings == earlier
    assert reasoner.get_parameter('pruning.keep').value == 0.5


def test_good_set_is_applied_once_and_whole(reasoner, monkeypatch):
    changes = []
    monkeypatch.setattr(
        reasoner._parameters_of_node, '_changed', lambda old, new: changes.append((old, new))
    )
    assert set_all(reasoner, pruning__keep=0.25, pruning__layer=4).successful
    assert len(changes) == 1
    assert (reasoner.settings.pruning.keep, reasoner.settings.pruning.layer) == (0.25, 4)


@pytest.mark.parametrize('kind', [*NODES, SimulatedRobotNode])
@pytest.mark.parametrize('given', [True, False])
def test_another_clock_is_refused_at_run_time_by_every_node(graph, kind, given):
    node = kind(parameter_overrides=[Parameter('use_sim_time', value=given)])
    graph.nodes.append(node)
    graph.executor.add_node(node)
    assert node.get_clock().ros_time_is_active is given
    for result in (
        set_all(node, use_sim_time=not given),
        node.set_parameters([Parameter('use_sim_time', value=not given)])[0],
    ):
        assert not result.successful
        assert f'use_sim_time is {not given}; expected {given}' in result.reason
        assert 'start it again' in result.reason
    assert node.get_clock().ros_time_is_active is given
    assert node.get_parameter('use_sim_time').value is given
    assert set_all(node, use_sim_time=given).successful


def test_set_over_the_wire_gives_the_reason(graph, reasoner):
    items = [
        Parameter('pruning.keep', value=0.25).to_parameter_msg(),
        Parameter('pruning.layer', value=0).to_parameter_msg(),
    ]
    service = 'reasoner/set_parameters_atomically'
    result = graph.call(SetParametersAtomically, service, parameters=items).result
    assert not result.successful
    assert 'pruning.layer is 0' in result.reason


def test_new_settings_reach_the_stage(graph, reasoner):
    assert set_all(reasoner, pruning__keep=0.25).successful
    graph.settle()
    assert reasoner.stage._settings.pruning.keep == 0.25


PROJECTION = [float(value) for value in range(12)]


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'pruning.camera_weights': [1.0, 0.0]}, 'all 0 .one pool. or all above 0'),
        ({'pruning.camera_weights': [1.0, -1.0]}, 'at least 0'),
        ({'pruning.camera_weights': [1.0, math.nan]}, 'finite'),
        ({'pruning.camera_weights': 1.0}, 'type'),
        ({'pruning.protect.projection': PROJECTION[:11]}, '11 numbers; expected 12 a camera'),
        ({'pruning.protect.projection': [math.inf] * 12}, 'finite'),
        ({'pruning.protect.end_effector': True}, 'projection is all zeros'),
        ({'pruning.gate.slow': 0.5, 'pruning.gate.fast': 0.2}, 'slow 0.5 m/s is above'),
        ({'pruning.method': 'lightvla', 'pruning.layer': 2}, 'expected 0, since it judges tokens'),
        ({'reuse.method': 'kv'}, 'none, vla_cache'),
        ({'reuse.max_age': -1.0}, 'out of range'),
    ],
)
def test_token_settings_that_cannot_work_are_refused_over_the_wire(graph, reasoner, values, words):
    earlier, reached = reasoner.settings, reasoner.stage._settings
    items = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    service = 'reasoner/set_parameters_atomically'
    result = graph.call(SetParametersAtomically, service, parameters=items).result
    assert not result.successful
    assert re.search(words, result.reason), result.reason
    assert reasoner.settings == earlier
    assert reasoner.stage._settings is reached
    for name in values:
        value = reasoner.get_parameter(name).value
        kept = flatten(earlier)[name]
        assert (tuple(value) if isinstance(kept, tuple) else value) == kept


def test_lists_of_numbers_change_over_the_wire(graph, reasoner):
    values = {
        'pruning.protect.projection': PROJECTION,
        'pruning.protect.end_effector': True,
        'pruning.camera_weights': [2.0, 1.0],
        'reuse.method': 'vla_cache',
        'pruning.gate.method': 'speed',
    }
    items = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    service = 'reasoner/set_parameters_atomically'
    result = graph.call(SetParametersAtomically, service, parameters=items).result
    assert result.successful, result.reason
    pruning = reasoner.stage._settings.pruning
    assert pruning.protect.projection == tuple(PROJECTION)
    assert pruning.camera_weights == (2.0, 1.0)
    # A list as long as another number of cameras needs, and one that is too long again.
    two = {'pruning.protect.projection': PROJECTION * 2}
    assert set_all(reasoner, **two).successful
    bad = {'pruning.protect.projection': [*PROJECTION, 1.0]}
    assert 'has 13 numbers' in set_all(reasoner, **bad).reason
    assert reasoner.stage._settings.pruning.protect.projection == tuple(PROJECTION * 2)


class Picky:
    """A stage that cannot do everything that the rules allow."""

    parameters_mb = 0.0
    state_names = ()
    cameras = ('corner2',)

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.parameters_mb = 0.0
        self.taken: list = []

    def configure(self, settings):
        self.taken.append(settings)
        if settings.pruning.keep < 0.2:
            raise self.error

    def reset(self, reason='reset'):
        """Forget nothing."""


@pytest.mark.parametrize(
    ('kind', 'text', 'words'),
    [
        (InvalidRecordError, 'keep is too little for this decoder', 'keep is too little'),
        (InvalidSettingError, 'keep is too little for this policy', 'keep is too little'),
        (RuntimeError, 'out of memory', 'the policy failed .* RuntimeError: out of memory'),
    ],
)
def test_what_the_stage_refuses_is_refused_and_the_earlier_set_holds(reasoner, kind, text, words):
    # Made here: a parameter lives for ever, and its traceback would keep the node alive.
    reasoner.stage = Picky(kind(text))
    earlier = reasoner.settings
    result = set_all(reasoner, pruning__keep=0.1, plan_validity=1.0)
    assert not result.successful
    assert re.search(words, result.reason), result.reason
    assert reasoner.settings == reasoner.applied == earlier
    assert reasoner.get_parameter('pruning.keep').value == 0.5
    assert reasoner.get_parameter('plan_validity').value == 2.0
    # The stage is back at what it had, and takes the next good set.
    assert reasoner.stage.taken[-1] == earlier
    assert set_all(reasoner, pruning__keep=0.3).successful
    assert reasoner.stage.taken[-1] == reasoner.applied == reasoner.settings
    assert not reasoner.health.message('pass')


def test_settings_wait_for_the_pass_under_way_but_not_for_ever(reasoner, monkeypatch):
    started, gate = threading.Event(), threading.Event()

    def busy():
        started.set()
        assert gate.wait(10.0)

    monkeypatch.setattr('efficient_vla.nodes.stages.stage.ACCEPT_TIMEOUT_S', 0.05)
    reasoner._worker.call(busy)
    assert started.wait(10.0)
    result = set_all(reasoner, pruning__keep=0.25)
    gate.set()
    assert not result.successful
    assert 'reasoner was busy for more than 0.05 s; nothing is changed' in result.reason
    assert reasoner.wait_idle(5.0)
    assert reasoner.stage._settings.pruning.keep == reasoner.settings.pruning.keep == 0.5


def test_settings_of_an_unconfigured_node_are_for_the_next_configure(graph):
    node = graph.add(ReasonerNode, start=False)
    assert set_all(node, pruning__method='fastv', pruning__keep=0.25).successful
    assert node.autostart()
    assert node.stage._settings.pruning.keep == 0.25
    assert node.method() == 'pruning=fastv keep=0.25'


def test_learned_policy_refuses_a_layer_that_it_does_not_have(graph):
    node = graph.add(ReasonerNode, policy=str(default_policy()), pruning__method='fastv')
    result = set_all(node, pruning__layer=100)
    assert not result.successful
    assert 'layer' in result.reason
    assert node.settings.pruning.layer == node.stage._settings.pruning.layer == -1


def test_unknown_key_keeps_the_node_unconfigured(graph):
    node = graph.add(ReasonerNode, start=False, pruning__kep=0.5)
    assert not node.autostart()
    message = node.health.status('', {}).message
    assert "unknown parameter 'pruning.kep'" in message
    assert 'pruning.keep' in message
    assert not node.configured


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'pruning__keep': 7.0}, 'pruning.keep is 7.0'),
        ({'pruning__method': 'fastv', 'pruning__layer': 0}, 'pruning.layer is 0'),
        ({'max_rate': 'fast'}, 'max_rate'),
    ],
)
def test_bad_start_up_values_keep_the_node_unconfigured(graph, values, words):
    node = graph.add(ReasonerNode, start=False, **values)
    assert not node.autostart()
    assert words in node.health.status('', {}).message


def test_whole_number_in_a_file_is_taken_for_a_fraction(graph):
    node = graph.add(MonitorNode, dim=0)
    assert node.settings.dim == 0.0


def test_lists_are_parameters_too(graph):
    node = graph.add(ControllerNode, limits__max_velocity=[0.1, 0.2, 0.3])
    assert node.settings.limits.max_velocity == (0.1, 0.2, 0.3)
    result = set_all(node, limits__max_velocity=[0.1, -0.2, 0.3])
    assert not result.successful
    assert 'at least' in result.reason
    assert set_all(node, limits__max_velocity=[0.4]).successful
    assert node.settings.limits.max_velocity == (0.4,)


def test_node_says_what_has_no_effect(graph):
    logs = graph.hear(Log, '/rosout', report_qos())
    node = graph.add(ReasonerNode, pruning__keep=0.25)
    graph.until(lambda: node.count_subscribers('/rosout'))
    node.trigger_configure()
    told = 'pruning.keep 0.25 has no effect: pruning.method is none'
    graph.until(lambda: any(line.msg == told for line in logs))
