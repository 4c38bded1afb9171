"""The venue's counters: for tests, and to show whether a client keeps within the limits."""

from collections import Counter, deque
from typing import Final

from attrs import define, field


@define(eq=False)
class Window:
    """Counts events of the last second, and the most in any second."""

    length_s: float = 1.0
    most: int = field(init=False, default=0)
    _times: deque[float] = field(init=False, factory=deque)

    def add(self, now: float) -> int:
        """Note an event and return how many the last second holds, this one included."""
        times = self._times
        times.append(now)
        while times[0] <= now - self.length_s:
            times.popleft()
        self.most = max(self.most, len(times))
        return len(times)


@define(eq=False)
class Counters:
    """Counters since the start. Frames are WebSocket frames; control frames from clients count too."""

    connections: int = 0
    """Sockets open now (handshake done)."""
    opened: int = 0
    """Sockets that finished their handshake."""
    frames_sent: int = 0
    frames_received: int = 0
    rest_calls: int = 0
    rest_by_path: Counter[str] = field(factory=Counter)
    closed: Counter[str] = field(factory=Counter)
    """Sockets the venue ended, by reason: idle, too fast, protocol ping first, slow, reset, storm."""
    faults: Counter[str] = field(factory=Counter)
    """How often each fault did something."""
    most_received_per_second: int = 0
    """Most frames one socket sent in any second."""
    rest_per_second: Window = field(factory=Window)
    connects_per_minute: Window = field(factory=lambda: Window(60.0))


REST_PER_SECOND: Final = 10
"""The documented limit for market data, by address."""
FRAMES_PER_SECOND: Final = 5
"""The documented limit of what a client may send on one socket."""
