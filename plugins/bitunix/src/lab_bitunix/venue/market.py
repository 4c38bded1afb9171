"""The prices behind the venue: where they come from, and one symbol's market at any moment of venue time."""

from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from attrs import define, field, frozen
from lab.domain.market import Candle, Quote
from lab.domain.time import MINUTE_NS, SECOND_NS, parse_time
from lab_recordings import Survey, TickRecording, infer_interval, locate, names, read_candles, recording, shipped
from lab_recordings.table import Table
from lab_recordings.tick_csv import Tick, TickTrade

SEEDED: Final = "seeded"
_SEEDED_START_NS: Final = parse_time("2026-01-01T00:00:00Z")
_SEEDED_S: Final = 1800
_STEPS: Final = 24  # of a candle's path: a multiple of 3, so that open, low, high and close are met exactly
_CACHE_SIZE: Final = 1024
_PLACES: Final = 15  # decimals that a price of a path keeps: more than any tick has


def load_path(name: str, seed: int) -> TickRecording:
    """Return the endless price path of a recording's name, of a CSV file of ticks or candles, or of ``seeded``.

    Candles become a path open, low, high, close (open, high, low, close where the candle falls), with bid and ask one
    tick around it: the tick of a shipped recording, or what the file's decimals show. ``seeded`` is a random walk of
    half an hour that the seed determines. Raises `lab_recordings.RecordingError`.
    """
    if name == SEEDED:
        return _seeded(seed)
    path = locate(name)
    if _has_quotes(name, path):
        return TickRecording.load(name)
    interval_ns = infer_interval(path)
    survey = Survey()
    candles = [candle for batch in read_candles(path, "", interval_ns, survey=survey) for candle in batch]
    known = shipped(path)
    around = float(known.tick if known else survey.fine_tick())
    ticks = [tick for candle in candles for tick in _candle_ticks(candle, interval_ns, around)]
    end_ns = candles[-1].open_ns + interval_ns
    # A last quote exactly at the end: a pass is then a whole number of candles, and backwards they stay whole too.
    ticks.append(_quote(end_ns, candles[-1].close, 1.0, around))
    return TickRecording.from_ticks(ticks, name, known or survey)


def _has_quotes(name: str, path: Path) -> bool:
    if name in names():
        return recording(name).kind == "ticks"
    header = Table(path).header
    return "bid" in header and "ask" in header


def _candle_ticks(candle: Candle, interval_ns: int, around: float) -> list[Tick]:
    opening = min(max(candle.open, candle.low), candle.high)  # an open carried over may lie outside
    turns = (candle.high, candle.low) if candle.close < opening else (candle.low, candle.high)
    corners = (opening, *turns, candle.close)
    leg = _STEPS // 3
    size = candle.volume / (_STEPS + 1)
    ticks: list[Tick] = [_quote(candle.open_ns, opening, size, around)]
    for step in range(_STEPS + 1):
        begin, inside = divmod(step, leg)
        price = corners[begin]
        if inside:
            price = round(price + (corners[begin + 1] - price) * inside / leg, _PLACES)
        # Strictly inside the candle: played backwards, a price on the edge would fall into its neighbour.
        at_ns = candle.open_ns + interval_ns * (step + 1) // (_STEPS + 2)
        ticks.append(_quote(at_ns, price, size, around))
        ticks.append(TickTrade(at_ns, price, size, "buy" if step % 2 else "sell"))
    return ticks


def _quote(at_ns: int, price: float, size: float, around: float) -> Quote:
    bid, ask = round(price - around, _PLACES), round(price + around, _PLACES)
    return Quote("", at_ns, bid, size or 1.0, ask, size or 1.0)


def _seeded(seed: int) -> TickRecording:
    random = Random(f"{seed}/path")
    price = 600_000
    ticks: list[Tick] = []
    for step in range(_SEEDED_S * 4):
        at_ns = _SEEDED_START_NS + step * SECOND_NS // 4
        price += random.choice((-30, -12, -5, -1, 0, 0, 1, 5, 12, 30))
        sizes = [round(random.uniform(0.05, 8), 4) for _ in range(2)]
        bid, ask = price / 10, (price + 1) / 10
        ticks.append(Quote("", at_ns, bid, sizes[0], ask, sizes[1]))
        if random.random() < 0.6:
            buys = random.random() < 0.5
            size = round(random.expovariate(4) + 0.0001, 4)
            ticks.append(TickTrade(at_ns + 50_000_000, ask if buys else bid, size, "buy" if buys else "sell"))
    ticks.append(ticks[-1]._replace(time_ns=_SEEDED_START_NS + _SEEDED_S * SECOND_NS))
    return TickRecording.from_ticks(ticks, SEEDED)


@frozen(kw_only=True)
class Contract:
    """One listed symbol. Others than the main one show the same path on another scale, and later by ``shift_ns``."""

    symbol: str
    base: str
    quote: str = "USDT"
    price_digits: int = 1
    size_digits: int = 4
    scale: float = 1.0
    shift_ns: int = 0
    status: str = "OPEN"

    @property
    def tick(self) -> float:
        """The smallest price step."""
        return float(f"1e-{self.price_digits}")


