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

from efficient_vla.bringup.check import Check, Result, judged, probed
from efficient_vla.bringup.fastdds import profile_variable
from efficient_vla.bringup.shared_memory import SEGMENT
from efficient_vla.places import share_folder

OLDEST_PYTHON = (3, 11)

SEGMENT_BYTES = 64 * 1024 * 1024
"""Shared memory a process takes; with less, camera images between processes get lost."""


def python() -> Check:
    """Check the version of the interpreter."""
    version = platform.python_version()
    fault = 'expected 3.11 or newer' if sys.version_info < OLDEST_PYTHON else ''
    return judged('python', version, fault, 'make setup', Result.FAIL)


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
    detail = 'none of ROS_LOG_DIR, ROS_HOME and HOME is set'
    return Check('log folder', Result.FAIL, detail, 'export ROS_LOG_DIR=$PWD/log')


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
    if check.result is not Result.OK or check.detail == 'rmw_fastrtps_cpp':
        return check
    fault = 'rates and image loss were measured with rmw_fastrtps_cpp only'
    return judged(check.name, check.detail, fault, 'export RMW_IMPLEMENTATION=rmw_fastrtps_cpp')


def profile() -> Check:
    """Check that Fast DDS follows its profile; without it half of the 640x480 images get lost.

    The file alone says nothing: a Fast DDS of another version reads another variable.
    """
    variable = profile_variable(os.environ)
    remedy = f'export {variable}={share_folder("config") / "fastdds.xml"}'
    code = (
        'import re, rclpy\n'
        'rclpy.init(args=[])\n'
        'node = rclpy.create_node("_doctor")\n'
        'maps = open("/proc/self/maps").read()\n'
        f'spans = re.findall(r"^(\\w+)-(\\w+) .*/{SEGMENT.pattern}\\b", maps, re.M)\n'
        'print(max((int(b, 16) - int(a, 16) for a, b in spans), default=0))\n'
        'node.destroy_node()\n'
        'rclpy.shutdown()\n'
    )
    name = 'fast dds profile'
    chosen = os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
    if chosen != 'rmw_fastrtps_cpp':
        return Check(name, Result.OK, f'not used by {chosen}')
    check = probed(name, code, remedy)
    if check.result is not Result.OK:
        return check
    size, wanted = int(check.detail) / 2**20, SEGMENT_BYTES / 2**20
    given = f'with {variable}={os.environ.get(variable, "")}; expected {wanted:.0f} MB'
    detail = f'{size:.3g} MB of shared memory a node'
    return judged(name, detail, given if size < wanted else '', remedy)


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
