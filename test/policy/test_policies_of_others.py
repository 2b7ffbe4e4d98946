# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows as known policies give them, by the profiles of docs/actions.md; numbers by hand."""

import re

import numpy as np
import pytest
import yaml

from efficient_vla.action.settings import ActorSettings
from efficient_vla.joints import Joints, joints_of
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ControlMode, InvalidRecordError, RefusedChunkError
from package_files import ROOT

HALF = 0.5**0.5
POSE = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'gripper')


def told(title: str, **changes) -> dict:
    """Return the settings that docs/actions.md has under a title."""
    page = (ROOT / 'docs' / 'actions.md').read_text()
    part = page.partition(f'### {title}\n')[2]
    found = re.search(r'```yaml\n(.*?)```', part, re.S)
    assert found, f'docs/actions.md has no settings under {title}'
    return {**yaml.safe_load(found[1])['joints'], **changes}


def joints(title: str, states: int = 0, **changes) -> Joints:
    given = {f'joints.{key}': value for key, value in told(title, **changes).items()}
    settings = build(ActorSettings, given).joints
    return joints_of(settings, states, len(settings.names))


def test_open_x_embodiment_turns_about_fixed_axes_in_the_frame_of_the_robot():
    found = joints('Open X-Embodiment, Bridge')
    row = [0.02, 0.0, -0.01, np.pi / 2, 0.0, np.pi / 2, 1.0]
    expected = [0.02, 0.0, -0.01, 0.5, 0.5, 0.5, 0.5, -1.0]
    np.testing.assert_allclose(found.rows_to_robot(np.array([row])), [expected], atol=1e-7)
    assert found.meaning == {
        'names': POSE,
        'control_mode': ControlMode.EE_DELTA,
        'frame': 'base',
        'absolute': (),
    }
    back = found.rows_to_policy(np.array([expected]))
    np.testing.assert_allclose(back, [row], atol=1e-6)


def test_libero_counts_shares_of_5_cm_and_half_a_radian():
    found = joints('LIBERO', states=8)
    row = [1.0, 0.0, -0.5, 0.0, 0.0, 1.0, -1.0]
    expected = [0.05, 0.0, -0.025, 0.0, 0.0, np.sin(0.25), np.cos(0.25), -1.0]
    np.testing.assert_allclose(found.rows_to_robot(np.array([row])), [expected], atol=1e-7)
    # Its state is where the hand is [m], as a rotation vector [rad], and both fingers.
    robot = [0.3, 0.1, 0.2, 0.0, 0.0, HALF, HALF, 0.04, -0.04]
    state = found.state_to_policy(np.array(robot))
    np.testing.assert_allclose(state, [0.3, 0.1, 0.2, 0, 0, np.pi / 2, 0.04, -0.04], atol=1e-6)
    assert found.state_names == (*POSE[:7], 'finger_left', 'finger_right')


def test_aloha_has_two_arms_in_radians_and_grippers_as_shares():
    found = joints('ALOHA')
    row = np.full((1, 14), 0.25)
    rows = found.rows_to_robot(row)[0]
    np.testing.assert_allclose(rows[:6], 0.25)
    np.testing.assert_allclose(rows[[6, 13]], 0.021 + 0.25 * 0.036, rtol=1e-6)
    assert found.control_mode == ControlMode.JOINT_POSITION


def test_droid_counts_shares_of_a_fifth_of_a_radian_a_row():
    found = joints('DROID')
    rows = found.rows_to_robot(np.array([[0.5, -1.0, 0, 0, 0, 0, 0.1, 0.75]]))[0]
    np.testing.assert_allclose(rows, [0.1, -0.2, 0, 0, 0, 0, 0.02, 0.5], rtol=1e-6)
    assert found.control_mode == ControlMode.JOINT_DELTA
    turns = joints('DROID', mode='joint_velocity', unit=['rad'] * 7 + ['share'])
    rows = turns.rows_to_robot(np.array([[0.3, 0, 0, 0, 0, 0, 0, 0.0]]))[0]
    np.testing.assert_allclose(rows, [0.02, 0, 0, 0, 0, 0, 0, -1], rtol=1e-6)