def listing(symbol: str, path: TickRecording) -> dict[str, Contract]:
    """Return what the venue lists: the main symbol, a second one that trades, one not yet open, one delisted.

    The main symbol has the steps of the path (a lot of more than one coin can't be said on the wire and becomes one),
    the others have digits that go with their scale.
    """
    quote = "USDC" if symbol.endswith("USDC") else "USDT"
    digits, sizes = (max(0, -step.normalize().adjusted()) for step in (path.tick, path.lot))
    small: dict[str, Any] = {"price_digits": digits + 3, "size_digits": max(0, sizes - 4), "scale": 1e-4}
    second: dict[str, Any] = {"price_digits": digits + 1, "size_digits": max(0, sizes - 1), "scale": 0.04}
    contracts = (
        Contract(symbol=symbol, base=symbol.removesuffix(quote), quote=quote, price_digits=digits, size_digits=sizes),
        Contract(symbol="ETHUSDT", base="ETH", **second, shift_ns=41 * SECOND_NS),
        Contract(symbol="SOONUSDT", base="SOON", **small, status="PREVIEW"),
        Contract(symbol="GONEUSDT", base="GONE", **small, status="STOP"),
    )
    listed: dict[str, Contract] = {}
    for contract in contracts:
        listed.setdefault(contract.symbol, contract)
    return listed


class Bar(NamedTuple):
    """A candle or a part of one: prices, coins and turnover in the quote currency."""

    open: float
    high: float
    low: float
    close: float
    coins: float
    turnover: float


@define(eq=False)
class Market:
    """One contract's prices by venue time. The path's offset 0 lies at ``anchor_ns``, a whole minute.

    The recording's minutes are therefore the venue's minutes. The mark price is modelled as the last price less one
    tick, the index as the last price and three ticks: the recordings have neither.
    """

    contract: Contract
    path: TickRecording
    anchor_ns: int
    _closed: dict[tuple[int, int], Bar] = field(init=False, factory=dict)
    _pass_pair: Bar | None = field(init=False, default=None)

    def _offset(self, time_ns: int) -> int:
        return time_ns - self.anchor_ns + self.contract.shift_ns

    def _price(self, price: float) -> float:
        return round(price * self.contract.scale, self.contract.price_digits)

    def quote_at(self, time_ns: int) -> tuple[float, float, float, float]:
        """Return bid, bid size, ask and ask size."""
        quote = self.path.quote_at(self._offset(time_ns))
        scale = self.contract.scale
        if scale == 1.0:
            return quote
        bid, bid_size, ask, ask_size = quote
        bid, ask = self._price(bid), self._price(ask)
        return bid, bid_size / scale, max(ask, bid + self.contract.tick), ask_size / scale

    def last_at(self, time_ns: int) -> float:
        """Return the last trade's price."""
        return self._price(self.path.candle(self._offset(time_ns), 0).open)

    def mark_at(self, time_ns: int) -> float:
        """Return the mark price."""
        return self.last_at(time_ns) - self.contract.tick

    def index_at(self, time_ns: int) -> float:
        """Return the index price."""
        return self.last_at(time_ns) + 3 * self.contract.tick

    def trades_between(self, begin_ns: int, end_ns: int) -> list[tuple[int, float, float, str]]:
        """Return venue time, price, size and taker's side of the trades from ``begin_ns`` up to, not at, ``end_ns``.

        Whoever trades at the bid, or below it, sells; at the ask, or above it, buys. Recorders take quotes and trades
        from two streams, and the path runs backwards too, so the recorded side counts only between the two.
        """
        back_ns, scale = self.anchor_ns - self.contract.shift_ns, self.contract.scale
        found = self.path.trades_between(self._offset(begin_ns), self._offset(end_ns))
        return [
            (at + back_ns, price := self._price(recorded), size / scale, self._taker(at + back_ns, price, side))
            for at, recorded, size, side in found
            if size
        ]

    def _taker(self, time_ns: int, price: float, recorded: str) -> str:
        bid, _, ask, _ = self.quote_at(time_ns - 1)  # the one it met
        if price <= bid:
            return "sell" if price < ask else recorded
        return "buy" if price >= ask else recorded

    def closed_bar(self, open_ns: int, end_ns: int) -> Bar:
        """Return a bar that never changes again; kept, because it is asked for again and again."""
        known = self._closed.get((open_ns, end_ns))
        if known is None:
            if len(self._closed) >= _CACHE_SIZE:
                self._closed.clear()
            known = self._closed[open_ns, end_ns] = self.bar(open_ns, end_ns)
        return known

    def bar(self, open_ns: int, end_ns: int) -> Bar:
        """Return the bar of the trades from ``open_ns`` before ``end_ns``, flat at the last price if none."""
        begin, length = self._offset(open_ns), end_ns - open_ns
        pairs, rest = divmod(length, 2 * self.path.duration_ns)
        part = Bar(*self.path.candle(begin, rest))
        if pairs:
            part = self._with_pairs(part, begin, begin + length, pairs)
        scale, price = self.contract.scale, self._price
        if scale == 1.0:
            return part
        o, h, l, c, coins, turnover = part  # noqa: E741
        return Bar(price(o), price(h), price(l), price(c), coins / scale, turnover)

    def _with_pairs(self, part: Bar, begin: int, end: int, pairs: int) -> Bar:
        """Return a long bar without walking each pass: any forward and backward pass together hold the same trades."""
        pair = self._pass_pair
        if pair is None:
            pair = self._pass_pair = Bar(*self.path.candle(0, 2 * self.path.duration_ns))
        first = part.open if part.coins else self.path.candle(begin, 2 * self.path.duration_ns).open
        last = self.path.candle(end, 0).open
        coins, turnover = part.coins + pairs * pair.coins, part.turnover + pairs * pair.turnover
        return Bar(first, pair.high, pair.low, last, coins, turnover)


def minute_of(time_ns: int) -> int:
    """Return the beginning of the minute a moment lies in."""
    return time_ns - time_ns % MINUTE_NS
