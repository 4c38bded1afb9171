"""The working orders of the paper broker, and how they meet the market: latency, expiry, and the rules of fills.

Apart from the settings, so that it can be compiled: `lab_paper_broker.broker` has those.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from zlib import crc32

from lab import Accepted, Candle, Ended, Fill, Order, OrderType, Quote, Rejected
from lab.domain.control import Timer
from lab.domain.time import MILLISECOND_NS, format_time
from mypy_extensions import mypyc_attr

from lab_paper_broker.rules import Terms, limit_on_candle, limit_on_quote, market_on_candle, market_on_quote

# Python 3.11 looks an enum's member up in 90 ns.
_MARKET: Final = OrderType.MARKET
_LIMIT: Final = OrderType.LIMIT
CANDLES_TO_EXPIRE: Final = 2

Report = Fill | Ended


class _Resting:
    """A working order, when it may fill, its limit as float, and whether it still waits for a fresh price."""

    __slots__ = ("eligible_ns", "first", "limit", "order")

    def __init__(self, order: Order, eligible_ns: int, limit: float) -> None:
        self.order = order
        self.eligible_ns = eligible_ns
        self.limit = limit
        self.first = True


@mypyc_attr(allow_interpreted_subclasses=True)
class Matcher:
    """Takes orders and fills them, as `lab_paper_broker.broker.PaperBroker` says."""

    __slots__ = (
        "_arrivals", "_expire_ms", "_expire_ns", "_quoted", "_resting", "_seed", "_soonest_ns", "_spread_ns", "_terms",
    )  # fmt: skip

    def __init__(self, latency_ms: int, jitter_ms: int, expire_ms: int) -> None:
        jitter_ns = min(jitter_ms, latency_ms) * MILLISECOND_NS
        self._soonest_ns = latency_ms * MILLISECOND_NS - jitter_ns
        self._spread_ns = 2 * jitter_ns + 1
        self._expire_ms = expire_ms
        self._expire_ns = expire_ms * MILLISECOND_NS
        self._seed = 0
        self._terms: Mapping[str, Terms] = {}
        self._resting: dict[str, _Resting] = {}  # in the order they were submitted
        self._arrivals: dict[str, int] = {}  # strategy -> arrival of its newest order
        self._quoted: dict[str, bool] = {}  # symbol -> whether a quote of it was seen, or only candles

    def _begin(self, terms: Mapping[str, Terms], seed: int) -> None:
        """Learn what trading each symbol costs, and the seed of the jitter."""
        self._seed = seed & 0xFFFFFFFF
        self._terms = terms

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order; reject an unknown symbol or type, an id that works already, a limit order without a limit."""
        oid, resting = order.id, self._resting
        if order.symbol not in self._terms:
            known = ", ".join(self._terms) or "none"
            return Rejected(f"the paper broker does not know {order.symbol!r}; it was opened with {known}")
        if oid in resting:
            return Rejected(f"an order with the id {oid} works already")
        limit = 0.0
        if order.type is _LIMIT:
            if order.limit is None:
                return Rejected("a limit order needs a limit")
            limit = float(order.limit)
        elif order.type is not _MARKET:
            return Rejected(f"the paper broker takes market and limit orders, not {order.type}")
        eligible_ns = now_ns + self._soonest_ns + (crc32(oid.encode(), self._seed) * self._spread_ns >> 32)
        arrivals, strategy = self._arrivals, order.strategy
        newest_ns = arrivals.get(strategy, 0)
        if eligible_ns < newest_ns:
            # One connection: what is sent later arrives no earlier, so an exit stays ahead of the entry behind it.
            eligible_ns = newest_ns
        arrivals[strategy] = eligible_ns
        resting[oid] = _Resting(order, eligible_ns, limit)
        return Accepted(eligible_ns)

    def cancel(self, order_id: str) -> bool:
        """Forget a working order; ``False`` when there is none of that id."""
        return self._resting.pop(order_id, None) is not None

    def observe(self, event: Any) -> Sequence[Report]:
        """Apply a quote, a candle or a timer to the working orders, in the order they were submitted."""
        kind = type(event)
        if kind is Quote:
            reports = self._quote(event)
        elif kind is Candle:
            reports = self._candle(event)
        elif kind is Timer:
            reports = self._timer(event.time_ns)
        else:
            return ()
        for report in reports:
            del self._resting[report.order_id]  # fills are whole here
        return reports

    # -- meeting the market ------------------------------------------------------------------------------------------

    def _quote(self, quote: Quote) -> list[Report]:
        symbol, time_ns = quote[0], quote[1]
        self._quoted[symbol] = True
        reports: list[Report] = []
        for resting in self._resting.values():
            order, eligible_ns = resting.order, resting.eligible_ns
            if time_ns < eligible_ns or order.symbol != symbol:
                continue
            terms = self._terms[symbol]
            if order.type is _MARKET:
                if time_ns - eligible_ns > self._expire_ns:
                    reports.append(self._too_late(resting, time_ns, "its first fresh quote came"))
                else:
                    reports.append(market_on_quote(order, quote, terms))
            else:
                fill = limit_on_quote(order, resting.limit, resting.first, quote, terms)
                resting.first = False
                if fill is not None:
                    reports.append(fill)
        return reports

    def _candle(self, candle: Candle) -> list[Report]:
        symbol, open_ns, time_ns, _, _, _, _, _, _ = candle
        reports: list[Report] = []
        if self._quoted.setdefault(symbol, False):
            return reports
        for resting in self._resting.values():
            order, eligible_ns = resting.order, resting.eligible_ns
            late_ns = time_ns - eligible_ns
            if late_ns < 0 or order.symbol != symbol:
                continue
            terms = self._terms[symbol]
            if order.type is _MARKET:
                allowed_ns = CANDLES_TO_EXPIRE * (time_ns - open_ns)
                if late_ns > allowed_ns:
                    text = (
                        f"its first candle closed {late_ns // MILLISECOND_NS} ms after its arrival at "
                        f"{format_time(eligible_ns)}, later than {CANDLES_TO_EXPIRE} candles "
                        f"({allowed_ns // MILLISECOND_NS} ms)"
                    )
                    reports.append(Ended(order.id, "expired", text))
                else:
                    reports.append(market_on_candle(order, eligible_ns, candle, terms))
            else:
                fill = limit_on_candle(order, eligible_ns, resting.limit, resting.first, candle, terms)
                resting.first = False
                if fill is not None:
                    reports.append(fill)
        return reports

    def _timer(self, time_ns: int) -> list[Report]:
        """Expire market orders that quotes never reached. A symbol with candles only waits for its next candle."""
        return [
            self._too_late(resting, time_ns, "no quote came and it is now")
            for resting in self._resting.values()
            if resting.order.type is _MARKET
            and time_ns - resting.eligible_ns > self._expire_ns
            and self._quoted.get(resting.order.symbol, True)
        ]

    def _too_late(self, resting: _Resting, time_ns: int, what: str) -> Ended:
        late_ms = (time_ns - resting.eligible_ns) // MILLISECOND_NS
        return Ended(
            resting.order.id,
            "expired",
            f"{what} {late_ms} ms after its arrival at {format_time(resting.eligible_ns)}, "
            f"later than {self._expire_ms} ms (expire_ms)",
        )
