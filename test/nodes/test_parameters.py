# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings are parameters: described, checked as a set, applied as a set."""

import math
import re

import pytest
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter

from efficient_vla.nodes.controller import ControllerNode
from efficient_vla.nodes.monitor import MonitorNode
from efficient_vla.nodes.reasoner import ReasonerNode


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
