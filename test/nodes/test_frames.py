# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Tool and cameras from tf2; a buffer of the test stands in for it, which wheels do not have."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
from fixtures.policies import write_policy
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, JointState

from efficient_vla.bringup.settings import ReasonerNodeSettings
from efficient_vla.nodes.base.conversions import joint_state, seconds_to_stamp
from efficient_vla.nodes.base.frames import Transforms, projection
from efficient_vla.nodes.base.qos import image_qos, state_qos
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import InvalidRecordError

HALF = math.sqrt(0.5)
FORWARD = (-0.5, 0.5, -0.5, 0.5)
"""Turns an optical frame so that it looks along x of its parent, its y down."""


@pytest.fixture
def listening():
    """Return the listeners that were not unregistered."""
    return []


@pytest.fixture
def transforms(monkeypatch, listening):
    """Return (base, frame) -> transform, which tf2 of the test knows."""
    known = {}

    class Listener:
        def __init__(self, buffer, node):
            listening.append(self)

        def unregister(self):
            listening.remove(self)

    class Buffer:
        def lookup_transform(self, base, frame, time):
            assert time.nanoseconds == 0, 'the newest is asked for'
            if (base, frame) not in known:
                raise LookupError(f'{frame} is not connected')
            return known[base, frame]

    module = ModuleType('tf2_ros')
    module.Buffer, module.TransformListener = Buffer, Listener
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)
    return known


def transform(place, quaternion, stamp=100.0):
    found = TransformStamped()
    found.header.stamp = seconds_to_stamp(stamp)
    for name, value in zip('xyz', place, strict=True):
        setattr(found.transform.translation, name, float(value))
    for name, value in zip('xyzw', quaternion, strict=True):
        setattr(found.transform.rotation, name, float(value))
    return found


def test_pose_is_the_newest_with_a_quaternion_of_positive_w(transforms):
    frames = Transforms(None)
    transforms['base', 'tool'] = transform((1, 2, 3), (0, 0, HALF, -HALF))
    pose = frames.pose('base', 'tool', 100.2, 0.5)
    assert pose == pytest.approx([1, 2, 3, 0, 0, -HALF, HALF])


@pytest.mark.parametrize(
    ('found', 'words'),
    [
        (None, 'no transform from base to tool: tool is not connected'),
        (transform((0, 0, 0), (0, 0, 0, 1), stamp=99.0), 'is 1.000 s older than robot_state'),
        (transform((0, 0, 0), (0, 0, 0, 0)), 'a unit quaternion'),
        (transform((math.nan, 0, 0), (0, 0, 0, 1)), 'finite numbers'),
    ],
)
def test_transform_that_cannot_be_used_is_refused(transforms, found, words):
    if found is not None:
        transforms['base', 'tool'] = found
    with pytest.raises(InvalidRecordError, match=words):
        Transforms(None).pose('base', 'tool', 100.0, 0.5)


def test_static_transform_has_no_age(transforms):
    transforms['base', 'tool'] = transform((0, 0, 0), (0, 0, 0, 1), stamp=0.0)
    assert Transforms(None).pose('base', 'tool', 100.0, 0.5).tolist() == [0, 0, 0, 0, 0, 0, 1]


def test_without_tf2_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    with pytest.raises(InvalidSettingError, match='Install it'):
        Transforms(None)


def camera_info(**fields):
    matrix = [200.0, 0.0, 160.0, 0.0, 200.0, 120.0, 0.0, 0.0, 1.0]
    return CameraInfo(**{'width': 320, 'height': 240, 'k': matrix, **fields})


