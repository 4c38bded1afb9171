"""A running stream: hands the socket's quotes, depth and trades to the sink, and closed candles after confirmation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import anyio
from attrs import define, evolve, field
from lab.domain.market import Depth, Quote
from lab.domain.time import SECOND_NS
from lab.domain.venue_clock import VenueClock
from lab.errors import AuthenticationFailed, ProviderError
from lab.feed.candles import CandleAssembler
from lab.feed.doubles import Doubles
from lab.feed.pacing import CoolDown
from lab.feed.socket_feed import SocketFeed
from lab.feed.venue import HELLO, ChannelKey
from lab.ports import Channel, Sink, Subscription

from lab_bitunix.rest import RestClient
from lab_bitunix.sockets import HABITS, open_socket
from lab_bitunix.wire import (
    CANDLE_CHANNELS,
    DEPTH_CHANNELS,
    DEPTH_FRAMES,
    KLINE_INTERVAL,
    SAMPLE_BYTES,
    TRADE_CHANNEL,
    Control,
    DepthFrame,
    KlineFrame,
    Malformed,
    TradeFrame,
    candle_of,
    decode_frame,
    depth_of,
    keys_of,
    ping_frame,
    quote_of,
    refusal,
    subscribe_frame,
    supported,
    trades_of,
)

FUNDING_EVERY_S: Final = 3600.0
FUNDING_BEFORE_S: Final = 60.0
FUNDING_RETRY_S: Final = 60.0
_CHANNELS_MAX: Final = 300

ReadBook = Callable[[DepthFrame], Quote | Depth | str]
"""Makes market data of a frame of levels, or says what is wrong with it."""


@define(kw_only=True)
class LiveStream:
    """Everything that runs while a provider streams, and the feed's dialect. ``wanted`` has its symbols in upper case.

    ``levels`` is how many a side depth has: 1, 5, 15, or 0 for no depth, whatever is wanted; without ``trades`` none
    are taken. The feed is live without either: trades come while somebody trades, and the venue's frames of some levels
    were never seen.
    """

    rest: RestClient
    ws_url: str
    wanted: Sequence[Subscription]
    sink: Sink
    contacted: Callable[[str], None]
    clock: VenueClock
    cool_down: CoolDown
    seed: int
    wall_ns: Callable[[], int]
    levels: int = 0
    trades: bool = False
    renew_hours: float = 0.0
    pace: float = 1.0
    socket: SocketFeed = field(init=False)
    _books: dict[tuple[str, type], tuple[ChannelKey, tuple[ReadBook, ...]]] = field(init=False, factory=dict)
    """By symbol and frame: the channel, and what is read of it. The one of one level may give quotes and depth."""
    _traded: dict[str, tuple[int, bytes]] = field(init=False, factory=dict)
    """The newest frame of trades, by symbol, and the number of its socket: with the same bytes it is the same again."""
    _doubles: Doubles = field(init=False, factory=Doubles)
    _funded: dict[str, None] = field(init=False, factory=dict)
    _timely: Callable[[int, bytes, float], bool] = field(init=False)
    _doubtful: Callable[[float], bool] = field(init=False)

    def __attrs_post_init__(self) -> None:
        for one in self.wanted:
            supported(one.interval_ns)
        candles = [one for one in self.wanted if Channel.CANDLES in one.channels]
        for one in self.wanted:
            if Channel.QUOTES in one.channels:
                self._read(one.symbol, 1, quote_of)
        for one in self.wanted:
            if Channel.DEPTH in one.channels and self.levels:
                self._read(one.symbol, self.levels, depth_of)
        self._funded = dict.fromkeys(one.symbol for one in self.wanted if Channel.FUNDING in one.channels)
        if self.trades:
            self._traded = {one.symbol: (0, b"") for one in self.wanted if Channel.TRADES in one.channels}
        wanted = [channel for channel, reads in self._books.values() if quote_of in reads]
        wanted += dict.fromkeys((one.symbol, CANDLE_CHANNELS[one.interval_ns]) for one in candles)
        optional = [channel for channel, reads in self._books.values() if quote_of not in reads]
        optional += [(symbol, TRADE_CHANNEL) for symbol in self._traded]
        self._check_number(len(wanted) + len(optional))
        hours = self.renew_hours
        self.socket = SocketFeed(
            url=self.ws_url,
            connect=partial(open_socket, pace=self.pace),
            dialect=self,
            wanted=wanted,
            optional=optional,
            sink=self.sink,
            contacted=self.contacted,
            seed=self.seed,
            habits=evolve(HABITS, renew_after_hours=(hours, hours)) if hours else HABITS,
            cool_down=self.cool_down,
            doubles=self._doubles,
            clock=self.clock,
            pace=self.pace,
        )
        self._timely, self._doubtful = self.socket.stamps.timely, self.socket.stamps.doubtful
        for one in candles:
            self.socket.assemble(
                (one.symbol, CANDLE_CHANNELS[one.interval_ns]),
                CandleAssembler(one.symbol, one.interval_ns),
                rows=self.rest.klines,
            )

    def _check_number(self, needed: int) -> None:
        if needed > _CHANNELS_MAX:
            cures = ["ask for fewer symbols"]
            cures += ["set bitunix.depth=0"] if self.levels else []
            cures += ["set bitunix.trades=false"] if self.trades else []
            raise ProviderError(
                f"bitunix: {len(self.wanted)} subscriptions need {needed} channels; the venue takes "
                f"{_CHANNELS_MAX} on a socket: {', or '.join(cures)}"
            )

    async def run(self) -> None:
        """Stream until cancelled."""
        async with anyio.create_task_group() as tasks:
            for symbol in self._funded:
                tasks.start_soon(self._funding, symbol)
            await self.socket.run()

    # -- the dialect ---------------------------------------------------------------------------------------------------

    def subscribe_frame(self, channels: Sequence[ChannelKey]) -> str:
        """Return the one frame that asks for these channels."""
        return subscribe_frame(channels)

    def ping_frame(self) -> str:
        """Return the JSON ping."""
        return ping_frame(self.wall_ns() // SECOND_NS)

    def receive(self, frame: bytes, now: float, line: int) -> ChannelKey | None:
        """Decode, check, hand on; return the channel of a good data frame. ``line`` numbers the socket."""
        message = decode_frame(frame)
        if isinstance(message, DepthFrame):
            known = self._books.get((message.symbol, type(message)))
            if known is None:
                return None
            channel, reads = known
            for place, read in enumerate(reads):
                event = read(message)
                if isinstance(event, str):
                    self.sink.malformed(event, frame[:SAMPLE_BYTES])
                    return None
                if not self._timely(event.time_ns, frame, now) and not self._doubtful(now):
                    return None
                if place == 0 and now < self._doubles.until and not self._doubles.newer(channel, event.time_ns):
                    break
                self.sink.put(event)
            return channel
        if isinstance(message, TradeFrame):
            return self._take_trades(message, frame, now, line)
        if isinstance(message, KlineFrame):
            return self._take_push(message, frame, now)
        if isinstance(message, Control):
            refused = refusal(message)
            if refused is None:
                return HELLO if message.op == "connect" else None
            self.sink.malformed(refused, frame[:SAMPLE_BYTES])  # counted and sampled, however many come
        elif isinstance(message, Malformed):
            self.sink.malformed(message.reason, frame[:SAMPLE_BYTES])
        return None  # or a channel nobody asked for: not ours to judge

    def _take_push(self, message: KlineFrame, frame: bytes, now: float) -> ChannelKey | None:
        interval_ns = KLINE_INTERVAL[type(message)]
        channel = (message.symbol, CANDLE_CHANNELS[interval_ns])
        chain = self.socket.chains.get(channel)
        if chain is None:
            return None
        candle = candle_of(message, interval_ns)
        if isinstance(candle, str):
            self.sink.malformed(candle, frame[:SAMPLE_BYTES])
            return None
        if not self._timely(candle.time_ns, frame, now):
            return channel if self._doubtful(now) else None
        chain.push(candle, now)
        return channel

    def _take_trades(self, message: TradeFrame, frame: bytes, now: float, line: int) -> ChannelKey | None:
        before = self._traded.get(message.symbol)
        if before is None:
            return None
        channel = (message.symbol, TRADE_CHANNEL)
        if frame == before[1] and line == before[0]:
            return channel
        trades = trades_of(message)
        if isinstance(trades, str):
            self.sink.malformed(trades, frame[:SAMPLE_BYTES])
            return None
        if trades and not self._timely(trades[0].time_ns, frame, now) and not self._doubtful(now):
            return None
        self._traded[message.symbol] = line, frame
        if now < self._doubles.until:
            new = self._doubles.new_rows(keys_of(message), line)
            trades = [trade for trade, is_new in zip(trades, new, strict=True) if is_new]
        for trade in trades:
            self.sink.put(trade)
        return channel

    def _read(self, symbol: str, levels: int, read: ReadBook) -> None:
        channel, reads = self._books.get((symbol, DEPTH_FRAMES[levels]), ((symbol, DEPTH_CHANNELS[levels]), ()))
        if read not in reads:
            self._books[symbol, DEPTH_FRAMES[levels]] = channel, (*reads, read)

    async def _funding(self, symbol: str) -> None:
        """Fetch the rate at the start, every hour, and a minute before it is due: it moves within its period."""
        told = ""
        while True:
            try:
                funding = await self.rest.funding(symbol)
            except AuthenticationFailed:
                raise
            except ProviderError as error:
                if str(error) != told:
                    told = str(error)
                    self.socket.say(f"no funding rate of {symbol}: {told}")
                await anyio.sleep(FUNDING_RETRY_S)
                continue
            told = ""
            self.sink.put(funding)
            left_s = (funding.next_ns - funding.time_ns) / SECOND_NS - FUNDING_BEFORE_S
            await anyio.sleep(min(FUNDING_EVERY_S, left_s) if left_s > 0 else FUNDING_EVERY_S)
