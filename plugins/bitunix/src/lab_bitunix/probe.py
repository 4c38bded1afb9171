"""``lab probe``: the venue tried from outside, without any key."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

import anyio
from attrs import define, field
from lab.domain.market import Candle, Depth, MarketData, Quote, Trade
from lab.domain.time import MILLISECOND_NS, SECOND_NS, format_interval, format_time
from lab.errors import ProviderError
from lab.ports import Channel, Check, FeedState, Provider, Realm, Subscription
from lab.ports.provider import CHANNEL_OF

from lab_bitunix.rest import RestClient

STREAM_S = 12.0
OPTIONAL_S = 3.0
"""How long it waits for the channels that a feed is live without, once it is."""
_CANDLES = 5


@define
class _Listener:
    """A sink that keeps the first of everything."""

    wall_ns: Callable[[], int]
    quotes: list[Quote] = field(factory=list)
    depth: Depth | None = None
    trade: Trade | None = None
    skews_ns: list[int] = field(factory=list)
    faults: list[str] = field(factory=list)
    words: list[str] = field(factory=list)
    live: anyio.Event = field(factory=anyio.Event)
    awaited: set[type] = field(factory=set)
    complete: anyio.Event = field(factory=anyio.Event)

    def put(self, event: MarketData) -> None:
        if isinstance(event, Quote):
            self.quotes.append(event)
            self.skews_ns.append(event.time_ns - self.wall_ns())
        elif isinstance(event, Depth):
            self.depth = event
        elif isinstance(event, Trade):
            self.trade = event
        self.awaited.discard(type(event))
        if not self.awaited:
            self.complete.set()

    def feed(self, state: FeedState, detail: str = "") -> None:
        self.words.append(f"{state.value} {detail}".strip())
        if state is FeedState.LIVE:
            self.live.set()

    def malformed(self, reason: str, sample: bytes | str) -> None:
        self.faults.append(reason)


async def probe(
    provider: Provider, rest: RestClient, wanted: Subscription, wall_ns: Callable[[], int], pace: float = 1.0
) -> Sequence[Check]:
    """Return one row for each thing tried; failures are rows, not exceptions. ``pace`` as `lab.ports.Runtime.pace`."""
    checks: list[Check] = []
    candles = await _candles(provider, wanted, checks)
    await _round_trip(rest, wanted.symbol.upper(), wall_ns, checks, recorded=provider.realm() is Realm.RECORDED)
    listener = await _stream(provider, wanted, wall_ns, checks, pace)
    if listener.quotes and candles:
        _age(candles, wanted, listener.quotes[-1].time_ns, checks)
        _prices(candles, listener.quotes[-1], checks)
    given = wanted.channels & provider.channels()
    if Channel.DEPTH in given:
        checks.append(_depth(listener))
    if Channel.TRADES in given:
        checks.append(_trades(listener))
    faults = len(listener.faults)
    checks.append(Check("input", not faults, f"{faults} malformed" + (f": {listener.faults[0]}" if faults else "")))
    return checks


async def _candles(provider: Provider, wanted: Subscription, checks: list[Check]) -> Sequence[Candle]:
    try:
        candles = await provider.history(wanted.symbol, wanted.interval_ns, end_ns=None, count=_CANDLES)
    except ProviderError as error:
        checks.append(Check("candles", False, str(error)))
        return ()
    interval = format_interval(wanted.interval_ns)
    checks.append(Check("candles", bool(candles), f"{len(candles)} of {wanted.symbol} {interval}"))
    opens = [candle.open_ns for candle in candles]
    ordered = all(later > earlier for earlier, later in pairwise(opens))
    gaps = sum(later - earlier > wanted.interval_ns for earlier, later in pairwise(opens))
    checks.append(Check("candle order", ordered, f"ascending, {gaps} gaps" if ordered else f"not ascending: {opens}"))
    return candles


async def _round_trip(
    rest: RestClient, symbol: str, wall_ns: Callable[[], int], checks: list[Check], *, recorded: bool
) -> None:
    try:
        await rest.get("funding_rate", {"symbol": symbol})  # opens the connection
        reply = await rest.get("funding_rate", {"symbol": symbol})
    except ProviderError as error:
        checks.append(Check("round trip", False, str(error)))
        return
    checks.append(Check("round trip", reply.took_s < 2.0, f"{reply.took_s * 1e3:.0f} ms for a REST call"))
    if reply.date_ns is None:
        checks.append(Check("clock by HTTP Date", None, "no Date header"))
        return
    # The header has whole seconds: half a second is the best guess for the part that was cut off.
    skew_s = (reply.date_ns - wall_ns()) / SECOND_NS + 0.5
    checks.append(_skew("clock by HTTP Date", skew_s, " (± 0.5 s)", recorded))


def _skew(name: str, skew_s: float, tolerance: str, recorded: bool) -> Check:
    """Judge the difference of two clocks; a recording keeps its own time, so there is nothing to judge."""
    if recorded:
        return Check(name, None, "the local venue keeps the time of its recording")
    return Check(name, abs(skew_s) < 2.0, f"venue {skew_s:+.3f} s{tolerance} to this machine")


async def _stream(
    provider: Provider, wanted: Subscription, wall_ns: Callable[[], int], checks: list[Check], pace: float
) -> _Listener:
    given = wanted.channels & provider.channels()
    listener = _Listener(wall_ns, awaited={kind for kind in (Depth, Trade) if CHANNEL_OF[kind] in given})
    started = anyio.current_time()
    error: ProviderError | None = None
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            nonlocal error
            try:
                await provider.stream([wanted], listener)
            except ProviderError as failure:
                error = failure
                listener.live.set()

        tasks.start_soon(run)
        with anyio.move_on_after(STREAM_S * pace):
            await listener.live.wait()
        took_s = (anyio.current_time() - started) / pace
        if listener.live.is_set() and listener.awaited and error is None:
            with anyio.move_on_after(OPTIONAL_S * pace):
                await listener.complete.wait()
        tasks.cancel_scope.cancel()
    if error is not None:
        checks.append(Check("stream", False, str(error)))
    elif listener.live.is_set():
        checks.append(Check("stream", True, f"first data of every channel it needs after {took_s:.1f} s"))
    else:
        hint = "" if provider.realm() is Realm.RECORDED else "; without the internet: --set bitunix.venue=local"
        checks.append(Check("stream", False, f"not live within {STREAM_S:g} s: {listener.words[-1]}{hint}"))
    if listener.skews_ns:
        skew_ms = median(listener.skews_ns) / MILLISECOND_NS
        checks.append(_skew("clock by frames", skew_ms / 1000, "", provider.realm() is Realm.RECORDED))
    return listener


def _age(candles: Sequence[Candle], wanted: Subscription, venue_ns: int, checks: list[Check]) -> None:
    end_ns = candles[-1].open_ns + wanted.interval_ns
    age_s = (venue_ns - end_ns) / SECOND_NS
    # Fresh: the newest closed candle is the one before the open one, or one more when the venue is late with a row.
    fresh = -STREAM_S <= age_s < 2 * wanted.interval_ns / SECOND_NS
    checks.append(Check("candle age", fresh, f"newest ended {format_time(end_ns)}, {age_s:.0f} s ago by the venue"))


def _depth(listener: _Listener) -> Check:
    depth = listener.depth
    if depth is None:
        cure = "; a run goes on without, and --set bitunix.depth=0 asks for none" if listener.quotes else ""
        return Check("depth", None, f"no levels came{cure}")
    (bid, _), (ask, _) = depth.bids[0], depth.asks[0]
    return Check("depth", True, f"{len(depth.bids)} bids from {bid} down, {len(depth.asks)} asks from {ask} up")


def _trades(listener: _Listener) -> Check:
    trade = listener.trade
    if trade is None:
        return Check("trades", None, "none came; they come when somebody trades, and a run goes on without")
    return Check("trades", True, f"{trade.side.value} {trade.size} at {trade.price}")


def _prices(candles: Sequence[Candle], quote: Quote, checks: list[Check]) -> None:
    close, middle = candles[-1].close, (quote.bid + quote.ask) / 2
    off = abs(close / middle - 1)
    checks.append(Check("prices", off < 0.05, f"close {close}, bid {quote.bid}, ask {quote.ask}: {off:.2%} apart"))