def test_lerobot_counts_degrees_and_percent():
    found = joints('LeRobot, SO-101')
    rows = found.rows_to_robot(np.array([[90.0, -45.0, 0.0, 18.0, 180.0, 25.0]]))[0]
    jaw = -0.17453 + 0.25 * (1.74533 + 0.17453)
    np.testing.assert_allclose(rows, [np.pi / 2, -np.pi / 4, 0, np.pi / 10, np.pi, jaw], rtol=1e-6)


def test_umi_counts_from_the_observed_tool_in_two_rows_of_the_matrix():
    found = joints('UMI, end-effector 6D', states=10)
    state = np.array([0.4, 0.0, 0.3, 0.0, 0.0, HALF, HALF, 0.06])
    rows = [
        [0.1, 0.0, 0.0, 1, 0, 0, 0, 1, 0, 0.05],
        [0.0, 0.1, 0.0, 1, 0, 0, 0, 0, -1, 0.04],
    ]
    expected = [
        # The tool is turned by a quarter about z, so that its x is the robot's y.
        [0.4, 0.1, 0.3, 0.0, 0.0, HALF, HALF, 0.05],
        [0.3, 0.0, 0.3, 0.5, 0.5, 0.5, 0.5, 0.04],
    ]
    np.testing.assert_allclose(found.rows_to_robot(np.array(rows), state), expected, atol=1e-6)
    assert found.meaning['control_mode'] == ControlMode.EE_POSITION
    np.testing.assert_allclose(
        found.rows_to_policy(found.rows_to_robot(np.array(rows), state), state), rows, atol=1e-6
    )


def test_rows_of_joints_may_count_from_the_observation():
    found = joints('LeRobot, SO-101', states=6, reference=['observation'] * 5 + ['absolute'])
    state = np.array([0.1, 0.2, 0.0, 0.0, 0.0, 0.5])
    rows = found.rows_to_robot(np.array([[18.0, 36.0, 0.0, 0.0, 0.0, 100.0]]), state)[0]
    expected = [0.1 + np.pi / 10, 0.2 + np.pi / 5, 0, 0, 0, 1.74533]
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    assert found.control_mode == ControlMode.JOINT_POSITION


def test_a_gripper_out_of_its_range_is_refused():
    found = joints('Open X-Embodiment, Bridge')
    with pytest.raises(RefusedChunkError, match='chunk has -69 for gripper'):
        found.rows_to_robot(np.array([[0, 0, 0, 0, 0, 0, 35.0]]))


def test_a_rotation_that_is_none_is_refused_with_its_chunk():
    found = joints('UMI, end-effector 6D', states=10)
    row = np.array([[0, 0, 0, 1, 0, 0, 1, 0, 0, 0.05]], float)
    with pytest.raises(RefusedChunkError, match='span no plane'):
        found.rows_to_robot(row, np.array([0.4, 0, 0.3, 0, 0, 0, 1, 0.05]))
    with pytest.raises(InvalidRecordError, match='length 0'):
        joints('LIBERO', states=8).state_to_policy(np.zeros(9))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'rotation': ''}, r'joints\.rotation is empty while joints\.names has roll, pitch, yaw'),
        ({'rotation': 'euler_zyx'}, 'expected yaw, pitch, roll among them'),
        ({'rotation': 'rotvec'}, r"joints\.rotation is 'rotvec'; expected one of"),
        ({'mode': 'joint_delta'}, 'expected an ee mode'),
        ({'unit': ['m'] * 3 + ['1'] * 3 + ['share']}, 'joints.unit of roll is 1'),
        ({'sign': [1, 1, 1, -1, 1, 1, 1]}, 'joints.sign and joints.offset of roll are -1'),
        ({'mode': 'ee_position', 'frame': 'tool'}, 'frame of the tool'),
        ({'reference': ['observation']}, 'the state has no x, y, z, qx, qy, qz, qw'),
    ],
)
def test_what_no_policy_can_give_is_refused(changes, words):
    with pytest.raises(InvalidSettingError, match=words):
        joints('Open X-Embodiment, Bridge', **changes)
