# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Work in several processes, which end with the one that asked for it."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from efficient_vla import unfinished
from efficient_vla.errors import EpisodeError

Made = TypeVar('Made')


def in_workers(
    function: Callable[..., Made],
    jobs: Sequence[tuple],
    workers: int,
    prepare: Callable[..., None] | None = None,
    given: tuple = (),
) -> Iterator[Made]:
    """Yield what ``function`` returns for the arguments of each job, as processes finish them.

    Each process calls ``prepare`` with ``given`` first. Raises ``EpisodeError`` where one dies.
    """
    # The first pool of a process starts this, and would let workers get Ctrl-C again.
    resource_tracker.ensure_running()
    context = multiprocessing.get_context('spawn')
    pool = ProcessPoolExecutor(workers, context, _start, (prepare, given))
    try:
        with unfinished.postponed(), unfinished.kept_from_children():
            futures = [pool.submit(function, *job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except BaseException as error:
        for process in multiprocessing.active_children():
            process.terminate()
        # Not left to the exit of the interpreter, which would wake a thread that closes its pipe.
        pool.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise EpisodeError(
                f'one of {workers} worker processes died, killed from outside or for want of '
                'memory; expected all to work on. Free memory, or give fewer --workers.'
            ) from error
        raise
    pool.shutdown()


def _start(prepare: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if prepare is not None:
        prepare(*given)
