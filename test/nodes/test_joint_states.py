# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Joint states of ordinary drivers: any order, other joints beside, arm and gripper apart."""

import math

import numpy as np
import pytest
from nodes.arm import Arm
from sensor_msgs.msg import JointState

from efficient_vla.nodes.base.conversions import AbsentNamesError, joint_state
from efficient_vla.nodes.base.joint_states import JointStates
from efficient_vla.types import InvalidRecordError

NAMES = ('shoulder', 'elbow', 'finger')
MAX_AGE = 0.5


def state(**positions: float) -> JointState:
    return JointState(name=list(positions), position=list(positions.values()))


@pytest.fixture
def states() -> JointStates:
    return JointStates(NAMES)


def test_order_and_other_joints_and_missing_velocities_do_not_matter(states):
    message = state(wheel=9.0, finger=0.3, elbow=0.2, shoulder=0.1)
    assert states.take(message, 1.0, MAX_AGE).tolist() == [0.1, 0.2, 0.3]


def test_a_joint_that_the_driver_calls_otherwise_is_found_by_its_name():
    states = JointStates(NAMES, ['finger:=gripper_left_joint'])
    message = state(gripper_left_joint=0.3, elbow=0.2, shoulder=0.1, finger=7.0)
    assert states.take(message, 1.0, MAX_AGE).tolist() == [0.1, 0.2, 0.3]


def test_every_message_of_the_arm_makes_a_state_with_the_newest_of_the_gripper(states):
    assert states.take(state(finger=0.3), 1.0, MAX_AGE) is None
    assert states.take(state(elbow=0.2, shoulder=0.1), 1.1, MAX_AGE).tolist() == [0.1, 0.2, 0.3]
    assert states.take(state(elbow=0.5, shoulder=0.4), 1.2, MAX_AGE).tolist() == [0.4, 0.5, 0.3]
    assert states.take(state(finger=0.6), 1.3, MAX_AGE) is None
    assert states.take(state(elbow=0.5, shoulder=0.4), 1.4, MAX_AGE).tolist() == [0.4, 0.5, 0.6]


@pytest.mark.parametrize(('stamp', 'taken'), [(1.5, True), (1.51, False), (0.4, False)])
def test_value_that_is_too_old_or_of_another_clock_is_named(states, stamp, taken):
    states.take(state(finger=0.3), 1.0, MAX_AGE)
    arm = state(elbow=0.2, shoulder=0.1)
    if taken:
        assert states.take(arm, stamp, MAX_AGE) is not None
        return
    with pytest.raises(AbsentNamesError, match=f'of finger is {stamp - 1.0:.3f} s older'):
        states.take(arm, stamp, MAX_AGE)


def test_names_that_never_come_are_told_with_those_that_do(states):
    with pytest.raises(AbsentNamesError) as refused:
        states.take(state(elbow=0.2, shoulder=0.1, left_wheel=1.0), 1.0, MAX_AGE)
    words = str(refused.value)
    assert 'has the names shoulder, elbow, left_wheel;' in words
    assert 'nothing came of finger.' in words


def test_message_of_other_joints_is_no_state(states):
    with pytest.raises(AbsentNamesError, match='nothing came of shoulder, elbow, finger'):
        states.take(state(wheel=1.0), 1.0, MAX_AGE)
    with pytest.raises(AbsentNamesError, match='0 positions for 1 names'):
        states.take(JointState(name=['wheel'], velocity=[1.0]), 1.0, MAX_AGE)


def test_value_that_is_not_finite_counts_only_where_it_is_wanted(states):
    message = state(shoulder=0.1, elbow=0.2, finger=0.3, wheel=math.nan)
    assert states.take(message, 1.0, MAX_AGE) is not None
    with pytest.raises(InvalidRecordError, match='not finite for elbow'):
        states.take(state(shoulder=0.1, elbow=math.nan), 1.0, MAX_AGE)


def test_names_of_others_are_remembered_up_to_a_bound(states):
    many = {f'joint_{number}': 0.0 for number in range(1000)}
    with pytest.raises(AbsentNamesError) as refused:
        states.take(state(**many), 1.0, MAX_AGE)
    assert 'joint_31,' in str(refused.value) or 'joint_31;' in str(refused.value)
    assert 'joint_32' not in str(refused.value)


def test_controller_takes_arm_and_gripper_of_two_drivers_without_a_word(graph):
    names = ['shoulder', 'elbow', 'finger']
    arm = Arm(graph, names=names, limits__position_low=[-1.0], limits__position_high=[1.0])
    graph.peer.destroy_publisher(arm.states)
    drivers = [graph.publisher(JointState, 'robot_state', arm.states.qos_profile) for _ in '12']
    for number in range(40):
        graph.set_time(graph.now + 0.01)
        place = 0.001 * number
        drivers[0].publish(joint_state(['elbow', 'shoulder'], np.array([0.2, place]), graph.now))
        if number % 4 == 0:
            drivers[1].publish(joint_state(['finger'], np.array([0.3]), graph.now))
        graph.settle(events=4)
    watch = arm.node._watch
    assert watch.measured[1:].tolist() == [0.2, 0.3]
    assert watch.measured[0] > 0.03
    assert not arm.node.health.message('robot_state')
    assert not arm.node.health.message('robot_state_source')
    assert arm.node.health.counts['robot_state'] == 0
