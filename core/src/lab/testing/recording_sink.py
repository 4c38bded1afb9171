"""A sink that keeps everything it is given, in order, with the time it came at."""

from collections.abc import Callable, Sequence

import anyio

from lab.domain.market import Candle, Depth, Funding, MarketData, Quote, Trade
from lab.ports import FeedState


class RecordingSink:
    """Keeps what a provider gives: ``given``, ``feeds`` and ``faults``, each in the order they came.

    ``given`` has the loop's time with each event, ``feeds`` with each state and its detail. Needs a running loop.
    """

    def __init__(self) -> None:
        self.given: list[tuple[float, MarketData]] = []
        self.feeds: list[tuple[FeedState, str, float]] = []
        self.faults: list[str] = []
        self._changed = anyio.Event()

    def put(self, event: MarketData) -> None:
        """Keep market data."""
        self.given.append((anyio.current_time(), event))
        self._note()

    def feed(self, state: FeedState, detail: str = "") -> None:
        """Keep a state of the connection."""
        self.feeds.append((state, detail, anyio.current_time()))
        self._note()

    def malformed(self, reason: str, sample: bytes | str) -> None:
        """Keep why input was malformed."""
        self.faults.append(reason)
        self._note()

    @property
    def count(self) -> int:
        """How much was given so far, of everything."""
        return len(self.given) + len(self.feeds) + len(self.faults)

    @property
    def events(self) -> Sequence[MarketData]:
        """Everything that was put, in the order it came."""
        return [event for _, event in self.given]

    @property
    def quotes(self) -> Sequence[Quote]:
        """Every quote, in the order they came."""
        return [event for event in self.events if isinstance(event, Quote)]

    @property
    def candles(self) -> Sequence[Candle]:
        """Every candle, in the order they came."""
        return [event for event in self.events if isinstance(event, Candle)]

    @property
    def trades(self) -> Sequence[Trade]:
        """Every trade, in the order they came."""
        return [event for event in self.events if isinstance(event, Trade)]

    @property
    def depths(self) -> Sequence[Depth]:
        """Every depth, in the order they came."""
        return [event for event in self.events if isinstance(event, Depth)]

    @property
    def fundings(self) -> Sequence[Funding]:
        """Every funding rate, in the order they came."""
        return [event for event in self.events if isinstance(event, Funding)]

    @property
    def states(self) -> Sequence[FeedState]:
        """Every state of the connection, in order."""
        return [state for state, _, _ in self.feeds]

    async def until(self, true: Callable[[], bool], seconds: float = 600.0) -> None:
        """Wait until ``true()``, looked at whenever something comes. Raises ``TimeoutError`` after ``seconds``."""
        with anyio.fail_after(seconds):
            while not true():
                await self._changed.wait()

    def _note(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
