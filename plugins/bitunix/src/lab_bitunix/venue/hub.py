"""Distributes messages: keeps the subscriptions, and one pump for each channel and symbol with subscribers."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup
from attrs import define, field
from lab.domain.time import MILLISECOND_NS, SECOND_NS

from lab_bitunix.venue.channels import KLINE_PERIOD_S, TICKERS, TRADE, Channel, Messages, channel
from lab_bitunix.venue.connection import ClientSession, Key, text_frame
from lab_bitunix.venue.counters import Counters
from lab_bitunix.venue.damage import damage, damage_levels, skew
from lab_bitunix.venue.market import Market
from lab_bitunix.venue.text import to_json
from lab_bitunix.venue.world import World

FIRST_S: Final = 0.1
"""Time from a subscription to its first data: the venue takes 0.1 to 0.6 s."""
_FLOOD_S: Final = 0.005
_LOOK_AHEAD_NS: Final = SECOND_NS
_FRAME_FAULTS: Final = ("mute", "silence", "late", "duplicate", "reorder", "malformed", "levels", "skew")


@define(eq=False)
class ChannelPump:
    """One channel of one symbol, and its subscribers. ``market`` is ``None`` for ``tickers``, which has no symbol."""

    channel: Channel
    market: Market | None
    random: Random
    listeners: dict[ClientSession, None] = field(factory=dict)
    scope: anyio.CancelScope | None = None
    held: bytes | None = None
    """A message that goes out after the next one."""


@define(eq=False)
class Hub:
    """Keeps the pumps. Frames are built once and written to all; with the same world they are the same at each run.

    Pushes happen on a grid that begins at the venue's start, and carry the grid's time. A late pump leaves out the
    pushes it missed, but for trades, which it sends at once. No pump runs without a subscriber.
    """

    world: World
    counters: Counters
    now_ns: Callable[[], int]
    tasks: TaskGroup
    messages: Messages = field(init=False)
    _pumps: dict[Key, ChannelPump] = field(init=False, factory=dict)
    _faulty: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.messages = Messages(self.world)
        self._faulty = any(kind in self.world.faults.by_kind for kind in _FRAME_FAULTS)

    # Subscriptions

    def subscribe(self, session: ClientSession, keys: Sequence[Key]) -> None:
        """Subscribe the session to the channels; subscriptions that it already has stay as they are."""
        new = [key for key in keys if key not in session.wanted]
        session.wanted.update(dict.fromkeys(new))
        if new:
            self.tasks.start_soon(self._begin, session, new)

    def unsubscribe(self, session: ClientSession, key: Key) -> None:
        """End the session's data of a channel."""
        session.wanted.pop(key, None)
        pump = self._pumps.get(self._pump_key(key))
        if pump is None or (pump.channel.name == TICKERS and self._tickers_of(session)):
            return
        pump.listeners.pop(session, None)
        if not pump.listeners:
            del self._pumps[self._pump_key(key)]
            if pump.scope is not None:
                pump.scope.cancel()

    def leave(self, session: ClientSession) -> None:
        """Forget a session."""
        for key in list(session.wanted):
            self.unsubscribe(session, key)

    @staticmethod
    def _pump_key(key: Key) -> Key:
        return (None, TICKERS) if key[1] == TICKERS else key

    async def _begin(self, session: ClientSession, keys: Sequence[Key]) -> None:
        at_s = self.world.elapsed_s(self.now_ns())
        await anyio.sleep(FIRST_S + self.world.faults.value("late_sub", at_s, 0.0))
        now_ns = self.now_ns()
        for key in keys:
            if key in session.wanted:
                self._join(session, key, now_ns)

    def _join(self, session: ClientSession, key: Key, now_ns: int) -> None:
        symbol, name = key
        found = channel(name)
        market = self.world.traded(symbol or "")
        if found is None or (market is None and name != TICKERS):
            if name.startswith("depth_"):
                self._write([session], [to_json(self.messages.nothing(name, symbol, now_ns))])
            return
        if symbol is None:  # tickers without a symbol: one batch, then silence
            markets = [market for market in self.world.markets.values() if market.contract.status == "OPEN"]
            self._write([session], [to_json(self.messages.tickers(markets, now_ns))])
            return
        pump_key = self._pump_key(key)
        pump = self._pumps.get(pump_key)
        if pump is None:
            random = Random(f"{self.world.seed}/{name}/{symbol}")
            pump = self._pumps[pump_key] = ChannelPump(found, None if name == TICKERS else market, random)
            self.tasks.start_soon(self._run, pump)
        pump.listeners[session] = None
        if name == TICKERS:
            self._push_tickers(pump, [session], now_ns)
        elif name != TRADE and pump.market is not None:
            self._deliver(pump, [to_json(self.messages.one(name, pump.market, now_ns))], [session], now_ns)

    def _tickers_of(self, session: ClientSession) -> tuple[str, ...]:
        return tuple(symbol for symbol, name in session.wanted if name == TICKERS and symbol)

    # Pumps

    async def _run(self, pump: ChannelPump) -> None:
        with anyio.CancelScope() as pump.scope:
            if not pump.listeners:  # gone before the pump began
                return
            if pump.channel.name == TRADE:
                await self._pump_trades(pump)
            else:
                await self._pump(pump)

    async def _pump(self, pump: ChannelPump) -> None:
        start_ns, sent_ns = self.world.start_ns, 0
        name = pump.channel.name
        while True:
            now_ns = self.now_ns()
            at_s = self.world.elapsed_s(now_ns)
            if name == "depth_book1" and self.world.faults.active("flood", at_s):
                await self._flood(pump)
                continue
            period_s = pump.channel.period_s
            if period_s == KLINE_PERIOD_S and "_kline_" in name:
                period_s = self.world.faults.value("kline_every", at_s, period_s)
            period_ns = round(period_s * SECOND_NS)
            next_ns = start_ns + ((now_ns - start_ns) // period_ns + 1) * period_ns
            if next_ns == sent_ns:  # the timer fired a hair early
                next_ns += period_ns
            await anyio.sleep((next_ns - now_ns) / SECOND_NS)
            sent_ns = next_ns
            if pump.market is None:
                self._push_tickers(pump, list(pump.listeners), next_ns)
            else:
                self._deliver(pump, [to_json(self.messages.one(name, pump.market, next_ns))], pump.listeners, next_ns)

    def _push_tickers(self, pump: ChannelPump, sessions: Sequence[ClientSession], now_ns: int) -> None:
        by_symbols: dict[tuple[str, ...], list[ClientSession]] = {}
        for session in sessions:
            by_symbols.setdefault(self._tickers_of(session), []).append(session)
        for symbols, same in by_symbols.items():
            markets = [market for symbol in symbols if (market := self.world.traded(symbol)) is not None]
            if markets:
                self._deliver(pump, [to_json(self.messages.tickers(markets, now_ns))], same, now_ns)

    async def _pump_trades(self, pump: ChannelPump) -> None:
        market, done_ns = pump.market, self.now_ns()
        while market is not None:
            begin_ns, done_ns = done_ns, max(done_ns + _LOOK_AHEAD_NS, self.now_ns())
            trades = deque(market.trades_between(begin_ns, done_ns))
            while trades:
                together = [trades.popleft()]  # those of the same millisecond share a frame
                while trades and trades[0][0] // MILLISECOND_NS == together[0][0] // MILLISECOND_NS:
                    together.append(trades.popleft())
                await anyio.sleep(max(0.0, (together[-1][0] + 1 - self.now_ns()) / SECOND_NS))
                while trades and trades[0][0] < self.now_ns():  # and those that a late pump missed
                    together.append(trades.popleft())
                at_ns = together[-1][0] + 1
                self._deliver(pump, [to_json(self.messages.trades(market, together, at_ns))], pump.listeners, at_ns)
            await anyio.sleep(max(0.0, (done_ns - self.now_ns()) / SECOND_NS))

    async def _flood(self, pump: ChannelPump) -> None:
        """Send as many frames a second as asked for, in small lots, each with the quote of its moment."""
        begin_ns = last_ns = self.now_ns()
        sent, name, market = 0, pump.channel.name, pump.market
        while market is not None:
            await anyio.sleep(_FLOOD_S)
            now_ns = self.now_ns()
            rate = self.world.faults.value("flood", self.world.elapsed_s(now_ns), 0)
            if not rate:
                return
            count = (now_ns - begin_ns) * rate // SECOND_NS - sent
            sent += count
            count = min(count, 1 + rate // 10)  # frames that a stalled loop missed by more than 0.1 s are left out
            step_ns = (now_ns - last_ns) // max(1, count)
            times = [last_ns + place * step_ns for place in range(1, count + 1)]
            payloads = [to_json(self.messages.one(name, market, at_ns)) for at_ns in times]
            self._deliver(pump, payloads, pump.listeners, now_ns)
            last_ns = now_ns

    # Delivery

    def _deliver(
        self, pump: ChannelPump, payloads: list[bytes], sessions: Iterable[ClientSession], now_ns: int
    ) -> None:
        if self._faulty:
            at_s = self.world.elapsed_s(now_ns)
            payloads = [sent for payload in payloads for sent in self._bend(pump, payload, list(sessions), at_s)]
        if payloads:
            self._write(sessions, payloads)

    def _bend(self, pump: ChannelPump, payload: bytes, sessions: list[ClientSession], at_s: float) -> list[bytes]:
        """Return a message as the faults in force change it."""
        faults, random, count = self.world.faults, pump.random, self.counters.faults
        muted = faults.active("mute", at_s)
        if faults.active("silence", at_s) or (muted and fnmatchcase(pump.channel.name, muted.value)):
            count["silence" if muted is None else "mute"] += 1
            return []
        if pump.channel.name.startswith("depth_") and faults.strikes("levels", at_s, random):
            count["levels"] += 1
            payload = damage_levels(payload, random)
        skewed = faults.active("skew", at_s)
        if skewed is not None and random.random() < skewed.value[1]:
            count["skew"] += 1
            payload = skew(payload, skewed.value[0])
        if faults.strikes("malformed", at_s, random):
            count["malformed"] += 1
            payload = damage(payload, random)
        late = faults.active("late", at_s)
        if late is not None and random.random() < late.value[0]:
            count["late"] += 1
            self.tasks.start_soon(self._later, late.value[1], pump, sessions, payload)
            return []
        if pump.held is not None:
            held, pump.held = pump.held, None
            return [payload, held]
        if faults.strikes("reorder", at_s, random):
            count["reorder"] += 1
            pump.held = payload
            return []
        if faults.strikes("duplicate", at_s, random):
            count["duplicate"] += 1
            return [payload, payload]
        return [payload]

    async def _later(self, seconds: float, pump: ChannelPump, sessions: list[ClientSession], payload: bytes) -> None:
        await anyio.sleep(seconds)
        self._write([session for session in sessions if session in pump.listeners], [payload])

    def _write(self, sessions: Iterable[ClientSession], payloads: Sequence[bytes]) -> None:
        if self.world.faults.active("blackhole", self.world.elapsed_s(self.now_ns())):
            self.counters.faults["blackhole"] += 1
            return
        frames = b"".join(map(text_frame, payloads))
        for session in list(sessions):
            session.socket.push(frames, len(payloads))

    def say(self, session: ClientSession, message: Any) -> None:
        """Send a control frame."""
        self._write([session], [to_json(message)])
