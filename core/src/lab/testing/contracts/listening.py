"""Listening to a provider's stream for a while, and cancelling it as nobody else does: once."""

import asyncio
from collections.abc import Sequence
from typing import Final

from lab.ports import Provider, Sink, Subscription

QUICK_S: Final = 1.0


async def stream_for(seconds: float, provider: Provider, wanted: Sequence[Subscription], sink: Sink) -> None:
    """Listen to a stream, then cancel it and assert that it ends at once. Raises what the stream raises.

    A bare asyncio task is cancelled once: a stream that swallows the cancellation is seen to go on. A task group would
    cancel it again and again and hide that, or spin.
    """
    task = asyncio.ensure_future(provider.stream(wanted, sink))
    await asyncio.wait({task}, timeout=seconds)
    if task.done():
        task.result()
        return
    task.cancel()
    await asyncio.wait({task}, timeout=QUICK_S)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=60.0)
        raise AssertionError(f"stream() was still running {QUICK_S} s after it was cancelled")
    if not task.cancelled():
        error = task.exception()
        if error is not None:
            raise error
