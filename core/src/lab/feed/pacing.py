"""Keeping within the venue's limits: even pacing, a shared cool-down, growing waits."""

from random import Random

import anyio
from attrs import define, field


@define
class Pacer:
    """Lets callers through one by one, at least ``interval_s`` apart, in the order they came.

    The interval is counted from the moment a caller actually went, so no sliding window ever holds more calls.
    """

    interval_s: float
    _free_at: float = field(init=False, default=0.0)
    _lock: anyio.Lock = field(init=False, factory=anyio.Lock)

    async def wait(self) -> None:
        """Return when it is the caller's turn."""
        async with self._lock:
            if self._free_at > anyio.current_time():
                await anyio.sleep_until(self._free_at)
            self._free_at = anyio.current_time() + self.interval_s


@define
class CoolDown:
    """After a 429 or 403 nobody calls for a while: 30 s at first, doubling to 5 minutes until a call succeeds."""

    first_s: float = 30.0
    longest_s: float = 300.0
    until: float = field(init=False, default=float("-inf"))
    reason: str = field(init=False, default="")
    _next_s: float = field(init=False, default=0.0)

    def begin(self, now: float, reason: str) -> None:
        """Start it, unless it is already running: one refused burst counts once."""
        if now < self.until:
            return
        self._next_s = min(self.longest_s, self._next_s * 2 or self.first_s)
        self.until = now + self._next_s
        self.reason = reason

    def remaining(self, now: float) -> float:
        """Return the seconds left, 0 when calls are allowed."""
        return max(0.0, self.until - now)

    def succeeded(self) -> None:
        """Note a good answer: the next cool-down is a short one again."""
        self._next_s = 0.0


@define
class Backoff:
    """Waits between connects: 0.5 s doubling to 30 s, each ± 20 % as a whole, so never over 36 s.

    Only 30 s of live data reset it; an accepted connection does not prove that the venue works.
    """

    random: Random
    first_s: float = 0.5
    cap_s: float = 30.0
    jitter: float = 0.2
    live_s: float = 30.0
    _failures: int = field(init=False, default=0)
    _live_since: float | None = field(init=False, default=None)

    def live(self, now: float) -> None:
        """Note that all wanted data is flowing. May be called again."""
        if self._live_since is None:
            self._live_since = now

    def not_live(self, now: float) -> None:
        """Note that something stopped flowing."""
        if self._live_since is not None and now - self._live_since >= self.live_s:
            self._failures = 0
        self._live_since = None

    def wait_s(self, now: float) -> float:
        """Return how long to wait before the next connect, now that a connection was lost or failed."""
        self.not_live(now)
        base = min(self.cap_s, self.first_s * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return base * (1.0 + self.jitter * (2.0 * self.random.random() - 1.0))
