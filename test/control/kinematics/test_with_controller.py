# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A controller with a model of the arm: rows of the tool move joints, and rules stop them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from control.kinematics import arms

from efficient_vla.control.controller import Controller
from efficient_vla.control.kinematics.loading import load_model
from efficient_vla.control.laid import Laid
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.state import State
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ActionChunk, ControlMode

TOOL = (0.0, 0.0, 0.1)
NAMES = (*(f'j{k}' for k in range(6)), 'gripper')
VALUES = {
    'ramp_time': 0.0,
    'watchdog.chunk_timeout': 5.0,
    'limits.max_velocity': (3.0,),
    'limits.max_acceleration': (15.0,),
    'limits.stop_deceleration': (15.0,),
    'limits.max_jerk': (500.0,),
}
PERIOD = 0.01


def start(
    tmp_path: Path,
    home: np.ndarray = arms.UR5E_HOME,
    **values: object,
) -> Controller:
    description = tmp_path / 'arm.urdf'
    description.write_text(arms.ur5e())
    settings = build(
        ControllerSettings, VALUES | {'kinematics.description': str(description), **values}
    )
    model = load_model(settings, NAMES)
    controller = Controller(settings, NAMES, model=model)
    controller.reset(np.append(home, -1.0), 0.0)
    assert controller.enable(0.0) is None
    return controller


def tools(controller: Controller, end: float, begin: float = 0.0) -> np.ndarray:
    """Tick from ``begin`` to ``end`` and return the places of the tool [T, 3]."""
    count = round((end - begin) / PERIOD)
    return np.array(
        [
            arms.forward(arms.UR5E, TOOL, controller.tick(begin + k * PERIOD).position[:6])[:3, 3]
            for k in range(1, count + 1)
        ]
    )


def off_the_line(path: np.ndarray, way: np.ndarray) -> float:
    along = way / np.linalg.norm(way)
    relative = path - path[0]
    return float(np.linalg.norm(relative - np.outer(relative @ along, along), axis=1).max())


def test_rows_of_the_tool_lead_it_along_a_straight_line(tmp_path: Path) -> None:
    controller = start(tmp_path)
    way = np.array([0.004, -0.003, -0.002])
    refused = controller.accept(arms.rows_of(np.tile(way, (40, 1)), dt=0.04), 0.0)
    assert refused is None
    path = tools(controller, 1.6)
    home = arms.forward(arms.UR5E, TOOL, arms.UR5E_HOME)[:3, 3]
    assert np.linalg.norm(path[-1] - home - 40 * way) < 0.01  # it runs up late
    assert off_the_line(path, way) < 1e-3


def test_chunks_that_follow_one_another_go_on_from_where_each_was_observed(tmp_path: Path) -> None:
    controller = start(tmp_path)
    way = np.array([0.004, 0.0, -0.002])
    path = []
    for number in range(8):
        chunk = replace(
            arms.rows_of(np.tile(way, (30, 1)), dt=0.02), stamp=0.2 * number, sequence=number + 1
        )
        assert controller.accept(chunk, 0.2 * number) is None
        path.append(tools(controller, 0.2 * (number + 1), 0.2 * number))
    assert off_the_line(np.concatenate(path), way) < 1e-3
    assert controller.max_seam < 0.02


def test_the_arm_stops_on_its_path_before_the_table_and_says_why(tmp_path: Path) -> None:
    height = float(arms.forward(arms.UR5E, TOOL, arms.UR5E_HOME)[2, 3]) - 0.2
    controller = start(tmp_path, **{'collision.table': (height,)})
    chunk = arms.rows_of(np.tile([0.0, 0.0, -0.01], (40, 1)), dt=0.025)
    assert controller.accept(chunk, 0.0) is None
    assert controller.report(0.0).finding.startswith('table: row ')
    path = tools(controller, 1.5)
    # The capsule of the last link ends 0.03 m below the tool.
    clearance = path[:, 2] - 0.03 - height
    assert clearance.min() > 0.009
    assert clearance.min() < 0.021
    assert controller.state == State.HOLDING
    assert controller.reason.startswith('table: ')


def test_a_chunk_that_leads_into_the_table_at_once_is_refused(tmp_path: Path) -> None:
    height = float(arms.forward(arms.UR5E, TOOL, arms.UR5E_HOME)[2, 3]) - 0.045
    controller = start(tmp_path, **{'collision.table': (height,)})
    refused = controller.accept(arms.rows_of(np.tile([0.0, 0.0, -0.01], (9, 1))), 0.0)
    assert refused is not None
    assert refused.startswith('table: row 0 brings l')
    assert controller.rejected == 1
    assert controller.state == State.WAITING


