# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The process that checks chunks by the model of the arm; the controller starts it.

It takes no part in ROS, and ends with the controller.
"""

import argparse
import os
from contextlib import suppress
from multiprocessing.connection import Connection

from efficient_vla.bringup.child import tie_to

MOST_BYTES = 64 * 1024 * 1024
"""No request and no answer is longer."""


def main(words: list[str] | None = None) -> None:
    """Answer what comes until the other end is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('pipe', type=int)
    parser.add_argument('arm', type=int)
    parser.add_argument('parent', type=int)
    parser.add_argument('nice', type=int)
    given = parser.parse_args(words)
    tie_to(given.parent)
    # The thread that started it may be a real-time one.
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, given.nice)
    # Its libraries start threads, which are to be like this one by now.
    from efficient_vla.control.kinematics import wire

    with open(given.arm, 'rb') as file:
        model = wire.unpack_arm(file.read()).model()
    with suppress(EOFError, ConnectionError), Connection(given.pipe) as pipe:
        while True:
            pipe.send_bytes(wire.answer(model, pipe.recv_bytes(MOST_BYTES)))


if __name__ == '__main__':
    main()
