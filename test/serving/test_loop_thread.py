# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The thread on which connections live."""

import asyncio

from efficient_vla.loop_thread import LoopThread

SOON_S = 10.0


def test_what_still_runs_is_cancelled_before_the_ending_and_closing_twice_is_closing_once() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append('cancelled')

    async def ending() -> None:
        thread.close()
        await asyncio.sleep(0)
        seen.append('ended')

    thread = LoopThread('connections', ending)
    waits = thread.submit(work())
    assert thread.submit(asyncio.sleep(0, 'made')).result(SOON_S) == 'made'
    thread.close()
    thread.join(SOON_S)
    assert not thread.is_alive()
    assert waits.cancelled()
    assert seen == ['cancelled', 'ended']
    assert thread.loop.is_closed()
