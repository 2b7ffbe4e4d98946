# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Arms on a table: the same episode by seed, inside the model's limits, done by their experts."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from fixtures.policies import reaching_arm

from efficient_vla.cli import main
from efficient_vla.sim.arms.experts import ArmExpert
from efficient_vla.sim.arms.scene import ArmScene
from efficient_vla.sim.arms.tasks import COLOURS
from efficient_vla.sim.catalogue import simulation
from efficient_vla.training.lerobot_demonstrations import record
from package_files import ROOT

ARMS = ('so101', 'ur5e', 'panda')
TASKS = ('reach', 'push')
SIZE = 128


@pytest.fixture(scope='module', params=list(product(ARMS, TASKS)), ids='-'.join)
def scene(request: pytest.FixtureRequest) -> Iterator[ArmScene]:
    arm, task = request.param
    made = simulation(arm).make(task, 'fast', SIZE)
    assert isinstance(made, ArmScene)
    yield made
    made.close()


def carried_out(scene: ArmScene, seed: int, speed: float = 0.8) -> np.ndarray:
    """Let the expert do an episode; return the states that it came through, [T, S]."""
    scene.reset(seed)
    expert, states = ArmExpert(scene, speed), [scene.state()]
    while not scene.done:
        scene.step(expert.command())
        states.append(scene.state())
    return np.stack(states)


def test_experts_succeed_in_19_of_20_episodes(scene: ArmScene) -> None:
    outcomes = []
    for seed in range(1000, 1020):
        carried_out(scene, seed)
        outcomes.append(scene.success)
    assert sum(outcomes) >= 19


def test_an_arm_that_stays_where_it_is_does_not_succeed(scene: ArmScene) -> None:
    for seed in range(8):
        scene.reset(seed)
        for _ in range(20):
            scene.step(scene.setpoint())
        assert not scene.success


def test_a_seed_names_the_episode(scene: ArmScene) -> None:
    first = carried_out(scene, 7)
    sentence, end = scene.instruction, scene.snapshot()
    carried_out(scene, 8)
    again = carried_out(scene, 7)
    assert np.array_equal(first, again)
    assert (scene.instruction, scene.snapshot().tolist()) == (sentence, end.tolist())
    scene.reset(8)
    assert not np.array_equal(scene.state(), first[0])


def test_the_sentence_names_the_colour_that_is_seen(scene: ArmScene) -> None:
    told = set()
    for seed in range(6):
        scene.reset(seed)
        (colour,) = [name for name in COLOURS if name in scene.instruction]
        image = scene.render().astype(int)
        channel = ('red', 'green', 'blue').index(colour)
        others = np.delete(image, channel, axis=-1).max(axis=-1)
        # Yellow, gray and black have none of this.
        assert (image[..., channel] - others > 40).sum() >= 12, 'it fills some pixels'
        told.add(colour)
    assert len(told) == {'reach': 3, 'push': 1}[scene.task]


def test_the_image_of_a_snapshot_is_that_of_its_time(scene: ArmScene) -> None:
    scene.reset(3)
    taken, seen = scene.snapshot(), scene.render()
    goal = scene.setpoint()
    goal[0] += 0.6
    for _ in range(25):
        scene.step(goal)
    moved = scene.render()
    assert (np.abs(moved.astype(int) - seen).max(axis=-1) > 60).mean() > 0.02
    assert np.array_equal(scene.render_snapshot(taken), seen)
    assert seen.shape == (SIZE, SIZE, 3)
    assert seen.std() > 20


def test_set_points_stay_inside_the_ranges_and_the_speed_of_the_arm(scene: ArmScene) -> None:
    scene.reset(0)
    low, high = scene.workspace
    for goal, end in ((high + 1, high), (low - 1, low)):
        for _ in range(10):
            before = scene.setpoint()
            scene.step(goal)
            moved = np.abs(scene.setpoint() - before)
            assert (moved <= np.multiply(scene.arm.max_velocity, 0.02) + 1e-9).all()
        scene.data.ctrl[:] = end * scene._control
        scene.step(goal)
        assert scene.setpoint() == pytest.approx(end)


@pytest.mark.parametrize('task', ['reach_three', 'push_two'])
def test_of_several_things_the_sentence_alone_tells_which_is_meant(task: str) -> None:
    scene = simulation('ur5e').make(task, 'fast', SIZE)
    assert isinstance(scene, ArmScene)
    told, outcomes = set(), []
    for seed in range(1000, 1006):
        carried_out(scene, seed)
        outcomes.append(scene.success)
        told.add(scene.instruction)
    scene.reset(1000)
    image = scene.render()
    for channel in {'reach_three': (0, 1, 2), 'push_two': (0, 2)}[task]:
        others = np.delete(image.astype(int), channel, axis=-1).max(axis=-1)
        assert (image[..., channel].astype(int) - others > 40).any(), 'every colour is there'
    scene.close()
    assert sum(outcomes) == 6
    assert len(told) > 1


