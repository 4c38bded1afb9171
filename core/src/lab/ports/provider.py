"""Where market data comes from: the provider, and what it is given."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import ClassVar, Literal, Protocol

import attrs
from anyio.abc import TaskGroup

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Funding, Quote
from lab.ports.component import Component


class FeedState(StrEnum):
    """Where a provider's connection stands. Trading needs ``LIVE``."""

    DOWN = "down"
    CONNECTING = "connecting"
    SUBSCRIBED = "subscribed"
    WARM = "warm"
    BACKFILLING = "backfilling"
    LIVE = "live"
    DEGRADED = "degraded"
    SUSPECT = "suspect"


class Sink(Protocol):
    """Where a provider puts what it receives. Every method returns at once and never raises for the data it is given.

    Quotes older than the newest are ignored; candles must come closed, in order, each once.
    """

    def quote(self, quote: Quote) -> None:
        """Give the newest quote. An earlier one the engine has not taken yet is replaced and counted."""

    def candle(self, candle: Candle) -> None:
        """Give a closed candle. Never dropped."""

    def funding(self, funding: Funding) -> None:
        """Give a fetched funding rate. Never dropped."""

    def feed(self, state: FeedState, detail: str = "") -> None:
        """Say where the connection stands. The trading gate follows; each change is journalled."""

    def malformed(self, reason: str, sample: bytes | str) -> None:
        """Report input that is not what the protocol says: counted, sampled into the journal, never traded on."""

    def contacted(self, host: str) -> None:
        """Name a host a connection was opened to: the report lists them."""


class Clock(Protocol):
    """The session's clock. Durations are monotonic; the wall clock only labels."""

    def monotonic(self) -> float:
        """Return seconds that never jump; only differences mean something."""

    def wall_ns(self) -> int:
        """Return the machine's UTC nanoseconds."""


@attrs.frozen(kw_only=True)
class Runtime:
    """What a provider gets when it starts: the clock, a seed, and a task group that lives until `Provider.stop`."""

    clock: Clock
    seed: int
    tasks: TaskGroup
    speed: float | Literal["max"] = 1.0


@attrs.frozen
class Subscription:
    """One symbol wanted from a provider, with the interval of its candles."""

    symbol: str
    interval_ns: int


@attrs.frozen
class Check:
    """One row of ``lab probe`` or ``lab doctor``. ``ok=None`` means it could not be tried."""

    name: str
    ok: bool | None
    detail: str


class Provider(Component, ABC):
    """A source of market data.

    ``realm`` keeps worlds apart: ``real`` (a venue), ``recorded`` or ``synthetic``; candles of different realms never
    meet in a session.
    """

    realm: ClassVar[Literal["real", "recorded", "synthetic"]]
    price_source: ClassVar[Literal["quote", "candle"]] = "quote"
    """``candle`` for sources that have no quotes: then nobody waits for one, and orders fill on closes."""

    quote_silence_s: ClassVar[float] = 5.0
    """A quote older than this is stale: the trading gate shuts. A thin market may legitimately need more."""

    async def start(self, runtime: Runtime) -> None:
        """Get ready. May start tasks in ``runtime.tasks``; they are cancelled after `stop`."""

    async def stop(self) -> None:
        """Let go of everything, within a second. Called once, also after a failure."""

    def check(self, wanted: Sequence[Subscription]) -> None:
        """Refuse what can never be had (an interval, say), before anything is written; no I/O. Raises `ProviderError`.

        The default takes anything.
        """

    @abstractmethod
    async def instrument(self, symbol: str) -> Instrument:
        """Return the instrument's steps, minimum and fees.

        Raises `ProviderError` for an unknown symbol (naming near ones), `ProviderUnavailable` when it can't tell now.
        """

    @abstractmethod
    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Return the newest closed candles that open before ``end_ns`` (``None``: now), ascending, at most ``count``.

        Each is marked ``backfilled``. Fewer (or none) is an honest answer. One attempt, 10 s at most; the session
        retries. Raises `ProviderUnavailable`.
        """

    @abstractmethod
    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        """Give quotes and closed candles to the sink until cancelled, reconnecting as needed.

        It returns where recorded data ends. The provider emits closed candles only, ascending by symbol. The session
        removes duplicates, finds gaps, fetches them through `history` and says when trading may begin. Raises
        `ProviderError` only for what retrying can't mend.
        """

    async def probe(self, wanted: Subscription) -> Sequence[Check]:
        """Try the source from outside and say what was found. Called between `start` and `stop`."""
        candles = await self.history(wanted.symbol, wanted.interval_ns, end_ns=None, count=5)
        return [Check("history", bool(candles), f"{len(candles)} candles of {wanted.symbol}")]

    def venue(self) -> str:
        """Return where the data comes from, for header and report: a host, a file, a seed."""
        return self.realm

    def offline_settings(self) -> Mapping[str, str]:
        """Return the settings of this provider with which it needs no network, as text; none where there are none.

        A run that never reached the provider ends with a command line that has them.
        """
        return {}

    def batches(self, wanted: Sequence[Subscription], *, seed: int) -> Iterator[Sequence[Input]] | None:
        """Return all the data in batches, ascending by ``time_ns``, without a clock, for ``lab backtest``.

        ``None`` where that makes no sense.
        """
        return None

    def batch_instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument for `batches`, without I/O over a network; ``None`` where `batches` gives ``None``."""
        return None

    def source(self) -> Mapping[str, str]:
        """Return what identifies the data of `batches`: a file and its SHA-256, or a seed.

        The run records it; ``lab verify`` checks it.
        """
        return {}
