"""The port of providers, which give market data, and the values they are given."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, Literal, Protocol

import attrs
from anyio.abc import TaskGroup

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Depth, Funding, MarketData, Quote, Trade
from lab.ports.component import Component
from lab.ports.rehearsal import Evidence, Rehearsal


class Channel(StrEnum):
    """One kind of market data of a symbol. A new kind gets its name here and its class in `CHANNEL_OF`."""

    CANDLES = "candles"
    QUOTES = "quotes"
    TRADES = "trades"
    DEPTH = "depth"
    FUNDING = "funding"


CHANNEL_OF: Final[Mapping[type, Channel]] = {
    Candle: Channel.CANDLES,
    Quote: Channel.QUOTES,
    Trade: Channel.TRADES,
    Depth: Channel.DEPTH,
    Funding: Channel.FUNDING,
}
"""Market data class to its channel."""

RUN_CHANNELS: Final = frozenset(Channel)
"""What a run takes of a provider that has it. It can't do without `Channel.CANDLES`."""


class Realm(StrEnum):
    """Which world prices come from. Candles of different realms never meet in a session."""

    REAL = "real"
    """A venue, now. Its data has no end."""
    RECORDED = "recorded"
    SYNTHETIC = "synthetic"


class PriceSource(StrEnum):
    """What orders are filled at."""

    QUOTE = "quote"
    CANDLE = "candle"
    """There are no quotes: nobody waits for one, and orders fill on candles."""


class FeedState(StrEnum):
    """Where a provider's connection stands. Trading needs ``LIVE``."""

    DOWN = "down"
    CONNECTING = "connecting"
    SUBSCRIBED = "subscribed"
    WARM = "warm"
    LIVE = "live"
    DEGRADED = "degraded"
    SUSPECT = "suspect"


class Sink(Protocol):
    """The target of a provider's market data. Every method returns at once and never raises for its data."""

    def put(self, event: MarketData) -> None:
        """Give one piece of market data, of a channel and symbol that was subscribed to.

        Candles must come closed, ascending, each once. Candles, trades and funding rates are never dropped; a quote or
        depth that was not taken yet is replaced by a newer one of its symbol, and counted. What is malformed, or
        stamped more than 5 s ahead of the venue's clock, is held out, counted and reported.
        """

    def feed(self, state: FeedState, detail: str = "") -> None:
        """Report where the connection stands. The trading gate follows; each change is journalled."""

    def malformed(self, reason: str, sample: bytes | str) -> None:
        """Report input that is not what the protocol says: counted, sampled into the journal, never traded on."""


class Clock(Protocol):
    """The session's clock. Durations are monotonic; the wall clock only labels."""

    def monotonic(self) -> float:
        """Return seconds that never jump; only differences mean something."""

    def wall_ns(self) -> int:
        """Return the machine's UTC nanoseconds."""


@attrs.frozen(kw_only=True)
class Runtime:
    """The arguments of `Provider.start`: the clock, a seed, and a task group that lives until `Provider.stop`."""

    clock: Clock
    seed: int
    tasks: TaskGroup
    speed: float | Literal["max"] = 1.0
    hosts: dict[str, None] = attrs.field(init=False, factory=dict, repr=False)
    """Every host given to `contacted`, in order."""

    @property
    def pace(self) -> float:
        """Seconds of the run's clock in a real one: its factor for time-outs of networks and other processes.

        Those have their own time, whatever the speed: ``anyio.fail_after(10 * runtime.pace)`` takes ten real seconds.
        It is 1 in virtual time, where nothing is real.
        """
        return 1.0 if self.speed == "max" else self.speed

    def contacted(self, host: str) -> None:
        """Name a host a connection was opened to: the report lists them. May be called at any time, again too."""
        self.hosts[host] = None


@attrs.frozen
class Subscription:
    """One symbol wanted from a provider, with the interval of its candles and the channels wanted of it."""

    symbol: str
    interval_ns: int
    channels: frozenset[Channel] = RUN_CHANNELS


@attrs.frozen
class Check:
    """One row of ``lab probe`` or ``lab doctor``. ``ok=None`` means it could not be tried."""

    name: str
    ok: bool | None
    detail: str


