# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The doctor names what is wrong and how to mend it, and never breaks itself."""

import hashlib
import os
from pathlib import Path

import pytest

from efficient_vla import policy
from efficient_vla.bringup import check_machine, check_software, doctor
from efficient_vla.bringup.check import Check, Result, probed
from efficient_vla.bringup.fastdds import profile_variable


def good() -> Check:
    return Check('good', Result.OK, 'as it should be')


def bad() -> Check:
    return Check('bad', Result.FAIL, 'gone', 'make setup')


def doubtful() -> Check:
    return Check('doubtful', Result.WARN, 'slow', 'make it fast')


def broken() -> Check:
    raise RuntimeError('the check itself')


@pytest.mark.parametrize(
    ('checks', 'code'),
    [((good,), 0), ((good, doubtful), 0), ((good, bad), 1), ((broken, good), 1)],
)
def test_the_exit_code_is_1_when_a_check_failed(
    monkeypatch: pytest.MonkeyPatch, checks: tuple, code: int
) -> None:
    monkeypatch.setattr(doctor, 'SOFTWARE_CHECKS', checks)
    monkeypatch.setattr(doctor, 'MACHINE_CHECKS', ())
    assert doctor.main() == code


def test_a_check_that_breaks_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, 'SOFTWARE_CHECKS', (broken,))
    monkeypatch.setattr(doctor, 'MACHINE_CHECKS', (good,))
    first, second = doctor.run_checks()
    assert first.result is Result.FAIL
    assert 'the check itself' in first.detail
    assert second.result is Result.OK


def test_the_remedy_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(doctor, 'SOFTWARE_CHECKS', (bad,))
    monkeypatch.setattr(doctor, 'MACHINE_CHECKS', ())
    doctor.main()
    assert 'make setup' in capsys.readouterr().out


def test_a_probe_that_crashes_is_reported_with_its_last_words() -> None:
    check = probed('probe', 'raise ImportError("no such thing")', 'install it')
    assert check == Check('probe', Result.FAIL, 'ImportError: no such thing', 'install it')


def test_a_probe_that_is_killed_is_reported() -> None:
    check = probed('probe', 'import os; os.kill(os.getpid(), 9)', 'install it')
    assert check.result is Result.FAIL
    assert '-9' in check.detail


PROFILE = """<dds xmlns="http://www.eprosima.com"><profiles>
<transport_descriptors><transport_descriptor><transport_id>shm</transport_id><type>SHM</type>
<segment_size>{}</segment_size></transport_descriptor></transport_descriptors>
<participant profile_name="p" is_default_profile="true"><rtps><userTransports>
<transport_id>shm</transport_id></userTransports><useBuiltinTransports>false</useBuiltinTransports>
</rtps></participant></profiles></dds>
"""


@pytest.mark.parametrize(
    ('text', 'result', 'detail'),
    [
        (PROFILE.format(2**26), Result.OK, 'MB of shared memory a node'),
        (PROFILE.format(2**22), Result.WARN, 'expected 64 MB'),
        # Fast DDS passes over what it cannot read, and takes its defaults.
        ('<dds>', Result.WARN, 'expected 64 MB'),
    ],
)
def test_effect_of_the_middleware_profile_is_checked(
    monkeypatch: pytest.MonkeyPatch,
    ros_domain: int,
    tmp_path: Path,
    text: str,
    result: Result,
    detail: str,
) -> None:
    path = tmp_path / 'profile.xml'
    path.write_text(text)
    variable = profile_variable(os.environ)
    monkeypatch.setenv(variable, str(path))
    check = check_software.profile()
    assert check.result is result, check.detail
    assert detail in check.detail
    assert result is Result.OK or check.remedy.startswith(f'export {variable}=/')


@pytest.mark.skipif(
    profile_variable(os.environ).startswith('FASTDDS'), reason='Fast DDS 3 reads both variables'
)
def test_profile_in_a_variable_that_this_version_does_not_read_is_told(
    monkeypatch: pytest.MonkeyPatch, ros_domain: int, tmp_path: Path
) -> None:
    """As with Jazzy's Fast DDS and the newer name: all looked well and images were lost."""
    good, none = tmp_path / 'good.xml', tmp_path / 'none.xml'
    good.write_text(PROFILE.format(2**26))
    none.write_text(PROFILE.format(2**19))
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', str(good))
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', str(none))
    assert check_software.profile().result is Result.WARN


def test_another_middleware_needs_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_zenoh_cpp')
    assert check_software.profile().detail == 'not used by rmw_zenoh_cpp'


@pytest.mark.parametrize(
    ('domain', 'reach', 'result'),
    [
        ('0', 'LOCALHOST', Result.OK),
        ('0', 'SUBNET', Result.WARN),
        ('300', 'LOCALHOST', Result.FAIL),
        ('x', 'LOCALHOST', Result.FAIL),
    ],
)
def test_the_reach_of_the_nodes_is_judged(
    monkeypatch: pytest.MonkeyPatch, domain: str, reach: str, result: Result
) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', domain)
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', reach)
    assert check_machine.discovery().result is result


def test_a_processor_without_bf16_is_told_what_to_use_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_machine, '_processor_flags', lambda: {'avx2', 'avx_vnni'})
    check = check_machine.processor()
    assert check.result is Result.WARN
    assert 'int8_dynamic' in check.remedy


def test_a_place_without_logs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('ROS_LOG_DIR', 'ROS_HOME', 'HOME'):
        monkeypatch.delenv(name, raising=False)
    assert check_software.log_folder().result is Result.FAIL


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of models with one tiny policy and its checksums."""
    weights = tmp_path / 'evla-nano' / 'model.safetensors'
    weights.parent.mkdir()
    weights.write_bytes(b'weights')
    (tmp_path / 'evla-nano' / 'policy.json').write_text('{}')
    digest = hashlib.sha256(b'weights').hexdigest()
    (tmp_path / 'SHA256SUMS').write_text(f'{digest}  evla-nano/model.safetensors\n')
    monkeypatch.setattr(policy, 'default_policy', lambda: tmp_path / 'evla-nano')
    return tmp_path


def test_a_complete_checkpoint_is_fine(models: Path) -> None:
    assert check_software.checkpoint().result is Result.OK


def test_a_truncated_checkpoint_is_found(models: Path) -> None:
    (models / 'evla-nano' / 'model.safetensors').write_bytes(b'weig')
    check = check_software.checkpoint()
    assert check.result is Result.FAIL
    assert 'model.safetensors differs' in check.detail


def test_a_checkpoint_with_a_missing_file_is_found(models: Path) -> None:
    (models / 'evla-nano' / 'model.safetensors').unlink()
    assert 'is missing' in check_software.checkpoint().detail


def test_a_checkpoint_without_checksums_is_a_warning(models: Path) -> None:
    (models / 'SHA256SUMS').unlink()
    assert check_software.checkpoint().result is Result.WARN
