# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""package.xml, CMakeLists.txt, setup.py and requirements agree with the code and one another."""

import hashlib
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import efficient_vla
from efficient_vla.bringup.catalogue import NODES
from package_files import PACKAGE, ROOT, sources, third_party

ROSDEP = {
    'PIL': 'python3-pil',
    'cv2': 'python3-opencv',
    'hypothesis': 'python3-hypothesis',
    'matplotlib': 'python3-matplotlib',
    'numpy': 'python3-numpy',
    'psutil': 'python3-psutil',
    'pytest': 'python3-pytest',
    'rich': 'python3-rich',
    'setuptools': 'python3-setuptools',
    'yaml': 'python3-yaml',
}
"""Import name -> key of the system package, where there is one."""
PIP_NAMES = {
    'OpenGL': 'PyOpenGL',
    'PIL': 'pillow',
    'cv2': 'opencv-python-headless',
    'imageio_ffmpeg': 'imageio-ffmpeg',
    'yaml': 'PyYAML',
}
"""Import name -> name in requirements.txt, where they differ."""
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
    return f'ros-{canonical(name)}' in pinned('requirements-ros.txt') or name.startswith('launch')


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
    assert 'rosidl_interface_packages' in [item.text for item in root.findall('member_of_group')]


def test_versions_agree() -> None:
    assert manifest().findtext('version') == efficient_vla.__version__


def test_every_requirement_is_pinned_in_the_constraints() -> None:
    constraints = pinned('constraints.txt')
    for name in ('requirements.txt', 'requirements-ros.txt', 'requirements-dev.txt'):
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


def test_every_installed_node_has_a_module() -> None:
    match = re.search(r'set\(nodes ([\w ]+)\)', cmake())
    assert match
    for node in match[1].split():
        assert node in NODES
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


def test_the_change_log_has_a_forthcoming_section_or_this_version() -> None:
    text = (ROOT / 'CHANGELOG.rst').read_text()
    assert text.splitlines()[1] == 'Changelog for package efficient_vla'
    assert re.search(rf'^(Forthcoming|{re.escape(efficient_vla.__version__)} \(.*\))$', text, re.M)


MEGABYTE = 1024 * 1024
NOT_SHIPPED = {'.git', '.venv', 'build', 'data', 'install', 'log', 'runs'}


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
    weights = [path for path in files if path.suffix == '.safetensors']
    assert sum(path.stat().st_size for path in weights) <= 30 * MEGABYTE
    assert sum(path.stat().st_size for path in files) < 50 * MEGABYTE


def test_no_weights_are_pickled() -> None:
    suffixes = {'.pt', '.pth', '.bin', '.pkl', '.pickle', '.ckpt'}
    assert not [path for path in shipped_files() if path.suffix in suffixes]


def test_shipped_policies_are_those_of_the_checksums() -> None:
    """Mend after a training with ``cd models && sha256sum */* > SHA256SUMS``."""
    sums = ROOT / 'models' / 'SHA256SUMS'
    if not sums.is_file():
        pytest.skip('no checkpoint is shipped')
    for line in sums.read_text().splitlines():
        expected, name = line.split(maxsplit=1)
        assert hashlib.sha256((sums.parent / name).read_bytes()).hexdigest() == expected, name
