# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the software: interpreter, packages, ROS 2 and its middleware, checkpoint."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from xml.etree import ElementTree

from efficient_vla.bringup.check import Check, Result, probed

OLDEST_PYTHON = (3, 11)

SEGMENT_BYTES = 64 * 1024 * 1024
"""Shared memory a process takes; with less, camera images between processes get lost."""


def python() -> Check:
    """Check the version of the interpreter."""
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return Check('python', Result.FAIL, f'{version}; expected 3.11 or newer', 'make setup')
    return Check('python', Result.OK, version)


def torch() -> Check:
    """Check that torch computes."""
    code = 'import torch; assert torch.ones(2).sum() == 2; print(torch.__version__)'
    return probed('torch', code, remedy='make setup')


def transformers() -> Check:
    """Check that transformers imports its models; a torchvision of another build prevents it."""
    code = (
        'import transformers; from transformers import AutoModel, LlamaConfig; '
        'AutoModel.from_config(LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, '
        'num_hidden_layers=1, num_attention_heads=1)); print(transformers.__version__)'
    )
    stray = importlib.util.find_spec('torchvision') is not None
    remedy = f'{sys.executable} -m pip uninstall -y torchvision' if stray else 'make setup'
    return probed('transformers', code, remedy)


def cv_bridge() -> Check:
    """Check numpy against cv_bridge, which nodes of other packages in the process may import."""
    numpy = importlib.metadata.version('numpy')
    if importlib.util.find_spec('cv_bridge') is None:
        return Check('cv_bridge', Result.OK, f'not installed and not needed; numpy {numpy}')
    code = (
        'import numpy, cv_bridge; b = cv_bridge.CvBridge(); '
        'm = b.cv2_to_imgmsg(numpy.zeros((2, 2, 3), numpy.uint8), "rgb8"); '
        'assert b.imgmsg_to_cv2(m).shape == (2, 2, 3); print("works with numpy", numpy.__version__)'
    )
    # The release on PyPI is that of ROS 1: it takes numpy below 2.3 and OpenCV below 5.
    remedy = f'{sys.executable} -m pip install "numpy<2.3" "opencv-python-headless<5"'
    return probed('cv_bridge', code, remedy, otherwise=Result.WARN)


def log_folder() -> Check:
    """Check that ROS finds a place for its logs, without which no node starts."""
    if any(os.environ.get(name) for name in ('ROS_LOG_DIR', 'ROS_HOME', 'HOME')):
        return Check('log folder', Result.OK, 'set')
    return Check(
        'log folder',
        Result.FAIL,
        'none of ROS_LOG_DIR, ROS_HOME and HOME is set',
        'export ROS_LOG_DIR=$PWD/log',
    )


def interfaces() -> Check:
    """Check that this package's messages are built and load."""
    code = (
        'import rclpy\n'
        'from efficient_vla.action import ExecuteTask\n'
        'from efficient_vla.msg import Plan\n'
        'from efficient_vla.srv import ResetCaches\n'
        'for kind in (Plan, ResetCaches, ExecuteTask):\n'
        '    kind.__class__.__import_type_support__()\n'
        'print("messages, services and action load")\n'
    )
    return probed('interfaces', code, _ros_remedy())


def middleware() -> Check:
    """Check which middleware carries the images."""
    code = 'import rclpy; print(rclpy.get_rmw_implementation_identifier())'
    check = probed('middleware', code, _ros_remedy())
    if check.result is Result.OK and check.detail != 'rmw_fastrtps_cpp':
        return Check(
            'middleware',
            Result.WARN,
            f'{check.detail}; rates and image loss were measured with rmw_fastrtps_cpp only',
            'export RMW_IMPLEMENTATION=rmw_fastrtps_cpp',
        )
    return check


def profile() -> Check:
    """Check the Fast DDS profile; without it half of the 640x480 images get lost."""
    variable = f'{"FASTRTPS" if _jazzy() else "FASTDDS"}_DEFAULT_PROFILES_FILE'
    shipped = Path(__file__).resolve().parents[2] / 'config' / 'fastdds.xml'
    remedy = f'export {variable}={shipped}'
    name = os.environ.get(variable, '')
    if not name:
        return Check('fast dds profile', Result.WARN, f'{variable} is not set', remedy)
    try:
        root = ElementTree.parse(name).getroot()
    except (OSError, ElementTree.ParseError) as error:
        return Check('fast dds profile', Result.FAIL, f'{name} cannot be read: {error}', remedy)
    sizes = [int(item.text or 0) for item in root.iter() if item.tag.endswith('segment_size')]
    if max(sizes, default=0) < SEGMENT_BYTES:
        return Check(
            'fast dds profile',
            Result.WARN,
            f'{name} has no shared memory segment of {SEGMENT_BYTES} bytes or more',
            remedy,
        )
    return Check('fast dds profile', Result.OK, name)


def checkpoint() -> Check:
    """Check that the shipped policy is complete and is the one that was measured."""
    remedy = 'git checkout -- models'
    # Imported here, so that an installation in which it fails still gets all other answers.
    from efficient_vla.policy import default_policy

    try:
        folder = default_policy()
        json.loads((folder / 'policy.json').read_text())
    except (OSError, ValueError) as error:
        return Check('checkpoint', Result.FAIL, str(error), remedy)
    sums = folder.parent / 'SHA256SUMS'
    if not sums.is_file():
        return Check('checkpoint', Result.WARN, f'{sums} is missing; files are unchecked', remedy)
    for line in sums.read_text().splitlines():
        expected, name = line.split(maxsplit=1)
        path = folder.parent / name
        if not path.is_file():
            return Check('checkpoint', Result.FAIL, f'{path} is missing', remedy)
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            return Check('checkpoint', Result.FAIL, f'{path} differs from SHA256SUMS', remedy)
    return Check('checkpoint', Result.OK, f'{folder.name}, every file as in SHA256SUMS')


def _jazzy() -> bool:
    return os.environ.get('ROS_DISTRO') == 'jazzy'


def _ros_remedy() -> str:
    distribution = os.environ.get('ROS_DISTRO')
    return 'colcon build && source install/setup.bash' if distribution else 'make setup'


SOFTWARE_CHECKS = (
    python,
    torch,
    transformers,
    cv_bridge,
    log_folder,
    interfaces,
    middleware,
    profile,
    checkpoint,
)