def test_point_before_the_camera_is_where_the_pinhole_shows_it():
    camera = np.array([1.0, 0.0, 0.5, *FORWARD])
    matrix = projection(camera_info(), camera)
    # 2 m ahead, 0.4 m to the left and 0.3 m above the axis: 40 and 30 px off the middle.
    u, v, w = matrix @ [3.0, 0.4, 0.8, 1.0]
    assert (u / w * 320, v / w * 240, w) == pytest.approx((120, 90, 2))
    rectified = np.zeros(12)
    rectified[[0, 2, 5, 6, 10]] = 100, 160, 100, 120, 1
    u, v, w = projection(camera_info(p=rectified), camera) @ [3.0, 0.4, 0.8, 1.0]
    assert (u / w * 320, v / w * 240) == pytest.approx((140, 105))


@pytest.mark.parametrize('fields', [{'k': [0.0] * 9}, {'width': 0}, {'k': [math.nan] * 9}])
def test_camera_without_a_calibration_is_refused(fields):
    with pytest.raises(InvalidRecordError, match='Calibrate it'):
        projection(camera_info(**fields), np.array([0, 0, 0, *FORWARD]))


def test_protection_may_wait_for_the_calibration_only_where_it_comes():
    protect = {'pruning.protect.end_effector': True}
    with pytest.raises(InvalidSettingError, match='all zeros'):
        build(ReasonerNodeSettings, protect)
    build(ReasonerNodeSettings, {**protect, 'camera_infos': ['camera_info']})


def test_reasoner_takes_pose_and_projection_of_tf2(graph, tmp_path, transforms, listening):
    names = ('x', 'y', 'z', 'qw', 'finger')
    folder = write_policy(tmp_path, state_names=names)
    transforms['base', 'tool'] = transform((0.1, 0.2, 0.3), (0, 0, 0, 1))
    transforms['base', 'eye'] = transform((1.0, 0.0, 0.5), FORWARD, stamp=0.0)
    node = graph.add(
        ReasonerNode,
        policy=str(folder),
        tool_frame='tool',
        base_frame='base',
        camera_infos=['front/camera_info'],
    )
    states = graph.publisher(JointState, 'robot_state', state_qos())
    infos = graph.publisher(CameraInfo, 'front/camera_info', image_qos())
    states.publish(joint_state(['other', 'finger'], np.array([9.0, 0.7]), graph.now))
    graph.until(lambda: len(node._states))
    assert node._states.nearest(graph.now)[0] == pytest.approx([0.1, 0.2, 0.3, 1.0, 0.7])
    info = camera_info()
    info.header.frame_id, info.header.stamp = 'eye', seconds_to_stamp(graph.now)
    infos.publish(info)
    graph.until(lambda: any(node.applied.pruning.protect.projection))
    expected = projection(info, np.array([1.0, 0.0, 0.5, *FORWARD])).ravel()
    assert node.applied.pruning.protect.projection == pytest.approx(expected)
    transforms.pop(('base', 'eye'))
    infos.publish(info)
    graph.until(lambda: node.health.message('camera_info'))
    assert 'no transform from base to eye' in node.health.message('camera_info')
    assert len(listening) == 2
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert not listening, 'nobody hears /tf any more'


def test_projections_do_not_pile_up_behind_a_pass(graph, tmp_path, transforms):
    folder = write_policy(tmp_path)
    camera = {'camera_infos': ['front/camera_info'], 'base_frame': 'base'}
    node = graph.add(ReasonerNode, policy=str(folder), **camera)
    info, queued = camera_info(), []
    info.header.frame_id, info.header.stamp = 'eye', seconds_to_stamp(graph.now)
    call = node._worker.call
    node._worker.call = queued.append
    for place in range(1, 6):
        transforms['base', 'eye'] = transform((place, 0.0, 0.5), FORWARD, stamp=0.0)
        node._calibration._take(0, info)
    assert len(queued) == 1
    call(queued.pop())
    graph.settle()
    expected = projection(info, np.array([5.0, 0.0, 0.5, *FORWARD])).ravel()
    assert node.applied.pruning.protect.projection == pytest.approx(expected)
    transforms['base', 'eye'] = transform((6.0, 0.0, 0.5), FORWARD, stamp=0.0)
    node._calibration._take(0, info)
    assert len(queued) == 1, 'the next one is told'
