"""The event loops a session runs on, and its clock: real time, time that runs faster, and virtual time.

The session's clock is the loop's. Nothing else knows about speed: what sleeps, times out or backs off does so on
whatever loop it finds itself. Use with ``anyio.run(main, backend="asyncio", backend_options={"loop_factory": ...})``.
"""

import asyncio
import math
import selectors
import time
from collections.abc import Callable
from typing import Literal

from lab.simulation.loop import SimLoop

Speed = float | Literal["max"]


def loop_factory(speed: Speed, seed: int) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop for a speed: ``None`` for 1 (asyncio's own), a `ScaledLoop`, for ``max`` a `SimLoop`.

    Raises ValueError for a speed that is neither ``max`` nor a finite number above 0.
    """
    if speed == "max":
        return lambda: SimLoop(seed)
    factor = _checked(speed)
    return None if factor == 1 else lambda: ScaledLoop(factor)


class ScaledLoop(asyncio.SelectorEventLoop):
    """A real loop with real sockets whose time runs ``speed`` times as fast as the monotonic clock.

    With speed 50, ``anyio.sleep(5)`` takes 0.1 s. Timers are late by up to a millisecond of real time, as in any
    selector loop: that is ``speed`` milliseconds of this one's.
    """

    def __init__(self, speed: float) -> None:
        self._speed = _checked(speed)
        self._real_start = time.monotonic()
        super().__init__(_ScaledSelector(self._speed))
        self._clock_resolution = time.get_clock_info("monotonic").resolution * self._speed

    def time(self) -> float:
        """Return seconds: the monotonic clock's value at the start, then ``speed`` seconds for each real one."""
        return self._real_start + (time.monotonic() - self._real_start) * self._speed


class _ScaledSelector(selectors.DefaultSelector):
    """Waits ``speed`` times shorter than asked for."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout and timeout / self._speed)


class LoopClock:
    """A session's clock (`lab.ports.Clock`): durations from the running loop, the wall clock only for labels.

    Create it inside the loop. Without ``start_wall_ns`` the wall clock is the machine's, which suits real time only.
    With it, `wall_ns` is that plus the loop's elapsed time: deterministic in virtual time, in step in scaled time.
    """

    def __init__(self, start_wall_ns: int | None = None) -> None:
        loop = asyncio.get_running_loop()
        if start_wall_ns is None and isinstance(loop, SimLoop):
            raise ValueError("LoopClock needs start_wall_ns in virtual time: the machine's wall clock would not repeat")
        self.monotonic: Callable[[], float] = loop.time
        """Return the loop's seconds, which never jump."""
        self._start_wall_ns = start_wall_ns
        self._start = loop.time()

    def wall_ns(self) -> int:
        """Return UTC nanoseconds."""
        if self._start_wall_ns is None:
            return time.time_ns()
        return self._start_wall_ns + round((self.monotonic() - self._start) * 1e9)


def _checked(speed: Speed) -> float:
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < math.inf:
        raise ValueError(f"speed = {speed!r}: expected a finite number above 0, or 'max' for virtual time")
    return float(speed)