def test_another_cube_across_the_line_is_no_success() -> None:
    scene = simulation('ur5e').make('push_two', 'fast', SIZE)
    assert isinstance(scene, ArmScene)
    scene.reset(1000)
    (asked,) = [colour for colour in ('red', 'blue') if colour in scene.instruction]
    other = {'red': 'blue', 'blue': 'red'}[asked]
    beyond = {}
    for cubes in ([asked], [other], [asked, other]):
        scene.reset(1000)
        for cube in cubes:
            scene.data.joint(f'{cube} cube').qpos[1] = scene.arm.cube + 0.05
        scene.step(scene.setpoint())
        beyond[tuple(cubes)] = scene.success
    scene.close()
    assert list(beyond.values()) == [True, False, False]


def test_the_cube_lies_on_the_table_until_it_is_pushed() -> None:
    scene = simulation('so101').make('push', 'fast', SIZE)
    assert isinstance(scene, ArmScene)
    for seed in range(4):
        scene.reset(seed)
        begin = scene.data.body('red cube').xpos.copy()
        carried_out(scene, seed)
        moved = scene.data.body('red cube').xpos - begin
        assert begin[1] < -0.02
        assert moved[1] > 0.06
        assert abs(moved[2]) < 0.003
    scene.close()


def test_nothing_but_joints_is_reported(scene: ArmScene) -> None:
    about = scene.simulation
    assert about.state_names == about.command_names == scene.arm.joints
    scene.reset(1)
    before = scene.state()
    scene.data.mocap_pos[:] += 0.1
    scene.data.qpos[scene.model.nq - 7 :] += 0.1 * (scene.task == 'push')
    assert np.array_equal(scene.state(), before)
    assert len(before) == len(about.state_names)


def test_an_episode_ends(scene: ArmScene) -> None:
    scene.reset(0)
    scene.steps = scene.max_steps
    assert scene.done
    with pytest.raises(RuntimeError, match='reset first'):
        scene.step(scene.setpoint())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(('juggle',), "unknown task 'juggle'; expected one of reach"), (('reach', 'nice'), 'nice')],
)
def test_what_an_arm_does_not_have_is_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulation('so101').make(*arguments)


def test_profiles_have_the_limits_of_the_model(scene: ArmScene) -> None:
    robot = scene.simulation.scene.partition(':')[2]
    profile = yaml.safe_load((ROOT / f'config/robots/{robot}.yaml').read_text())['/**']
    controller = profile['controller']['ros__parameters']
    assert tuple(controller['names']) == scene.arm.joints
    limits = controller['limits']
    low, high = scene.workspace
    assert limits['position_low'] == pytest.approx(low, abs=1e-5)
    assert limits['position_high'] == pytest.approx(high, abs=1e-5)
    speeds = np.broadcast_to(limits['max_velocity'], len(low))
    assert (speeds <= np.add(scene.arm.max_velocity, 1e-9)).all()
    joints = profile['ros__parameters']['joints']
    assert tuple(joints['names']) == scene.arm.joints
    assert (1 / joints['rate'] / scene.simulation.period).is_integer()
    ends = sorted([joints['low'][-1], joints['high'][-1]])
    assert ends == pytest.approx([low[-1], high[-1]], abs=1e-5)


@pytest.mark.parametrize('arm', ARMS)
def test_a_policy_of_joints_is_evaluated_in_process(arm: str, tmp_path: Path) -> None:
    policy, out = reaching_arm(arm, 1001, tmp_path / 'policy'), tmp_path / 'out.json'
    words = ['--robot', arm, '--tasks', 'reach', '--seed', '1001', '--episodes', '1']
    run = ['--policy', str(policy), '--workers', '1', '--json', str(out)]
    assert main(['eval', *words, *run, '--render', 'fast']) == 0
    (episode,) = json.loads(out.read_text())['episodes']
    assert episode['success'], episode
    assert episode['instruction'].endswith(' ball')


def test_rows_of_a_demonstration_drive_the_arm_to_success() -> None:
    sims: dict = {}
    found = record('so101', 'reach', 100_000, 0.6, 32, 'fast', sims)
    assert found is not None
    (scene,) = sims.values()
    shift, scale = np.array([0, 0, 0, 0, 0, -0.17453]), np.array([np.pi / 180] * 5 + [0.0191986])
    scene.reset(100_000)
    scene.data.qpos[scene._positions] = found['state'][0] * scale + shift
    scene.data.ctrl[:] = found['action'][0] * scale + shift
    for row in found['action'][:-2]:
        for _ in range(2):
            scene.step(row * scale + shift)
    assert scene.success
    assert str(found['instruction']) == scene.instruction
    scene.close()


def test_demonstrations_of_an_arm_are_no_npz(capsys: pytest.CaptureFixture) -> None:
    assert main(['data', '--robot', 'so101', '--tasks', 'reach']) == 2
    assert 'add --format lerobot' in capsys.readouterr().err
