"""Each rule of the provider contract catches the mistake it is there for."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import anyio
import attrs
import pytest
from attrs import define, field
from contract_checks import assert_breaks, unkept
from lab import (
    Candle,
    Channel,
    Depth,
    FeedState,
    Instrument,
    PriceSource,
    Provider,
    ProviderError,
    ProviderUnavailable,
    Quote,
    Realm,
    Runtime,
    Sink,
    Subscription,
)
from lab.domain.inputs import Input
from lab.domain.market import BACKFILLED
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.ports.provider import CHANNEL_OF
from lab.testing import START_NS, ProviderContract, RecordingSink, check, instrument, waves
from lab.testing import candles as candles_of

CLOSES = waves(60)


@define(kw_only=True)
class Waves(Provider):
    """Half an hour of history and a quote every five seconds: nothing is wrong with it."""

    price: float = field(default=50_000.0, metadata={"help": "price at the start"})

    def realm(self) -> Realm:
        return Realm.SYNTHETIC

    def candle(self, place: int) -> Any:
        return candles_of(CLOSES)[place]

    def quoted(self, second: int) -> Any:
        time_ns = START_NS + 30 * MINUTE_NS + second * SECOND_NS
        return Quote("BTCUSDT", time_ns, 49_999.9, 1.0, 50_000.1, 1.0)

    async def instrument(self, symbol: str) -> Instrument:
        if symbol != "BTCUSDT":
            raise ProviderError(f"no symbol {symbol!r}; there is BTCUSDT")
        return instrument(symbol)

    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        end_ns = START_NS + 30 * MINUTE_NS if end_ns is None else end_ns
        past = [self.candle(place)._replace(status=BACKFILLED) for place in range(30)]
        older = [one for one in past if one.open_ns < end_ns]
        return older[-count:] if count else []

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        sink.feed(FeedState.LIVE)
        second, (channels,) = 0, {one.channels for one in wanted}
        while True:
            if Channel.QUOTES in channels:
                sink.put(self.quoted(second))
            await anyio.sleep(5)
            second += 5
            if second % 60 == 0 and Channel.CANDLES in channels:
                sink.put(self.candle(29 + second // 60))

    def batches(self, wanted: Sequence[Subscription], *, seed: int) -> Iterator[Sequence[Input]] | None:
        return iter([candles_of(CLOSES[:30]), candles_of(CLOSES)[30:]])

    def batch_instrument(self, symbol: str) -> Instrument | None:
        return instrument(symbol)

    def source(self) -> Mapping[str, str]:
        return {"seed": "0"}


@define(kw_only=True)
class NoHelp(Waves):
    window: int = 3


@define(kw_only=True)
class TypesForCheckersOnly(Waves):
    _rest: "NotThere | None" = field(init=False, default=None)  # type: ignore[name-defined] # noqa: F821


@define(kw_only=True)
class OfNoRealm(Waves):
    def realm(self) -> Any:
        return "paper"


@define(kw_only=True)
class Nowhere(Waves):
    def origin(self) -> str:
        return ""


@define(kw_only=True)
class StopsSlowly(Waves):
    async def stop(self) -> None:
        await anyio.sleep(3)


@define(kw_only=True)
class StopsOnce(Waves):
    _tasks: Any = field(init=False, default=None)

    async def start(self, runtime: Runtime) -> None:
        self._tasks = runtime.tasks

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            return
        raise RuntimeError("not started")


def _listing(name: str, **changes: Any) -> type[Waves]:
    async def give(self: Waves, symbol: str) -> Instrument:
        return attrs.evolve(await Waves.instrument(self, symbol), **changes)

    return define(kw_only=True)(type(name, (Waves,), {"instrument": give}))


FloatTick = _listing("FloatTick", tick=0.1)
PercentFee = _listing("PercentFee", taker_fee_rate=Decimal("0.06"))
OtherSymbol = _listing("OtherSymbol", symbol="ETHUSDT")
MinimumOffLot = _listing("MinimumOffLot", quantity_min=Decimal("0.00015"))


def _telling(name: str, change: Any) -> type[Waves]:
    """Return a provider whose history is changed by a function of the honest one."""

    async def give(self: Waves, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        found: Sequence[Candle] = change(await Waves.history(self, symbol, interval_ns, end_ns=end_ns, count=count))
        return found

    return define(kw_only=True)(type(name, (Waves,), {"history": give}))


def _but_last(candles: Sequence[Candle], **changes: Any) -> Sequence[Candle]:
    return [*candles[:-1], candles[-1]._replace(**changes)] if candles else []


NewestFirst = _telling("NewestFirst", lambda candles: candles[::-1])
Repeats = _telling("Repeats", lambda candles: [*candles[:1], *candles[:-1]])
TheOpenOne = _telling("TheOpenOne", lambda candles: _but_last(candles, time_ns=START_NS))
ClaimsTheFuture = _telling(
    "ClaimsTheFuture",
    lambda candles: [*candles[1:], candles_of(CLOSES)[30]._replace(status=BACKFILLED)] if candles else [],
)
NotMarked = _telling("NotMarked", lambda candles: _but_last(candles, status="final"))
OffTheGrid = _telling("OffTheGrid", lambda candles: [one._replace(open_ns=one.open_ns - 1) for one in candles])
NoPrice = _telling("NoPrice", lambda candles: _but_last(candles, close=0.0))
Decimals = _telling("Decimals", lambda candles: _but_last(candles, volume=Decimal(10)))
Empty = _telling("Empty", lambda candles: [])


@define(kw_only=True)
class TooMany(Waves):
    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        return await Waves.history(self, symbol, interval_ns, end_ns=end_ns, count=count + 1)


@define(kw_only=True)
class EndsAfterEnd(Waves):
    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        return await Waves.history(self, symbol, interval_ns, end_ns=end_ns and end_ns + 1, count=count)


@define(kw_only=True)
class GivesTheOldest(Waves):
    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        return (await Waves.history(self, symbol, interval_ns, end_ns=end_ns, count=1000))[:count]


@define(kw_only=True)
class KnowsEverySymbol(Waves):
    async def instrument(self, symbol: str) -> Instrument:
        return instrument(symbol)


@define(kw_only=True)
class NamesNothing(Waves):
    async def instrument(self, symbol: str) -> Instrument:
        if symbol != "BTCUSDT":
            raise ProviderError("bad request")
        return instrument(symbol)


@define(kw_only=True)
class TriesForEver(Waves):
    async def instrument(self, symbol: str) -> Instrument:
        raise ProviderUnavailable(f"no answer about {symbol}")


@define(kw_only=True)
class NeverLive(Waves):
    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        sink.feed(FeedState.CONNECTING)
        await anyio.sleep_forever()


@define(kw_only=True)
class Crossed(Waves):
    def quoted(self, second: int) -> Any:
        return Waves.quoted(self, second)._replace(bid=50_001.0)


@define(kw_only=True)
class BackInTime(Waves):
    def quoted(self, second: int) -> Any:
        return Waves.quoted(self, -second)


@define(kw_only=True)
class OpenCandles(Waves):
    def candle(self, place: int) -> Any:
        candle = Waves.candle(self, place)
        return candle._replace(time_ns=candle.open_ns + 1) if place > 29 else candle


@define(kw_only=True)
class SameCandle(Waves):
    def candle(self, place: int) -> Any:
        return Waves.candle(self, min(place, 30))


@define(kw_only=True)
class NoCandles(Waves):
    def candle(self, place: int) -> Any:
        if place < 30:
            return Waves.candle(self, place)
        raise EOFError("no more data")


@define(kw_only=True)
class IntPrices(Waves):
    def quoted(self, second: int) -> Any:
        return Waves.quoted(self, second)._replace(bid=49_999)


@define(kw_only=True)
class SwallowsCancellation(Waves):
    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        try:
            await Waves.stream(self, wanted, sink)
        except asyncio.CancelledError:
            await anyio.sleep(4)


@define(kw_only=True)
class SwallowsEveryCancellation(Waves):
    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        while True:
            try:
                await Waves.stream(self, wanted, sink)
            except asyncio.CancelledError:
                continue


@define(kw_only=True)
class RaisesWhenCancelled(Waves):
    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        try:
            await Waves.stream(self, wanted, sink)
        except asyncio.CancelledError:
            raise OSError("the socket was closed under me") from None


@define(kw_only=True)
class TalksOn(Waves):
    _tasks: Any = field(init=False, default=None)

    async def start(self, runtime: Runtime) -> None:
        self._tasks = runtime.tasks

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        self._tasks.start_soon(Waves.stream, self, wanted, sink)
        await anyio.sleep_forever()


@define(kw_only=True)
class ClaimsChannels(Waves):
    def channels(self) -> Any:
        return {"candles"}


@define(kw_only=True)
class NoQuotesToFillAt(Waves):
    def channels(self) -> frozenset[Channel]:
        return frozenset({Channel.CANDLES})

    def price_source(self) -> PriceSource:
        return PriceSource.QUOTE


@define(kw_only=True)
class Shallow(Waves):
    def history_depth(self) -> int:
        return 7


@define(kw_only=True)
class GivesAllChannels(Waves):
    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        await Waves.stream(self, [Subscription(one.symbol, one.interval_ns) for one in wanted], sink)


@define(kw_only=True)
class QuotesInMilliseconds(Waves):
    def quoted(self, second: int) -> Any:
        quote = Waves.quoted(self, second)
        return quote._replace(time_ns=quote.time_ns // 1_000_000)


@define(kw_only=True)
class FirstPushIsAnswer(Waves):
    def candle(self, place: int) -> Any:
        return Waves.candle(self, place if place < 30 else place + 1)


@define(kw_only=True)
class EndsWithItsConnection(Waves):
    """A venue whose stream ends with the first reset; the server is inside the simulation."""

    ends: ClassVar[bool] = True
    _server: Any = field(init=False, default=None)

    def realm(self) -> Realm:
        return Realm.REAL

    async def start(self, runtime: Runtime) -> None:
        self._server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 9000)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Waves.stream, self, wanted, sink)
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", 9000)
                try:
                    await reader.read(1)
                except ConnectionError:
                    if self.ends:
                        tasks.cancel_scope.cancel()
                        return
                finally:
                    writer.close()


@define(kw_only=True)
class ConnectsAgain(EndsWithItsConnection):
    ends: ClassVar[bool] = False


@define(kw_only=True)
class BatchesBackwards(Waves):
    def batches(self, wanted: Sequence[Subscription], *, seed: int) -> Iterator[Sequence[Input]] | None:
        return iter([candles_of(CLOSES)[30:], candles_of(CLOSES[:30])])


@define(kw_only=True)
class BatchesDiffer(Waves):
    made: ClassVar[list[int]] = []

    def batches(self, wanted: Sequence[Subscription], *, seed: int) -> Iterator[Sequence[Input]] | None:
        self.made.append(1)
        return iter([candles_of(CLOSES, volume=float(len(self.made)))])


@define(kw_only=True)
class BatchesOfNothing(Waves):
    def batch_instrument(self, symbol: str) -> Instrument | None:
        return None


@define(kw_only=True)
class BatchesFromNowhere(Waves):
    def source(self) -> Mapping[str, str]:
        return {}


@define(kw_only=True)
class WithDepth(Waves):
    """Shows levels with each quote: nothing is wrong with them either."""

    def channels(self) -> frozenset[Channel]:
        return frozenset({Channel.CANDLES, Channel.QUOTES, Channel.DEPTH})

    def shown(self, quote: Quote) -> Depth:
        bids, asks = ((quote.bid, 1.0), (quote.bid - 1, 2.0)), ((quote.ask, 1.0), (quote.ask + 1, 2.0))
        return Depth(quote.symbol, quote.time_ns, bids, asks)

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        (channels,) = {one.channels for one in wanted}
        everything = [attrs.evolve(one, channels=self.channels()) for one in wanted]
        await super().stream(everything, Deep(self, channels, sink))


@define
class Deep:
    """A sink that puts behind each quote the depth its provider makes of it, and of all that what is wanted."""

    provider: WithDepth
    channels: frozenset[Channel]
    sink: Sink

    def put(self, event: Any) -> None:
        shown = [event, self.provider.shown(event)] if isinstance(event, Quote) else [event]
        for one in shown:
            if CHANNEL_OF[type(one)] in self.channels:
                self.sink.put(one)

    def feed(self, state: FeedState, detail: str = "") -> None:
        self.sink.feed(state, detail)

    def malformed(self, reason: str, sample: bytes | str) -> None:
        self.sink.malformed(reason, sample)


@define(kw_only=True)
class DepthOfAnother(WithDepth):
    def shown(self, quote: Quote) -> Depth:
        return super().shown(quote)._replace(symbol="ETHUSDT")


@define(kw_only=True)
class DepthCrossed(WithDepth):
    def shown(self, quote: Quote) -> Depth:
        return super().shown(quote)._replace(bids=((quote.ask + 1, 1.0),))


@define(kw_only=True)
class DepthLocked(WithDepth):
    def shown(self, quote: Quote) -> Depth:
        return super().shown(quote)._replace(bids=((quote.ask, 1.0),))


@define(kw_only=True)
class DepthOfNothing(WithDepth):
    def shown(self, quote: Quote) -> Depth:
        return super().shown(quote)._replace(bids=((quote.bid, 0.0),))


@define(kw_only=True)
class DepthUpsideDown(WithDepth):
    def shown(self, quote: Quote) -> Depth:
        depth = super().shown(quote)
        return depth._replace(bids=depth.bids[::-1])


@define(kw_only=True)
class DepthBackInTime(WithDepth):
    def shown(self, quote: Quote) -> Depth:
        return super().shown(quote)._replace(time_ns=2 * START_NS - quote.time_ns)


@define(kw_only=True)
class ClaimsDepth(Waves):
    def channels(self) -> frozenset[Channel]:
        return frozenset({Channel.CANDLES, Channel.QUOTES, Channel.DEPTH})


@define(kw_only=True)
class OfTwo(Waves):
    """Has the other symbol too."""

    async def instrument(self, symbol: str) -> Instrument:
        return instrument(symbol) if symbol == "ETHUSDT" else await super().instrument(symbol)

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        async with anyio.create_task_group() as tasks:
            for one in wanted:
                tasks.start_soon(super().stream, [one], self.named(one.symbol, sink))

    def named(self, symbol: str, sink: Sink) -> Any:
        class Named:
            feed = sink.feed

            @staticmethod
            def put(event: Any) -> None:
                sink.put(event._replace(symbol=symbol))

        return Named()

    def batches(self, wanted: Sequence[Subscription], *, seed: int) -> Iterator[Sequence[Input]] | None:
        both = [[one._replace(symbol=of.symbol) for of in wanted] for one in candles_of(CLOSES)]
        quotes = [self.quoted(0)._replace(symbol=of.symbol, time_ns=both[-1][0].time_ns) for of in wanted]
        return iter([*both, quotes])


@define(kw_only=True)
class LeavesOneOut(OfTwo):
    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        await super().stream(wanted[:1], sink)


@define(kw_only=True)
class OneName(OfTwo):
    def named(self, symbol: str, sink: Sink) -> Any:
        return super().named("BTCUSDT", sink)


@define(kw_only=True)
class OneBehindTheOther(OfTwo):
    def batches(self, wanted: Sequence[Subscription], *, seed: int) -> Iterator[Sequence[Input]] | None:
        return iter([candles_of(CLOSES), [one._replace(symbol="ETHUSDT") for one in candles_of(CLOSES)]])


@define(kw_only=True)
class OneInstrument(OfTwo):
    def batch_instrument(self, symbol: str) -> Instrument | None:
        return instrument("BTCUSDT")


BOTH = type("Both", (ProviderContract,), {"other_symbol": "ETHUSDT"})
BROKEN: list[tuple[str, Any, str]] = [
    ("P1", NoHelp, "setting 'window' has no help text"),
    ("P1", TypesForCheckersOnly, "cannot be resolved at run time, where settings are read: name 'NotThere'"),
    ("P2", OfNoRealm, "realm() gave 'paper'"),
    ("P2", Nowhere, "origin() gave ''"),
    ("P2", ClaimsChannels, "channels() gave {'candles'}"),
    ("P2", NoQuotesToFillAt, "price_source() is quote, but channels() has no quotes"),
    ("P3", StopsSlowly, "stop() without start() took over 1.0 s"),
    ("P3", StopsOnce, "RuntimeError was raised"),
    ("P4", FloatTick, "tick 0.1 is float, not Decimal"),
    ("P4", PercentFee, "taker_fee_rate 0.06 is no fraction"),
    ("P4", OtherSymbol, "asked for 'BTCUSDT', got 'ETHUSDT'"),
    ("P4", MinimumOffLot, "quantity_min 0.00015 is not on the lot 0.0001"),
    ("P5", NewestFirst, "came after"),
    ("P5", Repeats, "came after"),
    ("P5", TheOpenOne, "before its bucket ended"),
    ("P5", ClaimsTheFuture, "is 60 s ahead of the quotes that came at the same time"),
    ("P5", NotMarked, "status 'final' is not backfilled"),
    ("P5", OffTheGrid, "is not on the grid"),
    ("P5", NoPrice, "close 0.0 is not a price"),
    ("P5", Empty, "history() gave no candle"),
    ("P5", TooMany, "asked for at most 20 candles, got 21"),
    ("P5", Shallow, "history_depth() is 7, but history() gave 8 candles"),
    ("P6", EndsAfterEnd, "is exclusive, but"),
    ("P6", GivesTheOldest, "the page before end_ns parts from"),
    ("P7", KnowsEverySymbol, "instrument('NO-SUCH-COIN') gave Instrument("),
    ("P7", NamesNothing, "'NO-SUCH-COIN' is not in the message 'bad request'"),
    ("P7", TriesForEver, "it raised ProviderUnavailable, which is tried again"),
    ("P8", NeverLive, "the feed was never LIVE, only connecting"),
    ("P8", Crossed, "bid 50001.0 above ask 50000.1"),
    ("P8", BackInTime, "a quote went back in time"),
    ("P8", QuotesInMilliseconds, "and the end of the newest candle of history lie"),
    ("P9", FirstPushIsAnswer, "its bucket ends 65 s after the newest quote"),
    ("P9", OpenCandles, "before its bucket ended"),
    ("P9", SameCandle, "came after"),
    ("P9", NoCandles, "EOFError was raised"),
    ("P9", NeverLive, "0 candles in 200.0 s"),
    ("P10", IntPrices, "are not all float"),
    ("P10", Decimals, "are not all float"),
    ("P11", SwallowsCancellation, "stream() was still running 1.0 s after it was cancelled"),
    ("P11", SwallowsEveryCancellation, "stream() was still running 1.0 s after it was cancelled"),
    ("P11", RaisesWhenCancelled, "OSError was raised"),
    ("P11", TalksOn, "after its end the stream gave Quote("),
    ("P12", BatchesBackwards, "a batch went back in time"),
    ("P12", BatchesDiffer, "batches() of one instance parts from another's"),
    ("P12", BatchesOfNothing, "batch_instrument() gives None"),
    ("P12", BatchesFromNowhere, "source() does not say which"),
    ("P13", GivesAllChannels, "asked for candles only, got candles, quotes"),
    ("P14", EndsWithItsConnection, "stream() returned after 1 connections were reset"),
    ("P15", ClaimsDepth, "channels() has depth, but none came in 200.0 s"),
    ("P15", DepthOfAnother, "asked for 'BTCUSDT': Depth(symbol='ETHUSDT'"),
    ("P15", DepthCrossed, "bid 50001.1 above ask 50000.1"),
    ("P15", DepthLocked, "the best bid meets the best ask"),
    ("P15", DepthOfNothing, "bid level 49999.9 × 0.0 is not a price and a size"),
    ("P15", DepthUpsideDown, "does not lie beyond 49998.9"),
    ("P15", DepthBackInTime, "depth went back in time"),
    ("P16", LeavesOneOut, "0 candles of ETHUSDT in 200.0 s"),
    ("P16", OneName, "came after"),
    ("P16", OneBehindTheOther, "a batch went back in time"),
    ("P16", OneInstrument, "asked for 'ETHUSDT', got 'BTCUSDT'"),
]


def test_a_sound_provider_keeps_every_rule() -> None:
    assert unkept(ProviderContract, Waves) == []
    assert unkept(ProviderContract, WithDepth) == []
    assert unkept(BOTH, OfTwo) == []


def test_a_provider_that_connects_again_after_a_reset_keeps_the_rule_for_it() -> None:
    (found,) = check(ProviderContract, ConnectsAgain, only="P14")
    assert found.outcome == "passed", found.text


def test_the_rules_run_in_real_time_too() -> None:
    quick = type("Quick", (ProviderContract,), {"simulated": False, "stream_s": 0.2})
    for number in ("P3", "P4", "P5", "P8", "P11"):
        (found,) = check(quick, Waves, only=number)
        assert found.outcome == "passed", found.text


@pytest.mark.behaviour("P4")
@pytest.mark.parametrize(("number", "broken", "said"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_provider_fails_the_rule_for_its_mistake(number: str, broken: Any, said: str) -> None:
    assert_breaks(BOTH if issubclass(broken, OfTwo) else ProviderContract, broken, number, said)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    assert {number for number, _, _ in BROKEN} == set(ProviderContract.rules()) - {"C1"}


async def test_a_recording_sink_keeps_what_it_is_given_in_order() -> None:
    sink = RecordingSink()
    quote = Waves().quoted(0)
    sink.put(quote)
    sink.feed(FeedState.LIVE, "now")
    sink.malformed("no JSON", b"{")
    assert (sink.events, sink.quotes, sink.candles) == ([quote], [quote], [])
    assert (sink.states, sink.feeds[0][1], sink.faults, sink.count) == ([FeedState.LIVE], "now", ["no JSON"], 3)
