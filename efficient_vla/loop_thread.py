# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An event loop on a thread of its own, for connections that a stage keeps."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

Made = TypeVar('Made')


class LoopThread(threading.Thread):
    """Runs coroutines that other threads submit, until it is closed."""

    def __init__(self, name: str, ending: Callable[[], Awaitable[None]]) -> None:
        """Begin; ``ending`` is awaited on this thread once all work has been cancelled."""
        super().__init__(name=name, daemon=True)
        self._ending = ending
        self._closing = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.start()

    def submit(self, work: Coroutine[Any, Any, Made]) -> 'Future[Made]':
        """Run ``work`` and return its future; nothing may be submitted after ``close``."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        """Cancel all work and end, without waiting for that."""
        if not self._closing.is_set():
            self._closing.set()
            self.loop.call_soon_threadsafe(self.loop.stop)

    def run(self) -> None:
        """Live on this thread."""
        self.loop.run_forever()
        self.loop.run_until_complete(self._end())
        self.loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._ending()
