"""The five kinds of component, and what lab promises to each.

A component is its settings: an attrs class whose init fields are its keys in ``lab.toml`` (and on the command line),
and whose ``init=False`` fields are its state. Strategies, gates and brokers are synchronous: they do no I/O, read no
clock and draw no random number; what they may know is handed to them. Providers and reporters are coroutines.

A class is offered by a hook (see `lab.plugins.hookspecs`), checked by a contract suite (see `lab.testing`), and created
once a run.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import attrs
import msgspec
from anyio.abc import TaskGroup

from lab.domain.events import Fill, OrderEnded, OrderFilled
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Funding, Input, Quote
from lab.domain.orders import Accepted as Accepted
from lab.domain.orders import CancelRequest, Order, OrderRequest, Verdict
from lab.domain.orders import Ended as Ended
from lab.domain.orders import Rejected as Rejected
from lab.engine.view import View


class Component:
    """Base of every component: settings are init fields, state is ``init=False`` fields."""

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-ready values. The default copies every ``init=False`` field.

        Promise: `restore` on a new instance with the same settings brings back a component that decides the same.
        """
        return {name: msgspec.to_builtins(getattr(self, name)) for name, _ in _state_fields(type(self))}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over a state that `snapshot` gave."""
        for name, kind in _state_fields(type(self)):
            if name in snapshot:
                setattr(self, name, msgspec.convert(snapshot[name], kind, strict=False))


def _state_fields(cls: Any) -> list[tuple[str, Any]]:
    """Return name and type of a component's state fields."""
    attrs.resolve_types(cls)
    return [(f.name, f.type) for f in attrs.fields(cls) if not f.init]


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


class ProviderError(Exception):
    """What retrying cannot mend (an unknown symbol, say). The message names the culprit and the cure."""


class ProviderUnavailable(ProviderError):
    """A call failed now and may succeed later."""


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


Action = OrderRequest | CancelRequest


class Strategy(Component, ABC):
    """Decides. One instance, one book: it sees the shared market and only its own money.

    ``on_candle`` is first called when `lookback` candles are there, back-filled ones included. Requests made on a
    back-filled candle, or for an entry while the trading gate is shut, are recorded as signals and not placed: the
    truth about what is held is ``view.position``, never the strategy's memory of what it asked for.
    """

    @property
    def lookback(self) -> int:
        """Candles needed before the first decision. The engine keeps at least 1.5 times as many."""
        return 1

    @abstractmethod
    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        """Decide on a closed candle. Called once for each, in order; one that comes late is only put into history."""

    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        """Decide on a quote. Only called where a class defines it."""
        return ()

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        """Learn of a fill of an own order, after it was booked. Only called where a class defines it."""

    def on_end(self, end: OrderEnded, view: View) -> None:
        """Learn that an own order was cancelled, expired or rejected. Only called where a class defines it."""

    def on_history(self, view: View) -> None:
        """Learn that candles were put into the past (late seeding): rebuild what was summed up from them.

        Only called where a class defines it.
        """


class RiskGate(Component, ABC):
    """Reviews what would open or enlarge a position. Orders that only reduce one are never put before a gate."""

    @abstractmethod
    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Return `PASS`, a `Shrink` to a smaller quantity, or a `Refuse`; the latter two with their figures.

        ``request.quantity`` is already on the lot and shrunk by the gates before. Raising counts as a refusal.
        """

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the limits in force, for the run's header and report: name to figure with its unit."""
        return {}


class Broker(Component, ABC):
    """Works on orders. Synchronous and deterministic: latency and jitter come from settings, seed and order id.

    The engine calls `observe` only while `resting` is not 0. An order never fills on the event that caused it, nor on
    data whose time is before its ``eligible_ns``.
    """

    resting: int

    def open(self, instruments: Mapping[str, Instrument], seed: int) -> None:
        """Learn the instruments and the seed, once, before anything else."""

    @abstractmethod
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order, or say why not."""

    @abstractmethod
    def cancel(self, order_id: str) -> bool:
        """Forget a working order; ``False`` when there is none of that id."""

    @abstractmethod
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        """Let the working orders meet a candle, a quote or a timer. Fills come in the order the orders were submitted.

        A quote counts from ``eligible_ns`` on. Of a candle, open, high and low count only if it opened at or after
        ``eligible_ns``; otherwise only its close does. The engine gives no back-filled candle. The broker lowers
        ``order.remaining`` for each fill it returns and forgets an order at 0.
        """

    def describe(self, instrument: Instrument) -> Mapping[str, str]:
        """Return what is in force, for the run's header: latency, effective fee rates."""
        return {}


@attrs.frozen
class Record:
    """One committed journal row."""

    seq: int
    time_ns: int
    kind: str
    body: bytes

    def data(self) -> Any:
        """Return the decoded body. Raises ``ValueError`` for what is no JSON, or nested deeper than our rows."""
        try:
            return msgspec.json.decode(self.body)
        except RecursionError:
            raise ValueError(f"row {self.seq}: nested too deep") from None


@attrs.frozen(kw_only=True)
class Status:
    """The run at this moment, for live views. Money is exact; ``None`` means not known yet."""

    seconds_left: float | None
    price: float | None
    feed: str
    why_not_trading: Sequence[str]
    equity: Decimal
    starting_equity: Decimal
    positions: Sequence[tuple[str, str, Decimal, Decimal]]  # strategy, symbol, signed quantity, average price
    counts: Mapping[str, int]


@attrs.frozen(kw_only=True)
class RunInfo:
    """What a reporter knows of its run. ``directory`` is ``None`` under ``--no-write``.

    ``report()`` gives the final report as plain data once the records have ended, ``candles()`` the newest candles of
    a live session, and all of them where the journal holds none (backtests).
    """

    run_id: str
    header: Mapping[str, Any]
    directory: Path | None
    quiet: bool
    status: Callable[[], Status]
    report: Callable[[], Mapping[str, Any]]
    candles: Callable[[], Sequence[Candle]]


class Reporter(Component, ABC):
    """Shows or writes what happened. It can't hold trading up, and its failure ends nothing but itself."""

    @abstractmethod
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        """Take the journal's rows, each after its commit, in order, none left out; the iterator ends with the run.

        A slow reporter is served from the journal: nothing waits for it. After the end it has five seconds.
        """


ComponentType = type[Provider] | type[Strategy] | type[RiskGate] | type[Broker] | type[Reporter]
