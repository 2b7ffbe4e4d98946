# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the machine: shared memory, network, drawing, processor, disk."""

import os
import shutil
from pathlib import Path

from efficient_vla.bringup.check import Check, Result, judged, probed
from efficient_vla.bringup.check_software import SEGMENT_BYTES
from efficient_vla.sim.catalogue import installed

PROCESSES = 8
"""Processes of the whole graph, each with a shared memory segment of its own."""
RUN_BYTES = 2e9
"""Disk that the results and videos of a long evaluation take."""
LAST_DOMAIN = 101
"""The ports of higher ROS domains overlap with those that Linux hands out to other programs."""


def shared_memory() -> Check:
    """Check the size of the shared memory file system; a container often has 64 MB."""
    folder = Path('/dev/shm')
    if not folder.is_dir():
        return Check('shared memory', Result.WARN, f'{folder} is missing; images go by network')
    free = shutil.disk_usage(folder).free
    needed = PROCESSES * SEGMENT_BYTES
    detail = f'{free / 1e6:.0f} MB free'
    fault = f'expected {needed / 1e6:.0f} MB' if free < needed else ''
    remedy = 'mount -o remount,size=1g /dev/shm   (in a container: docker run --shm-size=1g)'
    return judged('shared memory', detail, fault, remedy)


def discovery() -> Check:
    """Check who in the network can find these nodes."""
    reach = os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    detail = f'range {reach}, domain {domain}'
    if not domain.isdigit() or int(domain) > LAST_DOMAIN:
        fault = f'expected a domain from 0 to {LAST_DOMAIN}'
        return judged('discovery', detail, fault, 'export ROS_DOMAIN_ID=0', Result.FAIL)
    fault = 'other machines can command this robot' if reach == 'SUBNET' else ''
    remedy = 'export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST   (where all nodes run here)'
    return judged('discovery', detail, fault, remedy)


def rendering() -> Check:
    """Check that the simulator draws a picture without a screen."""
    if not installed():
        return Check('rendering', Result.OK, 'not needed: no simulated robot is installed')
    code = (
        'import time\n'
        'from efficient_vla.sim.metaworld.scene import MetaWorldSim\n'
        'sim = MetaWorldSim("reach-v3", render="fast", size=64)\n'
        'sim.reset(0)\n'
        'sim.render()\n'
        'start = time.perf_counter()\n'
        'image = sim.render()\n'
        'assert image.std() > 5, "the picture is empty"\n'
        'print(f"64x64 picture in {1e3 * (time.perf_counter() - start):.0f} ms")\n'
        'sim.close()\n'
    )
    packages = 'libegl1 libegl-mesa0 libopengl0 libgl1 libgl1-mesa-dri'
    return probed('rendering', code, f'sudo apt-get install {packages} && export MUJOCO_GL=egl')


def processor() -> Check:
    """Check which number formats the processor multiplies by itself."""
    flags = _processor_flags()
    bf16 = flags & {'avx512_bf16', 'amx_bf16', 'bf16'}
    int8 = flags & {'avx512_vnni', 'avx_vnni', 'amx_int8', 'i8mm', 'asimddp'}
    formats = ', '.join(sorted(bf16 | int8)) or 'neither bf16 nor int8 products'
    detail = f'{len(os.sched_getaffinity(0))} cores, {formats}'
    fault = '' if bf16 else 'bf16 is emulated and slower than float32'
    remedy = f'reasoner.quantization.mode={"int8_dynamic" if int8 else "none"}'
    return judged('processor', detail, fault, remedy)


def disk() -> Check:
    """Check the disk that results are written to."""
    free = shutil.disk_usage(Path.cwd()).free
    detail = f'{free / 1e9:.0f} GB free in {Path.cwd()}'
    fault = f'expected {RUN_BYTES / 1e9:.0f} GB for results' if free < RUN_BYTES else ''
    return judged('disk', detail, fault, 'rm -r runs')


def _processor_flags() -> set[str]:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return set()
    for line in lines:
        if line.startswith(('flags', 'Features')):
            return set(line.split(':', 1)[1].split())
    return set()


MACHINE_CHECKS = (shared_memory, discovery, rendering, processor, disk)