class Provider(Component, ABC):
    """A source of market data.

    The methods above `start` declare what the provider offers. Each may depend on the settings; none does I/O over
    a network. They are read by the host, which refuses what is not available before anything is written, and by the
    contract suite.
    """

    @abstractmethod
    def realm(self) -> Realm:
        """Return which world the prices come from."""

    def channels(self) -> frozenset[Channel]:
        """Return the channels it can give of a symbol. A run needs `Channel.CANDLES`."""
        return frozenset({Channel.CANDLES, Channel.QUOTES})

    def history_depth(self) -> int | None:
        """Return how many candles back `history` reaches; ``None`` where there is no limit worth naming."""
        return None

    def price_source(self) -> PriceSource:
        """Return what orders are filled at: quotes where it gives any, else candles."""
        return PriceSource.QUOTE if Channel.QUOTES in self.channels() else PriceSource.CANDLE

    def quote_silence_s(self) -> float:
        """Return the age in seconds at which a quote is stale and the trading gate shuts."""
        return 5.0

    def origin(self) -> str:
        """Return where the data comes from, for header and report: a host, a file, a seed."""
        return self.realm().value

    def leave_no_file(self) -> None:
        """Write nothing that is there after the run, such as a cache. Called first of all, under ``--no-write``.

        The default is right for a provider that never does.
        """

    async def start(self, runtime: Runtime) -> None:
        """Get ready. May start tasks in ``runtime.tasks``; they are cancelled after `stop`."""

    async def stop(self) -> None:
        """Release everything, within a second. Called once, also after a failure."""

    def check(self, wanted: Sequence[Subscription]) -> None:
        """Refuse what the source never has, such as an interval. Called before anything is written; no I/O.

        Raises `ProviderError`. The host itself refuses channels that are not in `channels`. The default takes anything.
        """

    def own_interval(self) -> int | None:
        """Return the length in ns of the candles in its data, where that has one; ``None`` where any may be asked for.

        A run whose interval nobody chose takes it. May read a file. Raises `ProviderError`.
        """
        return None

    @abstractmethod
    async def instrument(self, symbol: str) -> Instrument:
        """Return the instrument's steps, minimum and fees.

        Raises `ProviderError` for an unknown symbol (naming near ones), `ProviderUnavailable` when it can't answer now.
        """

    @abstractmethod
    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Return the newest closed candles that open before ``end_ns`` (``None``: now), ascending, at most ``count``.

        Each is marked ``backfilled``. Fewer (or none) is an honest answer; the session asks again while it needs more.
        One attempt, 10 real s at most. Raises `ProviderUnavailable`.
        """

    @abstractmethod
    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        """Put the channels that are wanted into the sink until cancelled, reconnecting as needed.

        Only closed candles, ascending by symbol. The session removes duplicates, finds gaps, fetches them through
        `history` and decides when trading may begin. A stream returns where recorded or synthetic data ends; that of a
        real venue never does, so returning counts as a failure there. Raises `ProviderError` only for what retrying
        can't repair.
        """

    async def probe(self, wanted: Subscription) -> Sequence[Check]:
        """Try the source from outside and return what was found. Called between `start` and `stop`."""
        candles = await self.history(wanted.symbol, wanted.interval_ns, end_ns=None, count=5)
        return [Check("history", bool(candles), f"{len(candles)} candles of {wanted.symbol}")]

    def offline_settings(self) -> Mapping[str, str]:
        """Return the settings of this provider with which it needs no network, as text; none where there are none.

        A run that never reached the provider ends with a command line that has them.
        """
        return {}

    def rehearsal(self, seed: int, seconds: float) -> Rehearsal:
        """Return how `lab simulate` runs a session of this provider: in virtual time, with faults drawn from the seed.

        ``seconds`` is the time in which faults may be in force. The same arguments give the same answer. The default is
        right for a provider whose sessions run in virtual time as they are, and which has no faults of its own.
        """
        return Rehearsal()

    def objections(self, evidence: Evidence) -> Sequence[str]:
        """Return what a simulated venue found wrong with a session that ended: each a line, none where all was right.

        It is asked after `stop`: how fast the venue was called, and whether the candles were the ones it had.
        """
        return ()

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
