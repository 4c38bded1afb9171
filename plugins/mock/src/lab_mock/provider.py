"""The provider ``mock``: synthetic prices from a seed, on the session's clock."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import count as count_from
from typing import Any, Final

import anyio
from attrs import Attribute, define, field
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import BACKFILLED, Candle, Depth, Quote
from lab.domain.time import DAY_NS, MILLISECOND_NS, MINUTE_NS, SECOND_NS, format_interval, parse_time
from lab.errors import ProviderError
from lab.ports import Channel, FeedState, Provider, Realm, Runtime, Sink, Subscription

from lab_mock.path import TICKS_PER_UNIT, Book, Bucket, Past, Shape, Tick, walk

_BATCH: Final = 512
_QUOTE_CURRENCIES: Final = ("USDT", "USDC", "USD")
_YIELD_EVERY: Final = 5000  # ticks made between two looks at the loop: about 20 ms


def _between(low: float, high: float) -> Any:
    def check(_: object, attribute: "Attribute[Any]", value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"{attribute.name} must be between {low} and {high}, not {value!r}")

    return check


def _is_begin(_: object, attribute: "Attribute[Any]", value: str) -> None:
    try:
        begin_ns = parse_time(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from None
    if begin_ns % SECOND_NS:
        raise ValueError(f"{attribute.name} must be a whole second, not {value!r}")


@define(kw_only=True, eq=False)
class MockProvider(Provider):
    """A random walk with one quote a second of the session's clock, and candles made of exactly those quotes.

    Venue time is ``begin`` plus the ticks played. A candle of one minute is made of 60 ticks and is known
    ``confirm_ms`` after its end. It opens at the close before. The same
    settings and seed give the same events, in any process, at any speed, from `stream` and from `batches`.
    """

    price: float = field(
        default=50000.0,
        validator=_between(1.0, 1e9),
        metadata={"help": "price at the beginning, in the quote currency"},
    )
    volatility: float = field(
        default=2.0,
        validator=_between(0.0, 1000.0),
        metadata={"help": "standard deviation of the return from one tick to the next, in bps"},
    )
    spread: int = field(
        default=1, validator=_between(0, 10**6), metadata={"help": "ask minus bid, in price ticks of 0.1"}
    )
    depth: int = field(
        default=0, validator=_between(0, 50), metadata={"help": "displayed levels a side with each quote; 0: no depth"}
    )
    seed: int | None = field(default=None, metadata={"help": "seed of the path; none: the run's seed"})
    begin: str = field(
        default="2024-01-01T00:00:00Z", validator=_is_begin, metadata={"help": "venue time of the first tick, ISO 8601"}
    )
    history_count: int = field(
        default=1000,
        validator=_between(0, 10**5),
        metadata={"help": "candles before the beginning, per interval"},
    )
    confirm_ms: int = field(
        default=0,
        validator=_between(0, 60_000),
        metadata={"help": "milliseconds from a candle's end until it is known; about 2070 in a session on a venue"},
    )
    minutes: int = field(default=1440, validator=_between(1, 10**7), metadata={"help": "minutes of data in a backtest"})

    _run_seed: int = field(init=False, default=0)
    _given_ns: int = field(init=False, default=-1)
    """The newest moment given, counted from the beginning."""
    _replays: dict[Subscription, "_Replay"] = field(init=False, factory=dict, repr=False)

    def realm(self) -> Realm:
        """Return ``synthetic``."""
        return Realm.SYNTHETIC

    def channels(self) -> frozenset[Channel]:
        """Return candles and quotes, and depth where the setting asks for some."""
        channels = frozenset({Channel.CANDLES, Channel.QUOTES})
        return channels | {Channel.DEPTH} if self.depth else channels

    def history_depth(self) -> int:
        """Return ``history_count``."""
        return self.history_count

    def origin(self) -> str:
        """Return the seed, which is where the data comes from."""
        return f"seed {self._seed_in_use}"

    async def start(self, runtime: Runtime) -> None:
        """Take over the run's seed."""
        self._run_seed = runtime.seed
        self._replays.clear()

    async def instrument(self, symbol: str) -> Instrument:
        """Return a perpetual like BTCUSDT for any symbol of capital letters and digits."""
        return self.batch_instrument(symbol)

    def batch_instrument(self, symbol: str) -> Instrument:
        """Return what `instrument` does."""
        _check_symbol(symbol)
        quote = next((ending for ending in _QUOTE_CURRENCIES if symbol.endswith(ending) and symbol != ending), None)
        return Instrument(
            symbol=symbol,
            base=symbol.removesuffix(quote) if quote else symbol,
            quote=quote or "USDT",
            tick=Decimal(1) / TICKS_PER_UNIT,
            lot=Decimal("0.0001"),
            quantity_min=Decimal("0.0001"),
            maker_fee_rate=Decimal("0.0002"),
            taker_fee_rate=Decimal("0.0006"),
            origin="tick 0.1, lot 0.0001, smallest quantity 0.0001 (the mock's)",
        )

    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Return closed candles: those of the ticks played, and before them up to ``history_count`` older ones.

        The newest of the older ones closes where the first tick begins: at ``begin``, at ``price``.
        """
        wanted = Subscription(symbol, interval_ns)
        self.check((wanted,))
        replay = self._replays.get(wanted)
        if replay is None:
            replay = self._replays[wanted] = _Replay(self._shape(symbol), interval_ns // SECOND_NS)
        await replay.advance((self._given_ns - self.confirm_ms * MILLISECOND_NS) // SECOND_NS)
        end_ns = replay.end_ns if end_ns is None else end_ns
        played = [candle for candle in replay.candles if candle.open_ns < end_ns][-count:] if count > 0 else []
        skipped = max(0, (replay.start_ns - end_ns) // interval_ns)
        older = await replay.older(min(self.history_count, skipped + max(count, 0) - len(played)))
        return [*reversed(older[skipped:]), *played]

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        """Give a quote a second, its depth if there is any, and each candle when it is known, for ever.

        Ticks that are late are caught up; none is left out.
        """
        self.check(wanted)
        sink.feed(FeedState.LIVE, self.origin())
        origin = anyio.current_time() - (self._given_ns // SECOND_NS + 1)
        for number, (at_ns, events) in enumerate(self._moments(wanted)):
            if at_ns <= self._given_ns:  # an earlier stream gave these: venue time goes on
                if number % _YIELD_EVERY == 0:
                    await anyio.sleep(0)
                continue
            await anyio.sleep(max(0.0, origin + at_ns / SECOND_NS - anyio.current_time()))
            for event in events:
                sink.put(event)
            self._given_ns = at_ns

    def batches(self, wanted: Sequence[Subscription], *, seed: int) -> Iterator[Sequence[Input]]:
        """Return the first ``minutes`` of what `stream` gives, of all its channels, with the candles that end there."""
        self._run_seed = seed
        self.check(wanted)
        return self._batches(wanted)

    def source(self) -> Mapping[str, str]:
        """Return the seed and what else the path is made from."""
        settings = ["price", "volatility", "spread", "begin", "minutes"]
        settings += [name for name in ("depth", "confirm_ms") if getattr(self, name)]
        return {"seed": str(self._seed_in_use), **{name: str(getattr(self, name)) for name in settings}}

    def _batches(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[Input]]:
        last_ns, batch = self.minutes * MINUTE_NS, list[Input]()
        known_ns = last_ns + self.confirm_ms * MILLISECOND_NS
        for at_ns, events in self._moments(wanted):
            if at_ns > known_ns:
                break
            # The candles that end there still belong to the data, its tick and later ones do not.
            batch += events if at_ns < last_ns else [one for one in events if isinstance(one, Candle)]
            if len(batch) >= _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _moments(self, wanted: Sequence[Subscription]) -> Iterator[tuple[int, list[Candle | Quote | Depth]]]:
        """Yield each moment, counted in ns from the beginning, and its events.

        Each second has each symbol's quote and depth. A candle is known ``confirm_ms`` after its end, behind the
        quotes of that moment; with 0 it comes before them, which belong to the next one.
        """
        start_ns, confirm_ns = parse_time(self.begin), self.confirm_ms * MILLISECOND_NS
        paths: list[tuple[Iterator[Tick], bool, Book | None, list[Bucket]]] = []
        for symbol in dict.fromkeys(one.symbol for one in wanted):
            shape = self._shape(symbol)
            of_symbol = [one for one in wanted if one.symbol == symbol]
            intervals = dict.fromkeys(
                one.interval_ns // SECOND_NS for one in of_symbol if Channel.CANDLES in one.channels
            )
            quoted = any(Channel.QUOTES in one.channels for one in of_symbol)
            deep = self.depth and any(Channel.DEPTH in one.channels for one in of_symbol)
            book = Book(shape, self.depth) if deep else None
            paths.append((walk(shape), quoted, book, [Bucket(shape, interval_s) for interval_s in intervals]))
        closed: deque[Candle] = deque()
        for second in count_from():
            while closed and closed[0].time_ns < start_ns + second * SECOND_NS:
                known_ns = closed[0].time_ns
                yield known_ns - start_ns, list(_known(closed, known_ns))
            events: list[Candle | Quote | Depth] = []
            for ticks, quoted, book, buckets in paths:
                tick = next(ticks)
                if quoted:
                    events.append(tick.quote)
                if book is not None:
                    events.append(book.depth(tick.quote))
                for bucket in buckets:
                    candle = bucket.tick(tick)
                    if candle is not None:
                        closed.append(candle._replace(time_ns=candle.time_ns + confirm_ns))
            known = _known(closed, start_ns + second * SECOND_NS)
            yield second * SECOND_NS, [*events, *known] if confirm_ns else [*known, *events]

    def check(self, wanted: Sequence[Subscription]) -> None:
        for one in wanted:
            _check_symbol(one.symbol)
            if one.interval_ns <= 0 or one.interval_ns % SECOND_NS:
                raise ProviderError(f"mock: an interval must be whole seconds, not {one.interval_ns} ns")
            # Longer buckets than a day have no agreed origin: they are counted from the start.
            if parse_time(self.begin) % min(one.interval_ns, DAY_NS):
                interval = format_interval(one.interval_ns)
                raise ProviderError(f"mock: begin {self.begin!r} is not on the grid of {interval} candles")

    def _shape(self, symbol: str) -> Shape:
        price = round(self.price * TICKS_PER_UNIT)
        start_ns = parse_time(self.begin)
        return Shape(self._seed_in_use, symbol, start_ns, price, self.volatility / 10_000, self.spread)

    @property
    def _seed_in_use(self) -> int:
        return self._run_seed if self.seed is None else self.seed


class _Replay:
    """The closed candles of one subscription: those of the ticks played so far, and the ones before the start."""

    def __init__(self, shape: Shape, interval_s: int) -> None:
        self.start_ns = shape.start_ns
        self.candles: deque[Candle] = deque(maxlen=10_000)
        self._ticks = walk(shape)
        self._bucket = Bucket(shape, interval_s, BACKFILLED)
        self._past = Past(shape, interval_s)
        self._steps = max(1, interval_s // 60)
        self._done = 0

    @property
    def end_ns(self) -> int:
        """Where the open bucket begins."""
        return self.candles[-1].time_ns if self.candles else self.start_ns

    async def advance(self, ticks: int) -> None:
        """Take the path up to so many ticks."""
        while self._done < ticks:
            candle = self._bucket.tick(next(self._ticks))
            if candle is not None:
                self.candles.append(candle)
            self._done += 1
            if self._done % _YIELD_EVERY == 0:
                await anyio.sleep(0)

    async def older(self, count: int) -> list[Candle]:
        """Return the newest candles before the start, newest first, at most ``count``."""
        steps = 0
        while len(self._past.candles) < count:
            self._past.extend()
            steps += self._steps
            if steps >= _YIELD_EVERY:
                steps = 0
                await anyio.sleep(0)
        return self._past.candles[: max(count, 0)]


def _known(closed: deque[Candle], now_ns: int) -> Iterator[Candle]:
    while closed and closed[0].time_ns <= now_ns:
        yield closed.popleft()


def _check_symbol(symbol: str) -> None:
    if re.fullmatch(r"[A-Z0-9]+", symbol) is None:
        raise ProviderError(f"mock: no symbol {symbol!r}; expected capital letters and digits, for example BTCUSDT")
