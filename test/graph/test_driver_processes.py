# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a driver does wrong between real processes: the arm rests, or goes on as documented."""

import pytest

from benchmarks.drivers.faults import FAULTS
from benchmarks.drivers.rig import FaultRig

pytestmark = pytest.mark.alone
CHEAP = ('slider', 'protective_stop', 'rejected', 'lost', 'clock_ahead', 'clock_back')


@pytest.fixture(scope='module')
def rig(tmp_path_factory, module_ros_domain):
    with FaultRig('ur5e', tmp_path_factory.mktemp('ur5e')) as rig:
        rig.go()
        yield rig


@pytest.mark.parametrize('fault', CHEAP)
def test_the_arm_rests_or_goes_on_as_documented(rig, fault):
    FAULTS[fault](rig)


def test_a_driver_that_is_killed_is_started_again_and_followed_from_where_the_arm_is(rig):
    FAULTS['killed'](rig)