def test_a_seam_that_leads_too_near_is_braked(tmp_path: Path) -> None:
    """Rows that keep away from the table do not help where the set-point is not on them."""
    height = float(arms.forward(arms.UR5E, TOOL, arms.UR5E_HOME)[2, 3]) - 0.2
    controller = start(tmp_path, **{'collision.table': (height,)})
    # As if the arm's model had let the chunk pass.
    down = arms.make(arms.ur5e(), 6, margin=0.0).check(
        arms.rows_of(np.tile([0.0, 0.0, -0.01], (40, 1)), dt=0.025),
        arms.UR5E_HOME,
        arms.ranges(6),
    )
    assert controller.accept(Laid(down), 0.0) is None
    path = tools(controller, 1.5)
    assert controller.reason.startswith('table: the way on')
    assert path[:, 2].min() - 0.03 - height > 0.003


def test_a_look_ahead_that_fails_is_not_taken_for_a_free_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = start(tmp_path)
    rows = arms.rows_of(np.tile([0.0, 0.0, -0.002], (9, 1)))
    assert controller.accept(rows, 0.0) is None

    def fail(_: np.ndarray) -> str | None:
        raise ArithmeticError('no distance')

    assert controller._model is not None
    monkeypatch.setattr(controller._model, 'refuse', fail)
    with pytest.raises(ArithmeticError, match='no distance'):
        controller.tick(PERIOD)


def test_a_contract_that_was_judged_beside_the_ticks_is_judged_anew_by_other_settings(
    tmp_path: Path,
) -> None:
    controller = start(tmp_path)
    examine = controller.examine(arms.rows_of(np.tile([0.0, 0.0, -0.002], (9, 1))), 0.0)
    assert examine is not None
    laid = replace(examine(), refused='by the contract')
    assert controller.accept(laid, 0.0) == 'by the contract'
    controller.configure(replace(controller.settings, ramp_time=0.1))
    assert controller.accept(laid, 0.0) is None


def test_a_chunk_that_was_judged_as_a_later_one_does_not_drive_as_the_first(
    tmp_path: Path,
) -> None:
    controller = start(tmp_path)

    def leads_to(first_joint: float, stamp: float) -> ActionChunk:
        rows = np.tile(np.append(arms.UR5E_HOME, -1.0), (20, 1)).astype(np.float32)
        rows[:, 0] += first_joint
        return ActionChunk(rows, 0.05, NAMES, ControlMode.JOINT_POSITION, stamp=stamp)

    assert controller.accept(leads_to(0.01, 0.0), 0.0) is None
    controller.tick(PERIOD)
    examine = controller.examine(leads_to(0.45, PERIOD), PERIOD)
    assert examine is not None
    laid = examine()
    assert not laid.checked.refused
    assert not laid.refused
    controller.reset(np.append(arms.UR5E_HOME, -1.0), PERIOD)
    refused = controller.accept(laid, PERIOD)
    assert refused is not None
    assert 'expected at most 0.35 rad' in refused


def test_without_a_description_rows_of_the_tool_are_refused() -> None:
    settings = build(ControllerSettings, VALUES)
    assert load_model(settings, NAMES) is None
    controller = Controller(settings, NAMES)
    controller.reset(np.append(arms.UR5E_HOME, -1.0), 0.0)
    controller.enable(0.0)
    assert controller.accept(arms.rows_of(np.zeros((3, 3))), 0.0) is not None


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('<!DOCTYPE r [<!ENTITY a "b">]><robot name="r"/>', 'declares entities'),
        ('<robot', 'is no XML'),
        ('<sdf/>', 'is <sdf>'),
        ('<robot name="r"><link name="base"/></robot>', 'kinematics.tool'),
        (arms.planar().replace('"j1"', '"k1"'), 'kinematics.tool'),
        (arms.planar().replace('axis xyz="0 0 1"', 'axis xyz="0 0 0.0"', 1), "'j0' .* the axis"),
        (arms.planar().replace('effort="', 'effort="x'), 'urdfdom, name link or joint'),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, text: str, said: str) -> None:
    if 'k1' in text:
        text = text.replace('"j0"', '"k0"')
    description = tmp_path / 'arm.urdf'
    description.write_text(text)
    settings = build(ControllerSettings, {'kinematics.description': str(description)})
    with pytest.raises(InvalidSettingError, match=said):
        load_model(settings, NAMES)


def test_a_description_that_is_not_there_is_named() -> None:
    settings = build(ControllerSettings, {'kinematics.description': 'robots/none.urdf'})
    with pytest.raises(InvalidSettingError, match=r'kinematics\.description .* cannot be read'):
        load_model(settings, NAMES)
