"""The socket's channels: their names, their push periods, and the message each sends at a moment."""

import re
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen
from lab.domain.time import MILLISECOND_NS, SECOND_NS

from lab_bitunix.venue.book import LEVELS_MOST, levels
from lab_bitunix.venue.intervals import SOCKET_INTERVALS
from lab_bitunix.venue.market import Market
from lab_bitunix.venue.text import as_numbers, iso_seconds, number
from lab_bitunix.venue.world import FUNDING_NS, World

Message = dict[str, Any]

_KLINE: Final = re.compile(r"(market|mark)_kline_(\w+)")
_DEPTHS: Final = {"depth_book1": 1, "depth_book5": 5, "depth_book15": 15, "depth_books": LEVELS_MOST}
_PERIODS_S: Final = {"ticker": 1.4, "tickers": 1.0, "price": 0.5}
DEPTH_PERIOD_S: Final = 0.31
KLINE_PERIOD_S: Final = 0.5
TRADE: Final = "trade"
TICKERS: Final = "tickers"


@frozen
class Channel:
    """A channel's name and how often it pushes; ``trade`` pushes when there is one, its period is 0."""

    name: str
    period_s: float


def channel(name: str) -> Channel | None:
    """Return the channel of a name, or ``None``: the venue ignores those it does not know."""
    if name in _DEPTHS:
        return Channel(name, DEPTH_PERIOD_S)
    if name == TRADE:
        return Channel(name, 0.0)
    if name in _PERIODS_S:
        return Channel(name, _PERIODS_S[name])
    match = _KLINE.fullmatch(name)
    return Channel(name, KLINE_PERIOD_S) if match and match[2] in SOCKET_INTERVALS else None


@frozen
class Messages:
    """Builds the messages. ``time_ns`` is the moment sent, which becomes ``ts``; nothing after it is in a message."""

    world: World

    def one(self, name: str, market: Market, time_ns: int) -> Message:
        """Return what a channel says about a symbol at a moment. Not for ``trade`` and ``tickers``."""
        if name in _DEPTHS:
            bids, asks = levels(market, time_ns, _DEPTHS[name])
            data: Any = {"b": bids, "a": asks}
        elif name == "ticker":
            data = self._ticker(market, time_ns)
        elif name == "price":
            data = self._price(market, time_ns)
        else:
            data = self._kline(name, market, time_ns)
        return self._message(name, market.contract.symbol, time_ns, data)

    def trades(self, market: Market, trades: Sequence[tuple[int, float, float, str]], time_ns: int) -> Message:
        """Return one message of several trades. Each shows at least one step of size, as levels do."""
        contract = market.contract
        step = 10.0**-contract.size_digits
        data = [
            {
                "t": iso_seconds(at_ns),
                "p": number(price, contract.price_digits),
                "v": number(max(size, step), contract.size_digits),
                "s": side,
            }
            for at_ns, price, size, side in trades
        ]
        return self._message(TRADE, contract.symbol, time_ns, data)

    def tickers(self, markets: Sequence[Market], time_ns: int) -> Message:
        """Return one message about several symbols; it has no ``symbol`` field."""
        rows = []
        for market in markets:
            [[bid, bid_size]], [[ask, ask_size]] = levels(market, time_ns, 1)
            rows.append(self._ticker(market, time_ns) | {"bd": bid, "ak": ask, "bv": bid_size, "av": ask_size})
        return self._message(TICKERS, None, time_ns, rows)

    def nothing(self, name: str, symbol: str | None, time_ns: int) -> Message:
        """Return the one frame a depth channel sends for a symbol that does not trade: empty texts."""
        return self._message(name, symbol, time_ns, {"b": [["", ""]], "a": [["", ""]]})

    def _message(self, name: str, symbol: str | None, time_ns: int, data: Any) -> Message:
        if self.world.faults.value("numbers", self.world.elapsed_s(time_ns), "string") == "number":
            data = as_numbers(data)
        stamp = {"ts": time_ns // MILLISECOND_NS, "data": data}
        return {"ch": name, **stamp} if symbol is None else {"ch": name, "symbol": symbol, **stamp}

    def _kline(self, name: str, market: Market, time_ns: int) -> Message:
        kind, _, interval_name = name.partition("_kline_")
        interval, world = SOCKET_INTERVALS[interval_name], self.world
        open_ns = interval.open_of(time_ns)
        at_s = world.elapsed_s(time_ns)
        stale = world.faults.value("newbucket_old_values", at_s, 0)
        if time_ns - open_ns < stale * world.faults.value("kline_every", at_s, KLINE_PERIOD_S) * SECOND_NS:
            open_ns = interval.before(open_ns)
        bar = world.bar(market, interval, open_ns, time_ns, mark=kind == "mark")
        digits = market.contract.price_digits
        return {
            "o": number(bar.open, digits),
            "c": number(bar.close, digits),
            "h": number(bar.high, digits),
            "l": number(bar.low, digits),
            "b": number(bar.coins, market.contract.size_digits),
            "q": number(bar.turnover, 5),
        }

    def _ticker(self, market: Market, time_ns: int) -> Message:
        contract, day = market.contract, self.world.day(market, time_ns)
        digits, last = contract.price_digits, market.last_at(time_ns)
        return {
            "s": contract.symbol,
            "o": number(day.open, digits),
            "la": number(last, digits),
            "h": number(day.high, digits),
            "l": number(day.low, digits),
            "b": number(day.coins, contract.size_digits),
            "q": number(day.turnover, 5),
            "r": number((last / day.open - 1) * 100, 10),
        }

    def _price(self, market: Market, time_ns: int) -> Message:
        digits, last_ns = market.contract.price_digits, time_ns - time_ns % FUNDING_NS
        return {
            "ip": number(market.index_at(time_ns), digits),
            "mp": number(market.mark_at(time_ns), digits),
            "fr": number(self.world.settled_percent(last_ns), 5),
            "ft": iso_seconds(last_ns),
            "nft": iso_seconds(last_ns + FUNDING_NS),
        }
