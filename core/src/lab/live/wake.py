"""What lets the session's task sleep until there is something to take."""

import asyncio

from anyio.lowlevel import checkpoint


class Wake:
    """Wakes one task, again and again. A new `anyio.Event` for each turn would cost as much as the turn's own work."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the task that waits, or let the next `wait` go on at once."""
        self._is_set = True
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def wait(self) -> None:
        """Wait until `set` is called; a call from before counts, once. The others have a turn in any case."""
        if self._is_set:
            await checkpoint()
        else:
            assert self._waiting is None, "two tasks wait for one wake"
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        self._is_set = False
