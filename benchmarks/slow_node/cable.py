# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An Ethernet cable between two network namespaces, which loses and delays as it is told.

``python cable.py DEVICE NAMESPACE NAMESPACE`` makes a device of that name at either end and
forwards until its input ends. A line of it holds the share of frames that are lost from now on, and
for how long the others are on their way [s], in both directions.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
LONGEST = 65536
_LIBC = ctypes.CDLL(None, use_errno=True)


def enter(namespace: int) -> None:
    """Let this thread, and those that it starts, live in the network behind a descriptor."""
    if _LIBC.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), 'setns')


def end_of_cable(namespace: str, device: str) -> int:
    """Return a descriptor that has the frames of a new device in a namespace."""
    with open(f'/run/netns/{namespace}') as file:
        enter(file.fileno())
    end = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack('16sH', device.encode(), IFF_TAP | IFF_NO_PI))
    return end


def forward(one: int, other: int, told: int) -> None:
    """Forward frames between two ends until nothing is told any more."""
    chance = random.Random(0)
    loss = delay = 0.0
    across = {one: other, other: one}
    waiting: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        rest = max(waiting[0][0] - time.monotonic(), 0.0) if waiting else None
        ready, _, _ = select.select([one, other, told], [], [], rest)
        for each in ready:
            found = os.read(each, LONGEST)
            if each == told:
                if not found:
                    return
                loss, delay = map(float, found.split(b'\n')[-2].split())
            elif chance.random() >= loss:
                count += 1
                due = time.monotonic() + delay
                heapq.heappush(waiting, (due, count, across[each], found))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, end, frame = heapq.heappop(waiting)
            try:
                os.write(end, frame)
            except OSError:
                # Nobody listens at that end yet.
                continue


if __name__ == '__main__':
    robot, slow = (end_of_cable(namespace, sys.argv[1]) for namespace in sys.argv[2:])
    sys.stdout.write('ready\n')
    sys.stdout.flush()
    forward(robot, slow, sys.stdin.fileno())
