"""Listens to a provider's stream for a while, and cancels it in one of two ways."""

import asyncio
from collections.abc import Sequence
from typing import Final

import anyio

from lab.ports import Provider, Sink, Subscription

QUICK_S: Final = 1.0


async def stream_for(seconds: float, provider: Provider, wanted: Sequence[Subscription], sink: Sink) -> bool:
    """Listen to a stream, then cancel it once and assert that it ends at once; return whether it returned by itself.

    Raises what the stream raises before; what it raises on being cancelled is not of interest here. A bare asyncio
    task is used because a task group cancels again and again: a stream that swallows the first is not seen there, and
    one that swallows all of them spins for ever.
    """
    task = asyncio.ensure_future(provider.stream(wanted, sink))
    await asyncio.wait({task}, timeout=seconds)
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait({task}, timeout=QUICK_S)
    if task.done():
        if not task.cancelled():
            task.exception()
        return False
    raise AssertionError(f"stream() was still running {QUICK_S} s after it was cancelled")


async def stream_in_group(seconds: float, provider: Provider, wanted: Sequence[Subscription], sink: Sink) -> bool:
    """Listen to a stream in a task group, as a session does, then cancel the group.

    Asserts that it ends at once, and raises what it raises, on being cancelled too. Returns ``False``.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.stream, wanted, sink)
        await anyio.sleep(seconds)
        began = anyio.current_time()
        tasks.cancel_scope.cancel()
    took = anyio.current_time() - began
    assert took <= QUICK_S, f"stream() took {took:.1f} s to end after its task group was cancelled"
    return False
